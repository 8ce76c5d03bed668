"""What a recipe becomes: a dry run, one batch to look at, help, and a start without torch."""

import json
import re
import subprocess
import sys

import pytest
import yaml

from commands import ENVIRONMENT
from rootlm.cli.main import VERBS
from rootlm.core import records

BIG = (
    "model.depth=2",
    "model.hidden_size=256",
    "model.context=128",
    "training.batch_size=16",
    "training.max_steps=6",
)


def test_a_dry_run_says_what_it_takes_and_keeps_nothing(commands, recipe, tmp_path):
    out = tmp_path / "run"
    ended = commands.run("train", str(recipe), f"out={out}", "--dry-run")
    assert ended.code == 0, ended.err
    assert not out.exists()
    resolved, _, facts = ended.out.partition("\nparameters")
    settings = yaml.safe_load(resolved)
    assert settings["model"]["feedforward"]["kind"] == "swiglu"
    assert settings["training"]["max_steps"] == 24
    assert settings["training"]["precision"] == "float32"
    for row in ("vocabulary", "device", "peak memory", "steps", "tokens", "time", "disk"):
        assert f"\n{row} " in facts, facts
    assert re.search(r"steps +24, 128 tokens each", facts)


def test_the_memory_of_a_dry_run_is_within_a_fifth_of_what_the_run_takes(commands, recipe, tmp_path):
    words = (str(recipe), f"out={tmp_path / 'run'}", *BIG)
    ended = commands.run("train", *words, "--dry-run")
    said = float(re.search(r"peak memory +([\d,]+) MB", ended.out)[1].replace(",", ""))
    assert commands.run("train", *words).code == 0
    taken = records.read(tmp_path / "run" / "metrics.jsonl")[-1]["peak_memory_mb"]
    assert taken > 100
    assert 0.8 < said / taken < 1.2
    kept = [file.stat().st_size for file in (tmp_path / "run/checkpoints/step-6").iterdir()]
    # Two to keep, the best one and the one being written.
    disk = float(re.search(r"disk +up to ([\d,]+) MB", ended.out)[1].replace(",", ""))
    assert disk == pytest.approx(4 * sum(kept) / 1e6, rel=0.05)


def test_the_parameters_of_a_dry_run_are_those_of_the_run(commands, recipe, tmp_path):
    words = ("train", str(recipe), f"out={tmp_path / 'run'}", "training.max_steps=1")
    said = re.search(r"parameters +([\d.]+)k", commands.run(*words, "--dry-run").out)[1]
    assert commands.run(*words).code == 0
    start = records.read(tmp_path / "run" / "metrics.jsonl")[0]
    assert float(said) == pytest.approx(start["parameters"] / 1000, rel=0.01)


def test_a_batch_is_shown_token_by_token(commands, recipe):
    ended = commands.run("data", "batch", str(recipe), "out=x", "step=2", "row=1")
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    head, rows, end = lines[0], lines[1:-1], lines[-1]
    assert head.split() == ["place", "segment", "document", "weight", "token", "→", "target"]
    assert [int(row.split()[0]) for row in rows] == list(range(32))
    assert end == "this batch asks for 128 predictions in 128 places"
    tokens = [row.split("  ")[-1].split(" → ") for row in rows]
    for (_, target), (token, _), row in zip(tokens, tokens[1:], rows[1:], strict=False):
        # What is asked for is read next, and a document begins with its mark.
        assert target == token
        assert (
            int(row.split()[1]) == int(rows[int(row.split()[0]) - 1].split()[1]) or token == "<|endoftext|>"
        )


def test_the_schema_is_printed_for_editors(commands):
    ended = commands.run("schema")
    assert json.loads(ended.out)["$schema"].startswith("https://json-schema.org")


def test_start_and_help_do_without_torch():
    script = (
        "import sys, rootlm; from rootlm.cli.main import run; assert rootlm.__version__\n"
        "codes = [run(words.split()) for words in ('--help', '', 'train --help', 'data prepare --help', '--version')]\n"
        "assert codes == [0] * 5, codes\n"
        "assert not {'torch', 'transformers'} & sys.modules.keys()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    for verb in VERBS:
        assert f"  rootlm {verb} " in ended.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_helps(commands, verb):
    ended = commands.run(*verb.split(), "--help")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"rootlm {verb}: {VERBS[verb]}")
    assert "key=value" in ended.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian"], "unknown verb trian; did you mean train"),
        (["data"], "say which"),
        (["data"], "  rootlm data prepare"),
        (["xyzzy"], "rootlm --help lists the verbs"),
    ],
)
def test_an_unknown_verb_names_the_nearest(commands, words, said):
    ended = commands.run(*words)
    assert ended.code == 2
    assert said in ended.err
