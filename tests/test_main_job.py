"""The main job on the shipped text, with a model small enough for a test."""

import math
import re

import pytest

import rootlm
from rootlm.core import files
from rootlm.core.config import Override, read_yaml
from rootlm.runs.main_job import quickstart

SMALL = {"training.max_steps": 6, "model.depth": 1, "model.hidden_size": 64, "model.n_heads": 1}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quickstart")
    said = []
    overrides = [Override(key, value) for key, value in SMALL.items()]
    quickstart(folder, overrides, said.append)
    return folder, overrides, "\n".join(said)


def test_three_generations_stand_in_one_table(made):
    folder, _, said = made
    rows = re.findall(r"^ +(5-gram|lstm|decoder) +([\d.]+) ", said, re.MULTILINE)
    table = {name: float(bits) for name, bits in rows}
    assert len(rows) == len(table) == 3
    # Six steps are few: what is counted has seen everything.
    assert 2 < table["5-gram"] < min(table["lstm"], table["decoder"]) < 9
    assert "5-gram predicts the held-out text best" in said
    assert files.read_json(folder / "compare.json")["models"][0]["name"] == "5-gram"
    assert (folder / "compare.html").stat().st_size > 10_000
    tokenizers = {(folder / name / "tokenizer.json").read_bytes() for name in table}
    assert len(tokenizers) == 1


def test_the_lstm_is_cut_as_short_as_the_decoder(made):
    steps = {
        name: read_yaml(made[0] / name / "recipe.yaml")[0]["training"]["max_steps"]
        for name in ("lstm", "decoder")
    }
    assert steps == {"lstm": 4, "decoder": 6}


def test_it_speaks_and_says_what_comes_next(made):
    folder, _, said = made
    assert "床前明月光" in said and "HAMLET:" in said
    assert "Given 我爱中, what comes next" in said
    assert (folder / "decoder" / "report.html").stat().st_size > 10_000
    assert said.count("rootlm ") >= 3


def test_the_same_command_again_trains_nothing(made):
    folder, overrides, _ = made
    kept = [folder / name / "model.safetensors" for name in ("5-gram", "lstm", "decoder")]
    before = [(file.read_bytes(), file.stat().st_mtime_ns) for file in kept]
    quickstart(folder, overrides, lambda _: None)
    assert [(file.read_bytes(), file.stat().st_mtime_ns) for file in kept] == before


def test_its_folder_opens_as_a_run(made):
    run = rootlm.load(made[0] / "decoder")
    words = run.next_words("我爱中", k=8)
    assert len(words) == 8 and all(0 < word.probability <= 1 for word in words)
    assert math.isfinite(sum(word.probability for word in words))
