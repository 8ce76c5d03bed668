"""Search draws what it says, promotes the best, resumes to the bit; the rate finder finds a known edge."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file

from conftest import TINY
from rootlm.core import records
from rootlm.core.config import Override
from rootlm.runs.fitting import train
from rootlm.runs.rate_finder import Sweep, find_rate, judged
from rootlm.runs.recipe import read_recipe
from rootlm.runs.search_page import save, terminal_table
from rootlm.runs.settings_search import Base, Searching, Span, draw, read_ranges, rungs, search

RATES = {"training.optimizer.learning_rate": [1e-5, 1e-2, 3e-3]}


def quietly(recipe, part=1.0):
    return train(recipe, lambda text: None, part)


def test_draws_follow_the_ranges_and_the_seed(tmp_path):
    file = tmp_path / "search.yaml"
    file.write_text("a.rate: {low: 1e-4, high: 1e-1, log: true}\nb: [2, four]\nc: {low: 1, high: 9}\n")
    ranges = read_ranges(file)
    many = draw(ranges, Searching(trials=600))
    assert many[:9] == draw(ranges, Searching(trials=9))
    assert many[:9] != draw(ranges, Searching(trials=9, seed=1))
    logs = [math.log10(one["a.rate"]) for one in many]
    assert min(logs) >= -4
    assert max(logs) <= -1
    assert sum(logs) / len(logs) == pytest.approx(-2.5, abs=0.15)
    assert {one["b"] for one in many} == {2, "four"}
    assert {one["c"] for one in many} == set(range(1, 10))
    grid = draw(ranges, Searching(method="grid"))
    assert len(grid) == len({tuple(one.values()) for one in grid}) == 3 * 2 * 3


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("rate: 3\n", "search.yaml:1: rate: is no range"),
        ("\nrate: {low: 3, high: 1}\n", "search.yaml:2: rate: .*low 3 is not below high 1"),
        ("rate: {low: 0, high: 1, log: true}\n", "log needs numbers above 0"),
        ("rate: {lo: 0, high: 1}\n", "did you mean low"),
        ("{}\n", "names no setting"),
    ],
)
def test_a_bad_range_is_named(tmp_path, text, problem):
    (tmp_path / "search.yaml").write_text(text)
    with pytest.raises(ValueError, match=problem):
        read_ranges(tmp_path / "search.yaml")


def test_rungs_grow_and_end_with_the_whole():
    assert rungs(27, Searching(least=0.01)) == pytest.approx([1 / 27, 1 / 9, 1 / 3, 1])
    assert rungs(27, Searching()) == pytest.approx([1 / 9, 1 / 3, 1])
    assert rungs(27, Searching(halving=None)) == [1.0]
    assert Span(low=0.5, high=2.0, log=True).at(0.5) == 1.0


@pytest.fixture(scope="module")
def searched(tmp_path_factory, corpus):
    folder = tmp_path_factory.mktemp("search")
    (folder / "tiny.yaml").write_text(f"corpus: {corpus}\n{TINY}")
    base = Base(str(folder / "tiny.yaml"))
    how = Searching(method="grid", halving=2, least=0.3)

    def run(fit=quietly, ranges=RATES):
        return search(base, ranges, folder / "out", how, lambda text: None, fit=fit)

    return run(), run, folder, base


def test_the_best_goes_on_and_wins(searched):
    trials, _, folder, _ = searched
    assert [one.part for one in trials] == [1.0, 1.0, 0.5]
    assert trials[-1].settings["training.optimizer.learning_rate"] == 1e-5
    assert trials[0].score == min(one.score for one in trials)
    best = read_recipe(str(folder / "out" / "best.yaml"), [Override("out", "again")])
    assert best == trials[0].recipe.model_copy(update={"out": "again"})
    page = save(trials, folder / "out")
    assert "Trial" in page.read_text()
    assert terminal_table(trials).count("\n") == 4
    assert json.loads((folder / "out" / "search.json").read_text())[0]["scores"] == trials[0].scores


def test_a_promoted_trial_equals_a_run_that_never_paused(searched, tmp_path):
    trials, *_ = searched
    whole = quietly(trials[0].recipe.model_copy(update={"out": str(tmp_path / "whole")}))
    paused, never = (
        load_file(folder / "checkpoints" / "step-24" / "model.safetensors")
        for folder in (trials[0].folder, whole)
    )
    assert paused.keys() == never.keys()
    for name, tensor in paused.items():
        assert torch.equal(tensor, never[name]), name


def test_a_search_goes_on_where_it_was(searched):
    trials, run, *_ = searched

    def never(recipe, part):
        raise AssertionError("nothing is left to train")

    again = run(never)
    assert [(one.number, one.score, one.scores) for one in again] == [
        (one.number, one.score, one.scores) for one in trials
    ]
    with pytest.raises(ValueError, match="holds another search"):
        run(never, {"training.optimizer.learning_rate": [1.0]})


def test_a_trial_that_cannot_be_trained_loses(searched, tmp_path):
    *_, base = searched
    ranges = {"model.n_heads": [2, 5]}
    how = Searching(method="grid", halving=None)
    trials = search(base, ranges, tmp_path / "out", how, lambda text: None, fit=quietly)
    assert trials[0].settings == {"model.n_heads": 2}
    assert trials[1].score is None
    assert trials[1].problem
    with pytest.raises(
        ValueError, match=r"no trial has settings that make a recipe; the first: .*hidden_size 32"
    ):
        search(base, {"model.n_heads": [5]}, tmp_path / "none", how, lambda text: None, fit=quietly)
    with pytest.raises(ValueError, match=r"unknown key model\.n_head"):
        search(base, {"model.n_head": [5]}, tmp_path / "typo", how, lambda text: None, fit=quietly)


def test_a_part_validates_and_pauses(searched, tmp_path, commands):
    *_, base = searched
    words = ("train", base.name, f"out={tmp_path / 'run'}")
    ended = commands.run(*words, "part=0.3")
    assert ended.code == 0, ended.err
    assert "paused and saved at step 7 of 24" in ended.out
    looks = records.of_kind(records.read(tmp_path / "run" / "metrics.jsonl"), "validation")
    assert [look["step"] for look in looks] == [6, 7]
    assert "has taken 7 of 24 steps" in commands.run(*words, "part=0.2").out
    assert commands.run(*words).code == 0


def test_the_edge_of_a_known_curve_is_found():
    """A loss that falls most steeply at 1e-3, is lowest at 1e-2 and explodes from there."""
    rates = [10 ** (-5 + place / 25) for place in range(101)]
    falls = [4 - 2 / (1 + math.exp(-4 * (math.log10(rate) + 3))) for rate in rates]
    losses = [
        fall + (10 * (rate / 1e-2) if rate > 1e-2 else 0) for fall, rate in zip(falls, rates, strict=True)
    ]
    found = judged(rates, losses, False)
    # Smoothing looks back over about ten steps, 0.4 of a power of ten.
    assert math.log10(found.steepest) == pytest.approx(-3 + 0.3, abs=0.3)
    assert math.log10(found.stable) == pytest.approx(-2, abs=0.15)


def test_the_sweep_ends_where_training_does(corpus, tmp_path):
    file = tmp_path / "tiny.yaml"
    file.write_text(f"corpus: {corpus}\n{TINY}")
    recipe = read_recipe(str(file), [Override("out", str(tmp_path / "run"))])
    found = find_rate(recipe, Sweep(low=1e-5, high=10.0, steps=40))
    assert 1e-4 < found.steepest <= found.stable < 10
    assert found.rates[0] == pytest.approx(1e-5)
    assert min(found.smooth) < found.smooth[0]
    assert not (tmp_path / "run").exists()


def test_a_counted_model_has_no_rate(commands, corpus, tmp_path):
    file = tmp_path / "counted.yaml"
    file.write_text(f"corpus: {corpus}\nmodel: {{kind: ngram}}\n")
    ended = commands.run("find-rate", str(file))
    assert ended.code == 2
    assert "learns in one pass over the text: it has no learning rate" in ended.err
