"""Runs that learn adapters: what they keep, how they go on, speak and are merged, and what people get wrong."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import rootlm
from conftest import TINY
from rootlm.core.files import sha256
from rootlm.layers.adapters import adapter_tensors
from rootlm.models.catalog import save_model, weights
from rootlm.models.interface import Last
from rootlm.runs.adapter_folders import merge
from test_workers import close, together

STEPS = ("training.max_steps=8", "training.optimizer.learning_rate=0.02", "validation.tokens=200")


@pytest.fixture(scope="module")
def base(commands, corpus, tmp_path_factory):
    """A run whose blocks have learned to do something."""
    folder = tmp_path_factory.mktemp("base")
    recipe = folder / "tiny.yaml"
    recipe.write_text(f"corpus: {corpus}\n{TINY}", encoding="utf-8")
    ended = commands.run("train", str(recipe), f"out={folder / 'run'}", "model.depth=2", "model.dropout=0.0")
    assert ended.code == 0, ended.err
    return folder / "run"


@pytest.fixture
def lora(recipe, base):
    """The same recipe for an adapter of that run."""
    lines = [
        line for line in recipe.read_text().splitlines() if not line.startswith(("model:", "tokenizer:"))
    ]
    recipe.write_text(
        "\n".join([*lines, f"init_from: {base}", "adapter: {kind: lora, rank: 4}"]), encoding="utf-8"
    )
    return recipe


def train(commands, recipe, out, *words):
    ended = commands.run("train", str(recipe), f"out={out}", *STEPS, *words)
    assert ended.code == 0, ended.err
    return out


@pytest.fixture
def run(commands, lora, tmp_path):
    return train(commands, lora, tmp_path / "run")


def test_only_the_adapter_is_kept_and_its_base_is_named_by_path_and_checksum(run, base):
    opened = rootlm.load(run, precision="float32")
    own = adapter_tensors(opened.model).keys()
    named = {"path": str(base.resolve()), "sha256": sha256(base / "model.safetensors")}
    assert json.loads((run / "config.json").read_text())["adaptation"]["base"] == named
    for folder in (run, *(run / "checkpoints").iterdir()):
        assert load_file(folder / "model.safetensors").keys() == own
    for folder in (run / "checkpoints").iterdir():
        assert json.loads((folder / "trainer.json").read_text())["base"] == named
        remembered = load_file(folder / "trainer.safetensors")
        assert {name.partition(".")[2] for name in remembered} <= own
    frozen = load_file(base / "model.safetensors")
    assert all(torch.equal(weights(opened.model)[name], tensor) for name, tensor in frozen.items())
    (start,) = [json.loads(line) for line in (run / "metrics.jsonl").open() if '"start"' in line]
    assert start["learned_parameters"] == sum(t.numel() for t in adapter_tensors(opened.model).values())


@pytest.mark.parametrize("more", [(), ("adapter.decomposed=true",), ("adapter.dropout=0.2",)])
def test_stopped_and_gone_on_is_never_stopped(commands, lora, tmp_path, more):
    whole, halved = tmp_path / "whole", tmp_path / "halved"
    train(commands, lora, whole, *more)
    halved.mkdir()
    started = commands.start("train", str(lora), f"out={halved}", *STEPS, *more, brake=0.05)
    assert started.kill_when((halved / "checkpoints" / "step-4").is_dir).code != 0
    train(commands, lora, halved, *more)
    for name in (
        "model.safetensors",
        "checkpoints/step-8/model.safetensors",
        "checkpoints/step-8/trainer.safetensors",
    ):
        assert (whole / name).read_bytes() == (halved / name).read_bytes(), name


@pytest.mark.parametrize("parallel", ["data", "sharded"])
def test_two_workers_equal_one(commands, lora, run, tmp_path, parallel):
    out = tmp_path / "two"
    ended = together(commands, "train", str(lora), f"out={out}", *STEPS, f"training.parallel={parallel}")
    assert [one.code for one in ended] == [0, 0], ended
    one, other = (load_file(folder / "checkpoints/step-8/model.safetensors") for folder in (run, out))
    close(one, other)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_speaks_as_the_plain_way_and_as_merged(run, precision):
    opened = rootlm.load(run, precision=precision)
    prompt = "今天"
    text = opened.generate(prompt, max_new_tokens=12, temperature=0)
    assert opened.model.few_tokens.steps == 0
    ids = torch.tensor([[opened.tokenizer.bos_id, *opened.tokenizer.encode(prompt)]])
    said = []
    with torch.no_grad():
        for _ in range(12):
            said.append(int(opened.model(ids, ask=Last(1)).values.argmax()))
            ids = torch.cat([ids, torch.tensor([said[-1:]])], 1)
    if precision == "float32":
        assert text.startswith(opened.tokenizer.decode(said)[:4])
    whole = merge(opened).to(next(opened.model.parameters()).dtype)
    state, plain = whole.begin(1), opened.model.begin(1)
    close_enough = {"rtol": 0, "atol": 1e-4 if precision == "float32" else 0.15}
    with torch.no_grad():
        for place in range(8):
            one = ids[:, place : place + 1]
            values, state, *_ = whole(one, state, ask=Last(1))
            expected, plain, *_ = opened.model(one, plain, ask=Last(1))
            torch.testing.assert_close(values.float(), expected.float(), **close_enough)
    assert (whole.few_tokens.steps > 0) is whole.few_tokens.suits(whole, 1)
    assert opened.model.few_tokens.steps == 0


def test_an_adapter_that_is_put_on_later_is_not_overlooked_by_the_kernel(base):
    from rootlm.layers.adapters import adapt
    from rootlm.layers.low_rank import LoraConfig

    model = rootlm.load(base, precision="float32").model
    tokens = torch.tensor([[5, 9, 7]])
    with torch.no_grad():
        model(tokens, model.begin(1), ask=Last(1))
        adapt(model, LoraConfig())
        for tensor in adapter_tensors(model).values():
            tensor.add_(0.05)
        state = model(tokens[:, :2], model.begin(1), ask=Last(1)).state
        found = model(tokens[:, 2:], state, ask=Last(1)).values
        torch.testing.assert_close(found, model(tokens, ask=Last(1)).values, rtol=1e-4, atol=1e-4)


def test_a_merged_model_is_a_base_like_any_other(commands, lora, run, tmp_path):
    opened = rootlm.load(run, precision="float32")
    whole = shutil.copytree(run, tmp_path / "merged", ignore=shutil.ignore_patterns("checkpoints"))
    save_model(merge(opened), whole)
    assert load_file(whole / "model.safetensors").keys() == weights(merge(opened)).keys()
    tokens = torch.randint(3, 300, (2, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = rootlm.load(whole, precision="float32").model(tokens).values
        torch.testing.assert_close(found, opened.model(tokens).values, rtol=0, atol=1e-4)
    # A run begins from an adapter's run as from the merged one, with a new adapter or whole.
    one, other = (
        train(commands, lora, tmp_path / f"from-{folder.name}", f"init_from={folder}")
        for folder in (run, whole)
    )
    assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    again = rootlm.load(one, precision="float32")
    assert again.model.adaptation.base.path == str(run.resolve())
    train(commands, lora, tmp_path / "whole again", f"init_from={run}", "adapter=null")


def refused(commands, recipe, tmp_path, *words):
    ended = commands.run("train", str(recipe), f"out={tmp_path / 'refused'}", *STEPS, *words)
    assert ended.code == 2, ended
    (line,) = ended.err.splitlines()
    return line


def test_what_people_get_wrong_in_a_recipe(commands, lora, tmp_path):
    line = refused(commands, lora, tmp_path, "adapter.targets=[attention.qvk]")
    assert (
        "adapter.targets: attention.qvk is no matrix of this model; it has attention.qkv (or its parts"
        in line
    )
    assert "adapter.rank is 0" in refused(commands, lora, tmp_path, "adapter.rank=0")
    assert "set init_from=RUN" in refused(commands, lora, tmp_path, "init_from=null")
    assert "head is the embedding's matrix too" in refused(commands, lora, tmp_path, "adapter.targets=[head]")


def says(folder):
    with pytest.raises(ValueError, match=str(folder)) as caught:
        rootlm.load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_base_that_is_gone_moved_or_another_one(run, base, tmp_path):
    config = json.loads((run / "config.json").read_text())

    def told(folder, digest):
        config["adaptation"]["base"] = {"path": str(folder), "sha256": digest}
        (run / "config.json").write_text(json.dumps(config))

    own = config["adaptation"]["base"]["sha256"]
    told("/nowhere/base", own)
    assert "its base /nowhere/base is not there; bring that folder back, or put it beside" in says(run)
    shutil.copytree(base, run.parent / "base", ignore=shutil.ignore_patterns("checkpoints"))
    rootlm.load(run)
    other = Path(shutil.copytree(base, tmp_path / "other", ignore=shutil.ignore_patterns("checkpoints")))
    held = load_file(other / "model.safetensors")
    model = rootlm.load(other, precision="float32").model
    save_model(model, other, {name: tensor + 1 for name, tensor in held.items()})
    told(other, own)
    assert f"is an adapter for weights with checksum {own[:12]}…, {other} holds" in says(run)
    told(base, own)
    config["adaptation"]["settings"]["rank"] = 5
    told(base, own)
    assert "it belongs to another base" in says(run)


def test_going_on_over_another_base_is_refused(commands, lora, run, base, tmp_path):
    moved = Path(shutil.copytree(base, tmp_path / "moved", ignore=shutil.ignore_patterns("checkpoints")))
    mine = train(commands, lora, tmp_path / "mine", f"init_from={moved}")
    held = load_file(moved / "model.safetensors")
    save_model(rootlm.load(moved, precision="float32").model, moved, {n: t + 1 for n, t in held.items()})
    ended = commands.run("train", str(lora), f"out={mine}", *STEPS, f"init_from={moved}")
    assert ended.code == 2
    assert "checkpoint step-8: learned on weights with checksum" in ended.err
