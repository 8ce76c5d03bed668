"""Every run says how it does on text it has read, on text it has not, and on text from elsewhere, side by side."""

import json

import pytest

from conftest import TINY
from rootlm.core import records
from rootlm.core.config import Override
from rootlm.runs.fitting import train
from rootlm.runs.generalisation import judge, texts_of
from rootlm.runs.opened import load
from rootlm.runs.recipe import read_recipe
from rootlm.text.corpus import Corpus


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    file = tmp_path_factory.mktemp("elsewhere") / "code.txt"
    file.write_text("for (i = 0; i < n; i++) { total += a[i] * b[i]; }\n" * 3)
    return file


@pytest.fixture(scope="module")
def run(tmp_path_factory, corpus, elsewhere):
    folder = tmp_path_factory.mktemp("seen")
    (folder / "tiny.yaml").write_text(f"corpus: {corpus}\n{TINY}")
    own = [Override("out", str(folder / "run")), Override("validation.out_of_domain", str(elsewhere))]
    return train(read_recipe(str(folder / "tiny.yaml"), own), lambda text: None)


def test_a_run_records_every_text_with_its_gap(run, corpus, elsewhere):
    found = records.of_kind(records.read(run / "metrics.jsonl"), "generalisation")
    assert [one["text"] for one in found] == ["train", "validation", "test", "out of domain"]
    opened = load(run, precision="float32")
    validation = opened.evaluate(Corpus.open(corpus).documents("validation")).bits_per_byte()
    seen, held_out, _, strange = found
    assert held_out["bits_per_byte"]["value"] == validation.value
    assert seen["gap"] is None
    assert held_out["gap"]["value"] == pytest.approx(validation.value - seen["bits_per_byte"]["value"])
    assert held_out["gap"]["low"] < held_out["gap"]["value"] < held_out["gap"]["high"]
    assert strange["bytes"] == len(elsewhere.read_bytes()) - 1
    assert records.read(run / "metrics.jsonl")[-1]["kind"] == "end"


def test_the_report_shows_them_side_by_side(run):
    page = (run / "report.html").read_text()
    assert "Does it hold on new text?" in page
    for one in records.of_kind(records.read(run / "metrics.jsonl"), "generalisation"):
        assert f"{one['bits_per_byte']['value']:.3f}" in page


def test_of_each_text_no_more_is_read_than_asked(corpus):
    whole = Corpus.open(corpus)
    texts = {name: list(held) for name, held in texts_of([whole], most_bytes=900).items()}
    for name, documents in texts.items():
        size = sum(len(document.text.encode()) for document in documents)
        assert 0 < size < min(4 * 900, whole.counts(name).bytes + 1)
    everything = {name: list(held) for name, held in texts_of([whole]).items()}
    assert len(everything["validation"]) == whole.counts("validation").documents
    assert len(everything["train"]) < whole.counts("train").documents


def test_what_was_learned_by_heart_shows_as_a_gap(run, corpus):
    """The text that it has read, judged twice, has no gap to itself."""
    documents = list(Corpus.open(corpus).documents("train"))
    (_, same) = judge(load(run, precision="float32"), {"train": documents, "again": documents})
    assert same.gap.value == 0
    assert same.gap.low < 0 < same.gap.high


def test_evaluate_puts_splits_beside_each_other(commands, run, elsewhere):
    words = ("evaluate", str(run), "splits=[train,validation,test]", f"out_of_domain={elsewhere}")
    ended = commands.run(*words)
    assert ended.code == 0, ended.err
    assert "out of domain" in ended.out
    plain = json.loads(commands.run(*words, "json=true").out)
    assert [one["text"] for one in plain] == ["train", "validation", "test", "out of domain"]
    wrong = commands.run("evaluate", str(run), "splits=[train,dev]")
    assert wrong.code == 2
    assert "has no split dev" in wrong.err
