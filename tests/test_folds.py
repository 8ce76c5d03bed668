"""Folds part the training documents once, hold copies together, and cross-validation scores each on what it lacks."""

import json

import numpy as np
import pytest

from conftest import TINY
from rootlm.core.config import Override
from rootlm.evaluation.intervals import apart, mean
from rootlm.runs.cross_validation import cross_validate
from rootlm.runs.fitting import train
from rootlm.runs.opened import load
from rootlm.runs.recipe import read_recipe
from rootlm.text.corpus import Corpus
from rootlm.text.folds import HELD_OUT, Fold, FoldConfig, groups
from rootlm.tokenizers.tokenizer import Tokenizer

TALES = [f"The {beast} of {place} sang of {number} rivers and slept." for number, (beast, place) in enumerate(
    (beast, place) for beast in ("fox", "owl", "carp", "toad", "crane") for place in ("Wu", "Shu", "Wei", "Yan")
)]  # fmt: skip


@pytest.fixture(scope="module")
def tales(tmp_path_factory, commands):
    """A corpus that keeps its copies and near-copies, with the name of a book in meta."""
    folder = tmp_path_factory.mktemp("tales")
    lines = [{"text": text, "book": number % 7} for number, text in enumerate(TALES)]
    longer = " ".join(TALES)
    lines += [
        {"text": TALES[0], "book": 0},
        {"text": longer, "book": 8},
        {"text": longer + " Amen.", "book": 9},
    ]
    (folder / "tales.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    words = [
        "duplicates.drop_exact=false",
        "duplicates.drop_near=false",
        "split.validation=0",
        "split.test=0",
    ]
    ended = commands.run("data", "prepare", str(folder / "tales.jsonl"), f"out={folder / 'corpus'}", *words)
    assert ended.code == 0, ended.err
    return Corpus.open(folder / "corpus")


def folds(corpus, of, **settings):
    return [Fold(corpus, FoldConfig(of=of, number=number, **settings)) for number in range(1, of + 1)]


@pytest.mark.parametrize("of", [2, 3, 7])
def test_every_document_is_held_out_once(corpus, of):
    whole = Corpus.open(corpus)
    everything = sorted(document.source for document in whole.documents("train"))
    parts = [[document.source for document in fold.documents(HELD_OUT)] for fold in folds(whole, of)]
    assert sorted(source for part in parts for source in part) == everything
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    for fold, part in zip(folds(whole, of), parts, strict=True):
        rest = [document.source for document in fold.documents("train")]
        assert sorted([*rest, *part]) == everything
        assert fold.counts("train").documents == len(rest)
        assert fold.counts(HELD_OUT).bytes == sum(len(d.text.encode()) for d in fold.documents(HELD_OUT))
        assert list(fold.documents("validation")) == list(whole.documents("validation"))


def test_the_same_seed_the_same_folds(corpus):
    whole = Corpus.open(corpus)

    def held(seed):
        return [document.source for document in folds(whole, 3, seed=seed)[0].documents(HELD_OUT)]

    assert held(1) == held(1) != held(2)
    assert len({fold.fingerprint for fold in [*folds(whole, 3), *folds(whole, 3, seed=1)]}) == 6
    assert len({fold.variant for fold in [*folds(whole, 3), *folds(whole, 3, seed=1)]}) == 6


def test_copies_and_near_copies_share_a_fold(tales):
    group, _ = groups(tales)
    texts = [document.text for document in tales.documents("train")]
    assert len(set(group.tolist())) == len(texts) - 2
    whole = [number for number, text in enumerate(texts) if text.startswith(" ".join(TALES))]
    same = [number for number, text in enumerate(texts) if text == TALES[0]]
    assert len(whole) == len(same) == 2
    for pair in (whole, same):
        assert len({int(group[number]) for number in pair}) == 1


def test_what_belongs_together_stays_together(tales):
    for fold in folds(tales, 3, together="book"):
        kept = {document.meta["book"] for document in fold.documents("train")}
        held_out = {document.meta["book"] for document in fold.documents(HELD_OUT)}
        assert held_out
        assert not kept & held_out
    with pytest.raises(ValueError, match="no document has page in its meta"):
        groups(tales, "page")


def test_more_folds_than_documents_are_refused(commands, recipe, tmp_path):
    ended = commands.run("crossval", str(recipe), "k=500", f"out={tmp_path / 'out'}")
    assert ended.code == 2
    assert "500 folds need as many groups of training documents" in ended.err
    with pytest.raises(ValueError, match="there is none"):
        FoldConfig(of=3, number=4)


@pytest.fixture(scope="module")
def validated(tmp_path_factory, corpus):
    folder = tmp_path_factory.mktemp("crossval")
    (folder / "tiny.yaml").write_text(f"corpus: {corpus}\n{TINY}")
    recipe = read_recipe(str(folder / "tiny.yaml"), [Override("out", "-"), Override("training.max_steps", 6)])
    out = folder / "out"

    def run():
        return cross_validate(
            recipe, out, FoldConfig(of=2), lambda text: None, lambda one: train(one, lambda text: None)
        )

    return run(), run, out, Corpus.open(corpus)


def test_a_fold_is_scored_on_what_it_never_read(validated):
    found, _, out, whole = validated
    for number, fold in enumerate(folds(whole, 2), 1):
        run = load(out / f"fold-{number}", precision="float32")
        figures = run.evaluate(fold.documents(HELD_OUT)).to_plain()
        assert found.folds[number - 1]["bits_per_byte"] == figures["bits_per_byte"]
        assert run.settings["fold"]["number"] == number
    values = [one["bits_per_byte"]["value"] for one in found.folds]
    assert found.bits == mean(values)
    assert (out / "crossval.html").exists()
    # What was held out taught the tokenizer nothing either.
    assert len({Tokenizer.load(out / f"fold-{number}").fingerprint for number in (1, 2)}) == 2


def test_cross_validation_goes_on_where_it_was(validated):
    found, run, out, _ = validated
    (out / "fold-2" / "held_out.json").unlink()
    before = (out / "fold-2" / "model.safetensors").stat().st_mtime_ns
    again = run()
    assert again.bits == found.bits
    assert (out / "fold-2" / "model.safetensors").stat().st_mtime_ns == before


def test_the_t_interval_covers_as_often_as_it_says():
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        found = mean(generator.normal(3.0, 2.0, 4))
        hits += found.low <= 3.0 <= found.high
    assert hits / 2000 == pytest.approx(0.95, abs=0.015)


def test_apart_is_wider_than_paired_and_centred():
    generator = np.random.default_rng(0)
    one, other = generator.gamma(2.0, 1.0, 200), generator.gamma(2.0, 1.0, 150)
    found = apart((one, np.ones(200)), (other, np.ones(150)))
    error = np.sqrt(one.var() / 200 + other.var() / 150)
    assert found.value == pytest.approx(one.mean() - other.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)
