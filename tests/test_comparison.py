"""Models are compared on the same documents, with what their own records say they cost."""

import json
import math
import signal

import numpy as np
import pytest

from conftest import TINY
from rootlm.core import records
from rootlm.core.config import Override
from rootlm.evaluation.figures import compare
from rootlm.generation.sampling import Sampling
from rootlm.runs import comparison, comparison_page
from rootlm.runs.fitting import train
from rootlm.runs.opened import load
from rootlm.text.corpus import Corpus

ASKED = comparison.Comparing(split="validation", texts=3, openings=2, sampling=Sampling(max_new_tokens=12))


def quietly(recipe):
    return train(recipe, lambda text: None)


@pytest.fixture(scope="module")
def files(tmp_path_factory, corpus):
    folder = tmp_path_factory.mktemp("recipes")
    small = f"corpus: {corpus}\n{TINY}"
    (folder / "narrow.yaml").write_text(small)
    (folder / "wide.yaml").write_text(small.replace("hidden_size: 32", "hidden_size: 48"))
    (folder / "counted.yaml").write_text(
        f"corpus: {corpus}\ntokenizer: {{kind: bpe, vocab_size: 320}}\nmodel: {{kind: ngram, order: 3}}\n"
    )
    masked = small.replace("model: {", "model: {kind: encoder, ") + "objective: {kind: masked}\n"
    (folder / "masked.yaml").write_text(masked)
    return folder


@pytest.fixture(scope="module")
def held(files, corpus):
    names = [str(files / name) for name in ("narrow.yaml", "wide.yaml", "counted.yaml")]
    listed = comparison.entrants(names, files / "out")
    return comparison.contest(listed, Corpus.open(corpus), ASKED, lambda text: None, quietly)


def test_every_model_scores_the_same_bytes_and_the_best_is_first(held, corpus):
    documents = list(Corpus.open(corpus).documents("validation"))
    sizes = [len(document.text.encode()) for document in documents]
    for one in held.standings:
        assert one.evaluation.bytes.tolist() == sizes
        assert one.bits == load(one.folder, precision="float32").evaluate(documents).bits_per_byte()
    bits = [one.bits.value for one in held.standings]
    assert bits == sorted(bits)
    assert {one.kind for one in held.standings} == {"decoder", "ngram"}


def test_a_gap_is_the_paired_difference_to_the_one_before(held):
    for gap, (better, worse) in zip(
        held.gaps(), zip(held.standings, held.standings[1:], strict=False), strict=True
    ):
        assert gap.value == pytest.approx(worse.bits.value - better.bits.value)
        assert gap == compare(worse.evaluation, better.evaluation)


def test_costs_are_those_of_the_runs_own_records(held):
    for one in held.standings:
        kept = records.read(one.folder / "metrics.jsonl")
        ends, (start, *_) = records.of_kind(kept, "end"), records.of_kind(kept, "start")
        assert one.costs.parameters == start["parameters"]
        assert one.costs.seconds == pytest.approx(ends[-1]["seconds"], abs=1e-3)
        assert one.costs.joules == pytest.approx(sum(end["energy_joules"] for end in ends))
        assert one.costs.peak_memory_mb == (max(end["peak_memory_mb"] for end in ends) or None)
        assert one.costs.disk_bytes > (one.folder / "model.safetensors").stat().st_size


def test_all_speak_after_the_same_words(held):
    assert len(held.prompts) == 2
    for one in held.standings:
        assert [len(texts) for texts in one.texts] == [3, 3]
        assert 0 <= one.diversity.self_bleu <= 1


def test_the_page_and_the_table_hold_every_model(held, tmp_path):
    page = comparison_page.save(held, tmp_path).read_text()
    table = comparison_page.terminal_table(held)
    plain = json.loads((tmp_path / "compare.json").read_text())
    assert [one["name"] for one in plain["models"]] == [one.name for one in held.standings]
    for one in held.standings:
        assert f"{one.bits.value:.3f}" in table
        assert f"{one.bits.value:.3f}" in page
        assert one.name in page
    assert page.count('class="bar s1"') == 5
    assert comparison_page.verdict(held).startswith(f"{held.standings[0].name} predicts")
    assert math.isclose(plain["models"][1]["above_the_one_before"]["value"], held.gaps()[0].value)


def test_asked_again_nothing_is_trained_again(held, files):
    listed = comparison.entrants([str(files / "narrow.yaml")], files / "out")
    before = (listed[0].folder / "model.safetensors").stat().st_mtime_ns
    again = comparison.contest(listed, held.corpus, ASKED, lambda text: None, quietly)
    assert (listed[0].folder / "model.safetensors").stat().st_mtime_ns == before
    (same,) = (one for one in held.standings if one.name == "narrow")
    assert again.standings[0].bits == same.bits
    assert again.standings[0].texts == same.texts


def test_minutes_take_the_place_of_every_recipes_length(files, tmp_path):
    names = [str(files / "narrow.yaml"), "quickstart"]
    listed = comparison.entrants(names, tmp_path, [Override("corpus", "c")], minutes=0.5)
    assert [one.recipe.training.minutes for one in listed] == [0.5, 0.5]
    assert [one.recipe.training.max_steps for one in listed] == [None, None]
    assert [one.folder for one in listed] == [tmp_path / "narrow", tmp_path / "quickstart"]


def test_a_model_that_gives_no_probability_is_refused_by_name_before_training(files, held, tmp_path):
    listed = comparison.entrants([str(files / "narrow.yaml"), str(files / "masked.yaml")], tmp_path)
    with pytest.raises(
        ValueError,
        match=r"masked: model\.kind encoder with objective\.kind masked gives no probability to a text",
    ):
        comparison.contest(listed, held.corpus, ASKED, lambda text: None, quietly)
    assert not (tmp_path / "narrow").exists()


def test_a_run_from_elsewhere_is_remarked_on(held, files, tmp_path):
    folder = tmp_path / "strange"
    folder.mkdir()
    for file in (files / "out" / "narrow").iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    request = json.loads((folder / "request.json").read_text())
    (folder / "request.json").write_text(json.dumps({**request, "corpora": ["another"]}))
    found = comparison.contest(
        comparison.entrants([str(folder)], tmp_path), held.corpus, ASKED, lambda text: None
    )
    assert "was trained on another corpus" in found.standings[0].remarks[0]
    assert "was trained on another corpus" in comparison_page.terminal_table(found)


def test_a_word_model_pays_for_what_it_loses(corpus, held, tmp_path):
    from rootlm.runs.recipe import read_recipe

    file = tmp_path / "words.yaml"
    file.write_text(
        f"corpus: {corpus}\ntokenizer: {{kind: word, vocab_size: 200}}\nmodel: {{kind: ngram, order: 2}}\n"
    )
    folder = quietly(read_recipe(str(file), [Override("out", str(tmp_path / "words"))]))
    listed = comparison.entrants([str(folder)], tmp_path)
    (one,) = comparison.contest(listed, held.corpus, ASKED, lambda text: None).standings
    lost = one.evaluation.lost_bytes.sum()
    assert lost > 0
    bits = one.evaluation.nats.sum() / np.log(2) + 8 * lost
    assert one.bits.value == pytest.approx(bits / one.evaluation.bytes.sum())
    assert "loses" in one.remarks[0]


def test_the_command_trains_apart_and_ends_in_the_table(files, commands, tmp_path):
    words = [
        str(files / "narrow.yaml"),
        str(files / "out" / "counted"),
        f"out={tmp_path}",
        "split=validation",
    ]
    ended = commands.run("compare", *words, "texts=1", "training.max_steps=4")
    assert ended.code == 0, ended.err
    assert "bits per byte less than" in ended.out
    assert (tmp_path / "compare.html").exists()
    assert (tmp_path / "narrow" / "model.safetensors").exists()


def test_mistakes_are_named(files, commands, tmp_path):
    def said(*words):
        ended = commands.run("compare", *words, f"out={tmp_path}")
        assert ended.code == 2
        return ended.err

    assert "no such recipe" in said("nothing.yaml")
    assert "holds no config.json, so it is no finished run" in said(str(files))
    assert "is called narrow too" in said(str(files / "narrow.yaml"), str(files / "out" / "narrow"))
    assert "models is missing" in said()


def test_interrupted_it_saves_what_it_has_and_holds_to_what_was_asked(files, commands, tmp_path):
    words = ("compare", str(files / "wide.yaml"), f"out={tmp_path}", "split=validation", "texts=1")
    longer = (*words, "training.max_steps=4000", "training.save_steps=1000", "training.eval_steps=1000")
    metrics = tmp_path / "wide" / "metrics.jsonl"
    running = commands.start(*longer)
    ended = running.kill_when(lambda: metrics.exists() and b'"train"' in metrics.read_bytes(), signal.SIGINT)
    assert ended.code == 130, ended.err
    reached = records.of_kind(records.read(metrics), "end")[-1]["step"]
    assert (tmp_path / "wide" / "checkpoints" / f"step-{reached}").is_dir()
    again = commands.run(*words, "training.max_steps=5000")
    assert again.code == 2
    assert "could not be trained" in again.err
