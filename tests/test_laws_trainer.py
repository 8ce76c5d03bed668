"""The laws of the trainer, through the real command line: killed, stopped, torn, full, poisoned."""

import json
import os
import random
import shutil
import signal
import subprocess
import sysconfig
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from members import build
from rootlm.core import records
from rootlm.core.files import verify_folder
from rootlm.data.windows import Loader, Marks, WindowSource
from rootlm.objectives.causal import CausalConfig
from rootlm.training.checkpoints import Checkpoint, Checkpoints
from rootlm.training.trainer import Trainer
from rootlm.training.training_config import TrainingConfig

ADAMW = "training.optimizer.kind=adamw"
MUON = "training.optimizer.kind=muon"
BRAKE = 0.05
EAGER, COMPILED = "training.compile=false", "training.compile=true"


@pytest.fixture(scope="session")
def whole(commands, corpus, tmp_path_factory):
    """Runs that were never stopped, made once for each set of words."""
    made = {}

    def run(recipe, *words):
        if words not in made:
            out = tmp_path_factory.mktemp("whole") / "run"
            ended = commands.run("train", str(recipe), f"out={out}", *words)
            assert ended.code == 0, ended.err
            made[words] = out
        return made[words]

    return run


def steps(run: Path) -> list[int]:
    names = (folder.name for folder in (run / "checkpoints").glob("step-*"))
    return sorted(int(name.removeprefix("step-")) for name in names)


def recorded(run: Path) -> int:
    file = run / "metrics.jsonl"
    return max((r.get("step", 0) for r in records.read(file)), default=0) if file.exists() else -1


def config_of(run: Path) -> dict:
    return yaml.safe_load((run / "recipe.yaml").read_text())


@pytest.fixture
def full_disk(tmp_path):
    """A folder on a disk of four megabytes of its own, what fills it and what frees it again."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"this machine does not let a test mount a disk: {mounted.stderr.decode().strip()}")
    ballast = place / "ballast"

    def fill():
        with ballast.open("wb") as stream:
            space = os.statvfs(place)
            stream.write(bytes(space.f_bavail * space.f_frsize))

    yield place / "run", fill, ballast.unlink
    subprocess.run(["umount", "-l", str(place)], check=True)


def same_tensors(one: Path, other: Path) -> None:
    first, second = load_file(one), load_file(other)
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different


def same_runs(one: Path, other: Path) -> None:
    """Weights, optimizer, standing and every recorded loss are the same bits."""
    assert steps(one) == steps(other)
    last = f"checkpoints/step-{steps(one)[-1]}"
    for name in ("model.safetensors", f"{last}/model.safetensors", f"{last}/trainer.safetensors"):
        same_tensors(one / name, other / name)
    measured = ("seconds", "tokens_per_second", "peak_share", "validation_seconds")
    runs = [
        [{k: v for k, v in r.items() if k not in measured} for r in records.read(run / "metrics.jsonl")]
        for run in (one, other)
    ]
    seen = [[r for r in run if r["kind"] in ("train", "validation")] for run in runs]
    assert seen[0] == seen[1]
    assert [r["kind"] for r in runs[1]].count("start") == 1


@pytest.mark.parametrize("optimizer", [ADAMW, MUON])
def test_killed_at_any_step_and_resumed_equals_never_stopped(commands, recipe, whole, tmp_path, optimizer):
    expected = whole(recipe, optimizer, EAGER)
    out = tmp_path / "run"
    words = ("train", str(recipe), f"out={out}", optimizer, EAGER)
    killed_at = sorted(random.sample(range(20), 4))
    print("killed at", killed_at)
    for step in killed_at:
        ended = commands.start(*words, brake=BRAKE).kill_when(
            lambda step=step: steps(out) and recorded(out) >= step
        )
        assert ended.code == -signal.SIGKILL
        verify_folder(out / "checkpoints" / f"step-{steps(out)[-1]}")
    ended = commands.run(*words)
    assert ended.code == 0, ended.err
    assert "goes on from step" in ended.out
    same_runs(expected, out)


def test_a_compiled_run_killed_and_resumed_equals_never_stopped(commands, recipe, whole, tmp_path):
    assert shutil.which("g++"), "this law needs a C++ compiler: install g++"
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    assert headers.exists(), "this law needs Python's headers: install python3-dev"
    words = (MUON, COMPILED, "training.max_steps=8")
    expected = whole(recipe, *words)
    out = tmp_path / "run"
    words = ("train", str(recipe), f"out={out}", *words)
    ended = commands.start(*words, brake=BRAKE).kill_when(lambda: recorded(out) >= 5)
    assert ended.code == -signal.SIGKILL
    assert commands.run(*words).code == 0
    same_runs(expected, out)
    eager = whole(recipe, MUON, EAGER)
    assert config_of(expected)["training"]["compile"] is True
    assert config_of(eager)["training"]["compile"] is False


MOMENTS = (
    "checkpoints/.step-*.{pid}.partial",
    "checkpoints/.step-*.{pid}.partial/model.safetensors",
    "checkpoints/.step-*.{pid}.partial/trainer.json",
    "checkpoints/.step-*.{pid}.partial/manifest.json",
    ".model.safetensors.{pid}.partial",
)


def test_killed_at_any_instant_a_loadable_checkpoint_remains(commands, recipe, tmp_path):
    """Every kill falls while a file is half written, as far as a file system can be watched."""
    out = tmp_path / "run"
    words = (
        "train",
        str(recipe),
        f"out={out}",
        "training.save_steps=1",
        "training.keep=1",
        "training.eval_steps=1",
    )
    half_written = 0
    for moment in MOMENTS:
        until = recorded(out) + 6
        command = commands.start(*words, brake=BRAKE)
        pattern = moment.format(pid=command.pid)
        command.kill_when(lambda: steps(out) and (any(out.glob(pattern)) or recorded(out) >= until), pause=0)  # noqa: B023
        half_written += any(out.glob(pattern))
        verify_folder(out / "checkpoints" / f"step-{steps(out)[-1]}")
    assert half_written > 0
    assert commands.run(*words).code == 0
    assert not list(out.glob("checkpoints/.step-*"))


def test_killed_before_the_first_step_it_begins_with_what_is_asked_then(commands, recipe, tmp_path):
    out = tmp_path / "run"
    first = commands.start("train", str(recipe), f"out={out}", "tokenizer.vocab_size=300")
    first.kill_when(
        lambda: (out / "tokenizer" / "tokenizer.json").exists() and not (out / "recipe.yaml").exists()
    )
    ended = commands.run(
        "train", str(recipe), f"out={out}", "tokenizer.vocab_size=310", "training.max_steps=1"
    )
    assert ended.code == 0, ended.err
    assert json.loads((out / "config.json").read_text())["vocab_size"] == 310


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_leaves_with_a_line_that_says_how_to_go_on(
    commands, recipe, whole, tmp_path, number
):
    out = tmp_path / "run"
    words = ("train", str(recipe), f"out={out}", ADAMW, EAGER)
    ended = commands.start(*words, brake=BRAKE).kill_when(lambda: recorded(out) >= 5, number)
    assert ended.code == 130
    assert "Traceback" not in ended.err
    stopped = records.read(out / "metrics.jsonl")[-1]
    assert (stopped["kind"], stopped["finished"], stopped["step"]) == ("end", False, steps(out)[-1])
    said = f"stopped and saved at step {stopped['step']} of 24; the same command goes on from there"
    assert said in ended.out
    assert (out / "report.html").exists()
    ended = commands.run(*words)
    assert f"goes on from step {stopped['step']} of 24" in ended.out
    same_runs(whole(recipe, ADAMW, EAGER), out)


def test_a_finished_run_says_so_and_changes_nothing(commands, recipe, whole):
    out = whole(recipe, ADAMW, EAGER)
    before = (out / "metrics.jsonl").read_bytes(), (out / "model.safetensors").read_bytes()
    ended = commands.run("train", str(recipe), f"out={out}", ADAMW, EAGER)
    assert ended.code == 0
    assert "finished, 24 of 24 steps" in ended.out
    assert before == ((out / "metrics.jsonl").read_bytes(), (out / "model.safetensors").read_bytes())


def test_killed_after_the_last_checkpoint_the_model_is_still_made(commands, recipe, tmp_path):
    out = tmp_path / "run"
    words = ("train", str(recipe), f"out={out}", "validation.split=null")
    commands.start(*words, brake=BRAKE).kill_when(lambda: steps(out)[-1:] == [24])
    for name in ("model.safetensors", "report.html"):
        (out / name).unlink(missing_ok=True)
    log = (out / "metrics.jsonl").read_text().splitlines()
    (out / "metrics.jsonl").write_text("".join(f"{line}\n" for line in log if '"end"' not in line))
    assert commands.run(*words).code == 0
    assert (out / "model.safetensors").exists()
    assert (out / "report.html").exists()


@pytest.mark.parametrize("how", ["torn", "edited", "missing"])
@pytest.mark.parametrize("name", ["model.safetensors", "trainer.safetensors", "trainer.json"])
def test_a_torn_or_edited_checkpoint_file_is_named(commands, recipe, whole, tmp_path, name, how):
    out = tmp_path / "run"
    shutil.copytree(whole(recipe, ADAMW, EAGER), out)
    file = out / "checkpoints" / "step-24" / name
    content = file.read_bytes()
    if how == "missing":
        file.unlink()
    else:
        file.write_bytes(content[:-7] if how == "torn" else content[:-1] + bytes([content[-1] ^ 1]))
    ended = commands.run("train", str(recipe), f"out={out}", ADAMW, EAGER)
    assert ended.code == 2
    (line,) = ended.err.splitlines()
    assert str(file) in line
    assert f"remove {file.parent} and go on from step-20" in line
    shutil.rmtree(file.parent)
    assert "goes on from step 20 of 24" in commands.run("train", str(recipe), f"out={out}", ADAMW, EAGER).out


def test_a_full_disk_loses_nothing_that_was_finished(commands, recipe, whole, full_disk):
    out, fill, free = full_disk
    words = ("train", str(recipe), f"out={out}", ADAMW, EAGER, "training.keep=1")
    running = commands.start(*words, brake=BRAKE)
    until = time.monotonic() + 60
    while recorded(out) < 5 and time.monotonic() < until:
        time.sleep(0.002)
    fill()
    ended = running.wait()
    assert ended.code == 2
    line = ended.err.splitlines()[-1]
    assert "free" in line.lower()
    assert "Traceback" not in ended.err
    verify_folder(out / "checkpoints" / f"step-{steps(out)[-1]}")
    free()
    ended = commands.run(*words)
    assert ended.code == 0, ended.err
    same_tensors(whole(recipe, ADAMW, EAGER) / "model.safetensors", out / "model.safetensors")


def test_a_checkpoint_larger_than_a_file_may_be_is_refused_by_name(commands, recipe, tmp_path):
    out = tmp_path / "run"
    ended = commands.run("train", str(recipe), f"out={out}", fsize=90_000)
    assert ended.code == 2
    assert "Traceback" not in ended.err
    assert f"{out / 'checkpoints' / 'step-0'}: larger than a file may be here" in ended.err.splitlines()[-1]


def test_space_is_asked_for_before_a_checkpoint_is_begun(full_disk):
    out, _, _ = full_disk
    checkpoints = Checkpoints(out, keep=2)
    large = Checkpoint({"weight": torch.zeros(5_000_000 // 4)}, {}, {})
    with pytest.raises(ValueError, match=r"run: needs 6 MB and the disk has 4 MB free; free some space"):
        checkpoints.save(0, large, None)
    assert not out.exists() or not list(out.iterdir())


def test_the_last_checkpoints_and_the_best_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in range(6):
        checkpoints.save(
            step, Checkpoint({"weight": torch.full((1,), step)}, {}, {"step": step}), best_step=1
        )
    assert checkpoints.steps() == [1, 4, 5]
    assert checkpoints.load(1).model["weight"].item() == 1
    assert checkpoints.load(5).facts == {"step": 5}


class Told:
    """Watches by the losses it was told."""

    def __init__(self, losses):
        self.losses, self.best, self.facts = list(losses), [], []

    def train(self, standing, facts):
        self.facts.append(facts)

    def validate(self, standing):
        return self.losses[standing.step - 1]

    def improved(self, standing):
        self.best.append(standing.step)


def trainer_of(**settings):
    store = SimpleNamespace(ids=np.arange(1, 200) % 49 + 1, offsets=np.arange(0, 200, 10))
    loader = Loader([WindowSource(store, Marks(0, 0), 16, 1)], [1.0], 4, 1)
    config = TrainingConfig(batch_size=4, eval_steps=1, save_steps=100, compile=False, **settings)
    return Trainer(build("gpt2"), CausalConfig().build(), loader, config, steps=8)


@pytest.mark.parametrize(
    ("losses", "ended", "best"),
    [
        ([5, 6, 4, 5, 5, 1, 1, 1], 5, [1, 3]),
        ([5, 6, 7, 1, 1, 1, 1, 1], 3, [1]),
        ([8, 7, 6, 5, 4, 3, 2, 1], 8, [1, 2, 3, 4, 5, 6, 7, 8]),
        ([None] * 8, 8, []),
    ],
)
def test_patience_counts_validations_without_a_better_one(tmp_path, losses, ended, best):
    trainer, watcher = trainer_of(patience=2), Told(losses)
    assert trainer.run(watcher, Checkpoints(tmp_path, keep=1))
    assert (trainer.standing.step, watcher.best) == (ended, best)
    assert Checkpoints(tmp_path, keep=1).steps()[-1] == ended


def test_a_long_gradient_is_shortened_and_a_short_one_left(tmp_path):
    def gradients(limit):
        trainer, held = trainer_of(max_grad_norm=limit), []
        trainer.optimizers[0].step = lambda: held.extend(p.grad.clone() for p in trainer.model.parameters())
        return trainer.step()["gradient_norm"], torch.cat([gradient.flatten() for gradient in held])

    norm, free = gradients(None)
    assert float(free.norm()) == pytest.approx(norm, rel=1e-5)
    said, cut = gradients(norm / 3)
    assert said == pytest.approx(norm, rel=1e-6)
    torch.testing.assert_close(cut, free / 3, rtol=1e-4, atol=1e-7)
    assert torch.equal(gradients(norm * 2)[1], free)


def test_not_a_number_stops_with_the_batch_saved(commands, recipe, tmp_path):
    out = tmp_path / "run"
    words = (
        "training.optimizer.kind=sgd",
        "training.optimizer.learning_rate=1e30",
        "training.max_grad_norm=null",
    )
    ended = commands.run("train", str(recipe), f"out={out}", *words)
    assert ended.code == 2
    line = ended.err.splitlines()[-1]
    assert "is not finite" in line
    assert "learning_rate" in line
    (batch,) = out.glob("not-finite-step-*.safetensors")
    assert str(batch) in line
    assert load_file(batch)["tokens"].shape == (4, 32)
    assert str(out / "checkpoints" / "step-0") in line
    assert all(
        tensor.isfinite().all() for tensor in load_file(out / "checkpoints/step-0/model.safetensors").values()
    )


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("training.batch_size=8", "training.batch_size=4, now it is 8"),
        ("model.depth=2", "model.depth=1, now it is 2"),
        ("training.optimizer.kind=muon", "training.optimizer."),
        ("tokenizer.vocab_size=300", "tokenizer.vocab_size=320, now it is 300"),
    ],
)
def test_a_changed_key_on_resume_is_refused_by_name(commands, recipe, whole, word, said):
    out = whole(recipe, ADAMW, EAGER)
    ended = commands.run("train", str(recipe), f"out={out}", ADAMW, EAGER, word)
    assert ended.code == 2
    (line,) = ended.err.splitlines()
    assert str(out) in line
    assert said in line
    assert "init_from" in line


def test_a_changed_corpus_on_resume_is_refused_by_name(commands, recipe, tmp_path, corpus):
    out, mine, text = tmp_path / "run", tmp_path / "mine", tmp_path / "more.txt"
    shutil.copytree(corpus, mine, ignore=shutil.ignore_patterns("tokens"))
    words = ("train", str(recipe), f"corpus={mine}", f"out={out}")
    commands.start(*words, brake=BRAKE).kill_when(lambda: recorded(out) >= 2)
    text.write_text("".join(f"Line {n} of another text, about {n * n} apples.\n" for n in range(300)))
    ended = commands.run("data", "prepare", str(text), f"out={mine}", "overwrite=true", "read.documents=line")
    assert ended.code == 0, ended.err
    ended = commands.run(*words)
    assert ended.code == 2
    assert f"{mine}: holds other documents than when {out} was begun" in ended.err


def test_it_stops_early_when_patience_is_spent(commands, recipe, tmp_path):
    out = tmp_path / "run"
    words = (
        "training.patience=2",
        "training.eval_steps=1",
        "training.optimizer.learning_rate=3",
        "training.max_steps=200",
    )
    words = ("train", str(recipe), f"out={out}", *words, "training.schedule.kind=constant")
    ended = commands.run(*words)
    assert ended.code == 0, ended.err
    scores = [r["loss"] for r in records.of_kind(records.read(out / "metrics.jsonl"), "validation")]
    assert len(scores) < 200
    assert min(scores) == scores[-3]
    assert steps(out)[-1] == len(scores)
    assert "no better for 2 validations" in ended.out
    assert f"finished, {len(scores)} of 200 steps" in commands.run(*words).out


def test_what_is_decided_at_the_start_is_replayed(commands, recipe, tmp_path):
    out = tmp_path / "run"
    words = ("train", str(recipe), f"out={out}", "training.max_steps=null", "training.minutes=0.05")
    words = (*words, "training.compile=auto", "training.precision=auto")
    commands.start(*words, brake=BRAKE).kill_when(lambda: recorded(out) >= 3)
    decided = config_of(out)["training"]
    assert decided["minutes"] is None
    assert decided["max_steps"] > 3
    assert decided["compile"] is False
    assert decided["precision"] in ("bfloat16", "float32")
    assert decided["threads"] == 1
    assert commands.run(*words).code == 0
    assert config_of(out)["training"] == decided
    assert steps(out)[-1] == decided["max_steps"]


def test_threads_are_written_down_and_kept(commands, recipe, tmp_path):
    out = tmp_path / "run"
    words = ("train", str(recipe), f"out={out}", "training.max_steps=2", "training.threads=2")
    assert commands.run(*words).code == 0
    assert config_of(out)["training"]["threads"] == 2
    assert records.read(out / "metrics.jsonl")[0]["threads"] == 2


def test_two_lengths_are_refused(commands, recipe, tmp_path):
    ended = commands.run(
        "train", str(recipe), f"out={tmp_path / 'run'}", "training.minutes=30", "training.max_steps=2"
    )
    assert ended.code == 2
    assert "training.max_steps and training.minutes both say how long; keep one" in ended.err


def test_another_model_than_that_of_init_from_is_refused(commands, recipe, whole, tmp_path):
    first = whole(recipe, ADAMW, EAGER)
    ended = commands.run(
        "train", str(recipe), f"out={tmp_path / 'run'}", f"init_from={first}", "model.hidden_size=64"
    )
    assert ended.code == 2
    assert "hidden_size=32, the recipe says 64; leave out model.*" in ended.err


def test_a_run_goes_on_from_the_weights_of_another(commands, recipe, whole, tmp_path):
    first, out = whole(recipe, ADAMW, EAGER), tmp_path / "run"
    ended = commands.run(
        "train", str(recipe), f"out={out}", f"init_from={first}", "training.max_steps=1", "training.keep=9"
    )
    assert ended.code == 0, ended.err
    same_tensors(first / "model.safetensors", out / "checkpoints/step-0/model.safetensors")
