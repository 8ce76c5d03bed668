"""Reading text with an n-gram model at speed: the index, the words of a text, memory; beside references to read."""

import math
import subprocess
import sys

import kenlm
import numpy as np
import pytest

from commands import ENVIRONMENT
from ngram_reference import Backing, grams, modified_kneser_ney
from rootlm.models import smoothing as kinds
from rootlm.models.arpa_reader import read_arpa
from rootlm.models.arpa_writer import write_arpa
from rootlm.models.ngram import Ngram
from rootlm.models.ngram_index import index
from rootlm.models.ngram_settings import NgramConfig, PruningConfig
from rootlm.runs.spaced_scoring import SpacedScorer
from rootlm.tokenizers.spaced_words import read_spaced
from rootlm.training.ngram_discounts import how_many
from rootlm.training.ngram_fitting import fit
from test_arpa import FOREIGN
from test_ngram import BOS, EOS, made_up, model_of

SETTINGS = {
    "one": {"order": 1},
    "two": {"order": 2, "smoothing": kinds.GoodTuring(largest=2)},
    "three": {"order": 3, "smoothing": kinds.StupidBackoff()},
    "five": {"order": 5},
    "pruned": {"order": 4, "pruning": PruningConfig(counts=(0, 1))},
    "entropy": {"order": 4, "pruning": PruningConfig(entropy=1e-3)},
}
TEXT = "the cat sat\n\nthe dog sat\r\n a  cat\tsat on the mat\n床 前 明 月\nthe mat 月\nthe the the dog"


def spaced_model(order=3):
    spaced = read_spaced(
        ("the cat sat on the mat\nthe dog sat on <unk>\n床 前 明 月 光\nthe cat\n" * 3).encode()
    )
    model = Ngram(NgramConfig(order=order), len(spaced.words))
    fit(model, [(spaced.ids, spaced.offsets)], (0, 1), str)
    return model, [word.decode() for word in spaced.words]


@pytest.mark.parametrize("name", SETTINGS)
def test_the_index_and_the_tree_say_what_backing_off_says(name):
    model = model_of(made_up(), 30, **SETTINGS[name])
    found, reference = index(model.tables), Backing(model.tables)
    for document in made_up(60, seed=1):
        row = np.asarray([BOS, *document, EOS], np.int64)
        expected = reference.nats(tuple(row.tolist()))
        lows = np.zeros(len(row) - 1, np.int64)
        assert model.nats_of(row[:-1], lows, row[1:]).tolist() == pytest.approx(expected, abs=1e-9)
        assert found.nats(found.after(BOS), row[1:]).tolist() == pytest.approx(expected, abs=1e-9)


def test_a_context_that_costs_something_is_kept_though_nothing_follows(tmp_path):
    # "b a" is in no longer n-gram; another tool has given it a back-off all the same.
    (tmp_path / "foreign.arpa").write_text(FOREIGN.replace("-0.9\tb a\n", "-0.9\tb a\t-0.7\n"))
    model, words = read_arpa(tmp_path / "foreign.arpa")
    peer = kenlm.Model(str(tmp_path / "foreign.arpa"))
    lines = ["b a b", "a b a a", "b a", ""]
    found = SpacedScorer(model, words).score("\n".join([*lines, ""]).encode())
    assert found.tolist() == pytest.approx([peer.score(line) for line in lines], abs=1e-4)


def test_a_model_that_lacks_a_context_is_read_through_the_tree(tmp_path):
    text = FOREIGN.replace("-0.2\t<s> a\t-0.1\n", "").replace("ngram 2=4", "ngram 2=3")
    (tmp_path / "foreign.arpa").write_text(text)
    model, words = read_arpa(tmp_path / "foreign.arpa")
    assert index(model.tables) is None
    (found,) = SpacedScorer(model, words).score(b"a b")
    # The 3-gram answers though its context is not known; p(a | <s>) is a's own.
    assert found == pytest.approx(-0.5 - 0.6 - 0.05 - 0.35, abs=1e-5)
    assert len(SpacedScorer(model, words).score(b"")) == 0


def test_additive_smoothing_has_no_index():
    assert index(model_of(made_up(), 30, smoothing=kinds.Additive(), order=2).tables) is None


@pytest.mark.parametrize("end", ["", "\n", "\n\n", " "])
@pytest.mark.parametrize("order", [1, 3])
def test_lines_of_a_text_score_as_kenlm_has_them(order, end, tmp_path):
    model, words = spaced_model(order)
    scorer, text = SpacedScorer(model, words), TEXT + end
    lines = text.split("\n")[: None if text.split("\n")[-1].strip() else -1]
    found = scorer.score(text.encode())
    # A part of a text for each thread, or the tree: the same lines, the same numbers.
    assert found.tolist() == pytest.approx(scorer._walk(text.encode()).tolist(), abs=1e-9)
    assert len(found) == len(lines)
    if order > 1:  # KenLM reads no unigrams
        write_arpa(model, words, tmp_path / "model.arpa")
        peer = kenlm.Model(str(tmp_path / "model.arpa"))
        assert found.tolist() == pytest.approx([peer.score(line) for line in lines], abs=1e-4)


def test_texts_of_any_length_are_scored_line_by_line():
    scorer = SpacedScorer(*spaced_model())
    lines = ["the cat", "", "sat on", "zebra", "光"] * 7
    alone = [float(scorer.score(line.encode() + b"\n")[0]) for line in lines]
    for many in range(len(lines) + 1):
        text = "".join(line + "\n" for line in lines[:many]).encode()
        assert scorer.score(text).tolist() == pytest.approx(alone[:many], abs=1e-12)


@pytest.mark.parametrize("mark", ["<s>", "</s>"])
@pytest.mark.parametrize("line", [1, 2, 9])
def test_marks_in_a_text_to_score_are_refused(mark, line):
    lines = ["the cat sat"] * 9
    lines[line - 1] = f"the {mark} cat"
    with pytest.raises(ValueError, match=f"^line {line}: holds the mark {mark}; leave marks out"):
        SpacedScorer(*spaced_model()).score("\n".join(lines).encode())


def test_contexts_are_those_of_a_dictionary():
    tables = model_of(made_up(), 30, order=5, pruning=PruningConfig(counts=(0, 1))).tables
    known = grams(tables)
    node = {gram: number for number, gram in enumerate(known)}
    assert tables.contexts().tolist() == [node.get(gram[:-1], -1) for gram in known]


@pytest.mark.parametrize("order", [1, 2, 4])
def test_estimates_are_those_of_a_dictionary(order):
    documents, discounts = made_up(200), (0.4, 0.9, 1.3)
    model = model_of(documents, 30, order=order, smoothing=kinds.ModifiedKneserNey(discounts=discounts))
    marked = [(BOS, *document, EOS) for document in documents]
    expected = modified_kneser_ney(marked, order, 29, discounts)
    found = dict(zip(grams(model.tables), model.tables.logps.tolist(), strict=True))
    assert len(expected) > 25 * order
    for gram, logp in expected.items():
        assert found[gram] == pytest.approx(logp, abs=1e-6)


def test_counts_of_counts_are_those_of_one_count():
    counts = np.random.default_rng(0).geometric(0.3, (1 << 20) + 12345).astype(np.uint32)
    assert how_many(counts, 4) == [int((counts == number).sum()) for number in range(5)]


def test_a_text_becomes_an_arpa_file_without_torch(tmp_path):
    (tmp_path / "words.txt").write_text("a b c d e\nb c\n" * 5)
    script = (
        "import sys; from rootlm.cli.main import run\n"
        f"words = ['ngram', 'arpa', {str(tmp_path / 'words.txt')!r}, {'out=' + str(tmp_path / 'out.arpa')!r}]\n"
        "assert run(words) == 0 and 'torch' not in sys.modules"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert math.isfinite(kenlm.Model(str(tmp_path / "out.arpa")).score("a b c"))
