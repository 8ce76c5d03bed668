"""Two workers equal one, whole or sharded; a checkpoint goes on with another number of workers."""

import signal
import socket
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from commands import ENVIRONMENT
from rootlm.core import records

WORDS = ("model.dropout=0.0", "training.max_steps=8", "model.depth=2", "validation.tokens=200")


def start(commands, *words, count=2, brake=0.0):
    """Start one command as `count` workers, the way torchrun does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    ranks = [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]
    return [commands.start(*words, env=env, brake=brake) for env in ranks]


def together(commands, *words, count=2):
    return [started.wait() for started in start(commands, *words, count=count)]


def stopped_halfway(commands, out, words, count):
    first, *others = start(commands, *words, count=count, brake=0.05)

    def reached():
        file = out / "metrics.jsonl"
        return file.exists() and any(r.get("step", 0) >= 3 for r in records.read(file))

    ended = first.kill_when(reached, signal.SIGTERM)
    return [ended, *(other.wait() for other in others)]


def weights(run, step=8):
    return load_file(run / "checkpoints" / f"step-{step}" / "model.safetensors")


def close(one, other):
    """The same to one part in ten thousand of each tensor's size."""
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert (tensor - other[name]).norm() <= 1e-4 * tensor.norm(), name


@pytest.fixture(scope="session")
def alone(commands, corpus, tmp_path_factory):
    """Runs of one worker, made once for each set of words."""
    made = {}

    def run(recipe, *words):
        if words not in made:
            out = tmp_path_factory.mktemp("alone") / "run"
            ended = commands.run("train", str(recipe), f"out={out}", *WORDS, *words)
            assert ended.code == 0, ended.err
            made[words] = out
        return made[words]

    return run


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("parallel", ["data", "sharded"])
def test_two_workers_equal_one(commands, recipe, alone, tmp_path, parallel, optimizer):
    out, kind = tmp_path / "run", f"training.optimizer.kind={optimizer}"
    words = (
        kind,
        "training.l2=0.001",
        "samples.prompts=[春]",
        "samples.steps=4",
        # Two workers that both wrote would end at different tokens.
        "samples.sampling={max_new_tokens: 20, seed: null, stop: [e, t, a, 。, ，]}",
    )
    expected = alone(recipe, *words)
    parallel = f"training.parallel={parallel}"
    first, second = together(commands, "train", str(recipe), f"out={out}", *WORDS, *words, parallel)
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert second.out == ""
    close(weights(expected), weights(out))
    losses = [
        [r["loss"] for r in records.read(run / "metrics.jsonl") if r["kind"] in ("train", "validation")]
        for run in (expected, out)
    ]
    torch.testing.assert_close(*map(torch.tensor, losses), rtol=1e-4, atol=0)


@pytest.mark.parametrize("parallel", ["data", "sharded"])
def test_a_checkpoint_goes_on_with_another_number_of_workers(commands, recipe, alone, tmp_path, parallel):
    words = ("training.optimizer.kind=muon",)
    expected = alone(recipe, *words)
    for first_count, second_count in ((2, 1), (1, 2)):
        out = tmp_path / f"run-{first_count}"
        command = ("train", str(recipe), f"out={out}", *WORDS, *words, f"training.parallel={parallel}")
        first = stopped_halfway(commands, out, command, first_count)
        assert all(ended.code == 130 for ended in first), first
        second = together(commands, *command, count=second_count)
        assert all(ended.code == 0 for ended in second), second
        assert "goes on from step" in second[0].out
        close(weights(expected), weights(out))


def test_torchrun_trains_one_model_with_two_workers(recipe, alone, tmp_path):
    out = tmp_path / "run"
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "rootlm",
    ]
    words = [
        "train",
        str(recipe),
        f"out={out}",
        *WORDS,
        "training.optimizer.kind=adamw",
        "training.parallel=sharded",
    ]
    ended = subprocess.run([*launch, *words], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("the model is in") == 1
    close(weights(alone(recipe, "training.optimizer.kind=adamw")), weights(out))


def test_a_batch_that_cannot_be_shared_is_refused(commands, recipe, tmp_path):
    words = ("train", str(recipe), f"out={tmp_path / 'run'}", "training.batch_size=3")
    for ended in together(commands, *words):
        assert ended.code == 2
        assert "batch_size 3 is not a multiple of 2 workers" in ended.err.splitlines()[-1]
