"""ARPA files: KenLM reads ours as we do, we read others' as KenLM does, and a damaged one is named."""

import gzip
import json
import math
import re

import kenlm
import numpy as np
import pytest
import torch
import zstandard

from rootlm import shipped
from rootlm.models import smoothing as kinds
from rootlm.models.arpa_reader import read_arpa
from rootlm.models.arpa_writer import write_arpa
from rootlm.models.interface import Targets
from rootlm.models.ngram import Ngram
from rootlm.models.ngram_settings import NgramConfig, PruningConfig
from rootlm.tokenizers.spaced_words import read_spaced
from rootlm.training.ngram_fitting import fit

CLOSE = 1e-4


@pytest.fixture(scope="module")
def sentences():
    """Return lines of words from the texts that ship with rootlm, some rare words as <unk>, Chinese in characters."""
    lines = []
    for text in shipped.paths():
        stream = zstandard.ZstdDecompressor().stream_reader(text.path.read_bytes())
        some = "\n".join(json.loads(line)["text"] for line in stream.read().splitlines()[:400])
        for line in re.split(r"[.\n。]", some)[:2000]:
            words = re.findall(r"[a-z']+|[一-鿿]", line.lower())
            if words:
                lines.append(" ".join("<unk>" if len(word) > 9 else word for word in words))
    return lines[::2], lines[1:800:2]


@pytest.fixture(scope="module")
def spaced(sentences):
    return read_spaced("\n".join(sentences[0]).encode())


def learned(spaced, **settings):
    model = Ngram(NgramConfig(**settings), len(spaced.words))
    fit(model, [(spaced.ids, spaced.offsets)], (0, 1), str)
    return model, [word.decode() for word in spaced.words]


def log10(model, words, sentence):
    """Return log10 p of a sentence and its end, as `rootlm` has it."""
    ids = {word: number for number, word in enumerate(words)}
    row = [ids.get(word, ids["<unk>"]) for word in sentence.split()]
    tokens = torch.tensor([[ids["<s>"], *row]])
    asked = torch.tensor([[*row, ids["</s>"]]])
    return -float(model(tokens, ask=Targets(asked)).values.double().sum()) / math.log(10)


SETTINGS = {
    "default": {},
    "trigram": {"order": 3, "smoothing": kinds.WittenBell()},
    "bigram": {"order": 2, "smoothing": kinds.GoodTuring()},
    "seven": {"order": 7, "smoothing": kinds.KneserNey()},
    "pruned": {"order": 4, "pruning": PruningConfig(counts=(0, 1))},
    "entropy": {"order": 4, "pruning": PruningConfig(entropy=1e-6)},
}


@pytest.mark.parametrize("name", [name for name in SETTINGS if name != "seven"])
def test_kenlm_reads_our_file_as_we_do(name, spaced, sentences, tmp_path):
    model, words = learned(spaced, **SETTINGS[name])
    file = tmp_path / "ours.arpa"
    write_arpa(model, words, file)
    peer = kenlm.Model(str(file))
    for sentence in sentences[1]:
        assert log10(model, words, sentence) == pytest.approx(peer.score(sentence), abs=CLOSE)


@pytest.mark.parametrize("ending", [".arpa", ".arpa.gz"])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_file_read_again_says_what_the_model_said(name, ending, spaced, sentences, tmp_path):
    model, words = learned(spaced, **SETTINGS[name])
    file = tmp_path / f"ours{ending}"
    write_arpa(model, words, file)
    again, names = read_arpa(file)
    assert names == words and again.tables.sizes.tolist() == model.tables.sizes.tolist()
    assert np.array_equal(again.tables.words, model.tables.words)
    assert np.array_equal(again.tables.starts, model.tables.starts)
    for sentence in sentences[1][:100]:
        assert log10(again, names, sentence) == pytest.approx(log10(model, words, sentence), abs=CLOSE)


FOREIGN = """\\data\\
ngram 1=5
ngram 2=4
ngram 3=2

\\1-grams:
-1.2\t<unk>
-99\t<s>\t-0.5
-0.7\t</s>
-0.6\ta\t-0.30103
-8e-1\tb\t-2.5E-1

\\2-grams:
-0.2\t<s> a\t-0.1
-0.4\ta b\t-0.2
-0.5\tb </s>
-0.9\tb a

\\3-grams:
-0.05\t<s> a b
-0.35\ta b </s>

\\end\\
"""
FOREIGN_SENTENCES = ["a b", "a", "b a b", "zzz a", "a zzz b b", "", "b b b a a"]


@pytest.mark.parametrize("change", ["none", "crlf", "spaces", "no_backoffs"])
def test_we_read_another_tools_file_as_kenlm_does(change, tmp_path):
    text = FOREIGN
    if change == "no_backoffs":
        text = re.sub(r"(?m)^(-.*\t.*)\t.*$", r"\1", text)
    plain, file = tmp_path / "plain.arpa", tmp_path / "foreign.arpa"
    plain.write_text(text)
    if change == "crlf":
        text = text.replace("\n", "\r\n")
    if change == "spaces":  # which KenLM refuses and other tools write
        text = "made by hand\n\n" + text.replace("\n\n", " \n\n\n").replace("\t", "  ")
    file.write_bytes(text.encode())
    model, words = read_arpa(file)
    peer = kenlm.Model(str(plain))
    for sentence in FOREIGN_SENTENCES:
        assert log10(model, words, sentence) == pytest.approx(peer.score(sentence), abs=CLOSE)


def test_a_file_without_unk_gives_unknown_words_what_kenlm_gives(tmp_path):
    text = FOREIGN.replace("-1.2\t<unk>\n", "").replace("ngram 1=5", "ngram 1=4")
    (tmp_path / "no_unk.arpa").write_text(text)
    model, words = read_arpa(tmp_path / "no_unk.arpa")
    assert words[-1] == "<unk>"
    peer = kenlm.Model(str(tmp_path / "no_unk.arpa"))
    for sentence in FOREIGN_SENTENCES:
        assert log10(model, words, sentence) == pytest.approx(peer.score(sentence), rel=1e-5, abs=CLOSE)


def test_suffixes_that_another_tool_pruned_are_filled_in(tmp_path):
    text = FOREIGN.replace("-0.4\ta b\t-0.2\n", "").replace("ngram 2=4", "ngram 2=3")
    (tmp_path / "pruned.arpa").write_text(text)
    model, words = read_arpa(tmp_path / "pruned.arpa")
    assert model.tables.sizes.tolist() == [5, 4, 2]
    # p(b | a) is now b's own, after what a costs; the trigrams still answer.
    assert log10(model, words, "a b") == pytest.approx(-0.2 - 0.05 - 0.35, abs=CLOSE)
    assert log10(model, words, "b a b") == pytest.approx(-0.5 - 0.8 - 0.9 - 0.30103 - 0.8 - 0.35, abs=CLOSE)


FAULTS = {
    "cut_in_a_line": (lambda t: t[: t.index("a b </s>") + 3], r":21: fewer than 3 words.*it was cut"),
    "cut_between_lines": (lambda t: t[: t.index("-0.35")], r": 1 3-grams, the header says 2; .*it was cut"),
    "no_end": (lambda t: t.replace("\\end\\\n", ""), r"\\end\\ expected; .*it was cut"),
    "cut_between_sections": (lambda t: t[: t.index("\\3-grams")], r"\\3-grams: expected; .*it was cut"),
    "too_few": (lambda t: t.replace("ngram 2=4", "ngram 2=5"), r": 4 2-grams, the header says 5"),
    "too_many": (
        lambda t: t.replace("ngram 2=4", "ngram 2=3"),
        r":17: more 2-grams than the 3 of the header",
    ),
    "absurd": (lambda t: t.replace("ngram 2=4", "ngram 2=99999999999"), r"more than the file can hold"),
    "no_number": (
        lambda t: t.replace("-0.5\tb </s>", "x\tb </s>"),
        r":16: not a number, 2 words.*write it again",
    ),
    "unknown_word": (
        lambda t: t.replace("-0.4\ta b", "-0.4\ta c"),
        r":15: a word that is not among the 1-grams",
    ),
    "twice": (lambda t: t.replace("-0.9\tb a", "-0.9\tb </s>"), r"a 2-gram is listed twice"),
    "word_twice": (lambda t: t.replace("-0.7\t</s>", "-0.7\t<s>"), r":9: .*a word given twice"),
    "no_header": (lambda t: t.replace("\\data\\", "data"), r"has no line \\data\\, so it is no ARPA file"),
    "no_counts": (lambda t: re.sub("ngram .*\n", "", t), r"no line 'ngram 1=…' follows"),
    "no_end_mark": (lambda t: t.replace("</s>", "b2"), r"holds no </s>"),
    "empty": (lambda t: "", r"no ARPA file"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_damaged_file_is_named(name, tmp_path):
    damage, said = FAULTS[name]
    file = tmp_path / "damaged.arpa"
    file.write_text(damage(FOREIGN))
    with pytest.raises(ValueError, match=said) as caught:
        read_arpa(file)
    assert str(caught.value).startswith(str(file)) and "\n" not in str(caught.value)


def test_a_cut_packed_file_is_named(tmp_path):
    packed = gzip.compress(FOREIGN.encode())
    (tmp_path / "cut.arpa.gz").write_bytes(packed[:-20])
    with pytest.raises(ValueError, match=r"cut.arpa.gz: the packed file was cut"):
        read_arpa(tmp_path / "cut.arpa.gz")
    (tmp_path / "plain.arpa.gz").write_text(FOREIGN)
    with pytest.raises(ValueError, match=r"give an ARPA file, plain or \.gz"):
        read_arpa(tmp_path / "plain.arpa.gz")
    with pytest.raises(ValueError, match=r"none.arpa: cannot be read"):
        read_arpa(tmp_path / "none.arpa")


def test_what_arpa_cannot_hold_is_refused_and_nothing_is_left(spaced, tmp_path):
    model, words = learned(spaced, order=2)
    for wrong, said in (
        ([*words[:-1], "two words"], "cannot be a word"),
        ([*words[:-1], words[0]], "two ids are called '<s>'"),
        (words[:-1], "give its own tokenizer's"),
    ):
        with pytest.raises(ValueError, match=said):
            write_arpa(model, wrong, tmp_path / "new.arpa")
    additive, _ = learned(spaced, order=2, smoothing=kinds.Additive())
    with pytest.raises(ValueError, match="additive smoothing does not back off"):
        write_arpa(additive, words, tmp_path / "new.arpa")
    assert not list(tmp_path.iterdir())


def test_marks_in_a_spaced_text_are_refused():
    for mark in ("<s>", "</s>"):
        with pytest.raises(ValueError, match=f"line 2: holds the mark {mark}"):
            read_spaced(f"a b\nc {mark} d\n".encode())
    text = read_spaced("a  b\t\r\n\n床 a <unk>".encode())
    assert text.ids.tolist() == [3, 4, 1, 1, 5, 3, 2, 1] and text.offsets.tolist() == [0, 3, 4, 8]
    assert text.words == [b"<s>", b"</s>", b"<unk>", b"a", b"b", "床".encode()]


def test_one_mark_that_begins_and_ends_has_two_names_in_the_file(spaced, sentences, tmp_path):
    # As most tokenizers have it: one id stands before and behind a document.
    model = Ngram(NgramConfig(order=3), len(spaced.words))
    fit(model, [(spaced.ids, spaced.offsets)], (1, 1), str)
    words = ["[unused]", *(word.decode() for word in spaced.words[1:])]
    write_arpa(model, words, tmp_path / "one.arpa")
    peer = kenlm.Model(str(tmp_path / "one.arpa"))
    ids = {word: number for number, word in enumerate(words)}
    for sentence in sentences[1][:100]:
        row = [ids.get(word, 2) for word in sentence.split()]
        nats = model(torch.tensor([[1, *row]]), ask=Targets(torch.tensor([[*row, 1]]))).values.double().sum()
        assert -float(nats) / math.log(10) == pytest.approx(peer.score(sentence), abs=CLOSE)
