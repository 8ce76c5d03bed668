"""The main job on the shipped text, with a model small enough for a test."""

import math

import pytest

import rootlm
from rootlm.core.config import Override
from rootlm.runs.main_job import quickstart

SMALL = {"training.max_steps": 6, "model.depth": 1, "model.hidden_size": 64, "model.n_heads": 1}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quickstart")
    said = []
    overrides = [Override(key, value) for key, value in SMALL.items()]
    quickstart(folder, overrides, said.append)
    return folder, overrides, "\n".join(said)


def test_it_scores_speaks_and_says_what_comes_next(made):
    folder, _, said = made
    assert "bits per byte (95 % interval" in said
    assert "床前明月光" in said and "HAMLET:" in said
    assert "Given 我爱中, what comes next" in said
    assert (folder / "report.html").stat().st_size > 10_000
    assert said.count("rootlm ") >= 3


def test_the_same_command_again_trains_nothing(made):
    folder, overrides, _ = made
    before = (folder / "model.safetensors").read_bytes()
    said = []
    quickstart(folder, overrides, said.append)
    assert "finished, 6 of 6 steps" in "\n".join(said)
    assert (folder / "model.safetensors").read_bytes() == before


def test_its_folder_opens_as_a_run(made):
    run = rootlm.load(made[0])
    words = run.next_words("我爱中", k=8)
    assert len(words) == 8 and all(0 < word.probability <= 1 for word in words)
    assert math.isfinite(sum(word.probability for word in words))
