"""Files of word vectors: what is written here others read, what others write is read here, what is torn is named."""

import gzip
import struct
from dataclasses import replace

import numpy as np
import pytest
from gensim.models import KeyedVectors
from gensim.models.fasttext import load_facebook_vectors

import rootlm
from fasttext_side import ask
from rootlm.cli.main import run as command
from rootlm.models.subwords import bucket, cut, rows_of
from rootlm.models.vector_files import open_vectors, write_vectors
from rootlm.models.word_vectors import WordVectors
from rootlm.runs import classical_exported
from vectors import WORDS, of_gensim, plain, with_subwords

UNSEEN = ["京都", "the-thing", "𠮷", "newyork"]
READ_BY_GENSIM = {
    "text": {"binary": False},
    "binary": {"binary": True},
    "glove": {"binary": False, "no_header": True},
}


def unit(vector):
    return vector / np.linalg.norm(vector)


def refused(path, *words):
    with pytest.raises(ValueError) as error:
        open_vectors(path)
    told = str(error.value)
    assert "\n" not in told and str(path) in told
    for word in words:
        assert word in told, told


# A run folder


@pytest.mark.parametrize("make", [plain, with_subwords])
def test_a_folder_gives_back_all_that_was_saved(tmp_path, make):
    vectors = make()
    vectors.save(tmp_path / "run")
    opened = WordVectors.load(tmp_path / "run")
    assert list(opened.words) == list(vectors.words) and dict(opened.settings) == dict(vectors.settings)
    for name in ("matrix", "counts", "outputs"):
        one, other = getattr(vectors, name), getattr(opened, name)
        assert (one is None) == (other is None) and (one is None or (one == other).all())
    assert not opened.matrix.flags.writeable, "is mapped, not read"
    if vectors.subwords is not None:
        for word in UNSEEN:
            assert (opened[word] == vectors[word]).all()


def test_rootlm_opens_vectors_and_says_what_they_cannot_do(tmp_path):
    vectors = plain()
    vectors.save(tmp_path / "run")
    run = rootlm.load(tmp_path / "run")
    assert (run.vectors["北京"] == vectors["北京"]).all()
    for wish in (lambda: run.generate("a"), lambda: run.tokenizer, lambda: run.score("a")):
        with pytest.raises(ValueError, match="holds word vectors"):
            wish()
    assert command(["generate", str(tmp_path / "run"), "a"]) == 2


def test_torn_folders_are_refused(tmp_path):
    folder = tmp_path / "run"
    vectors = plain()
    vectors.save(folder)
    held = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(held[:-9])
    with pytest.raises(ValueError, match=r"model.safetensors: .*vectors is cut short"):
        WordVectors.load(folder)
    (folder / "model.safetensors").write_bytes(held)
    plain(["other"]).save(tmp_path / "other")
    (folder / "words.json").write_bytes((tmp_path / "other" / "words.json").read_bytes())
    with pytest.raises(ValueError, match=r"words.json: is not the one"):
        WordVectors.load(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="cannot be read"):
        WordVectors.load(folder)


def test_vectors_whose_parts_do_not_fit_are_refused():
    matrix = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match="'a' occurs twice"):
        WordVectors(["a", "a"], matrix)
    with pytest.raises(ValueError, match="3 words, but matrix has 2 rows"):
        WordVectors(["a", "b", "c"], matrix)
    with pytest.raises(ValueError, match="must be the same"):
        WordVectors(["a", "b"], matrix, outputs=np.ones((2, 4), np.float32))
    with pytest.raises(ValueError, match="did you mean"):
        WordVectors(["house", "horse"], matrix)["hose"]


# Subwords


@pytest.mark.parametrize("sizes", [(1, 2), (3, 6), (2, 2), (0, 0)])
def test_the_kernel_cuts_as_the_readable_one(sizes):
    words = [*WORDS, "</s>", "", "<", "é" * 40]
    spans = rows_of(words, *sizes, 1000)
    for number, word in enumerate(words):
        rows = spans.rows[spans.starts[number] : spans.starts[number + 1]]
        assert rows.tolist() == [bucket(gram, 1000) for gram in cut(word, *sizes)]


# fastText's own program


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """What fastText says of a model that it has trained, and its file."""
    folder = tmp_path_factory.mktemp("fasttext")
    (folder / "text").write_text("the quick 北京 naïve fox 𠮷野家\n" * 200, encoding="utf-8")
    settings = {"minn": 2, "maxn": 4, "dim": 12, "bucket": 500, "minCount": 1, "epoch": 1}
    words = ["the", "quick", "北京", "naïve", "fox", "𠮷野家", "</s>", *UNSEEN]
    told = ask(text=folder / "text", settings=settings, out=folder / "model.bin", ask=words)
    return told, folder / "model.bin"


def test_fasttext_s_model_is_read_and_written_to_the_byte(learned, tmp_path):
    told, file = learned
    vectors, notes = open_vectors(file)
    assert notes == [] and list(vectors.words) == told["words"]
    for word, vector in told["vectors"].items():
        # This build of fastText gives every vector the length 1.
        assert unit(vectors[word]) == pytest.approx(unit(vector), abs=1e-6)
    write_vectors(vectors, tmp_path / "again.bin")
    assert (tmp_path / "again.bin").read_bytes() == file.read_bytes()


def test_fasttext_and_gensim_read_what_is_written(tmp_path):
    vectors, file = with_subwords(), tmp_path / "ours.bin"
    write_vectors(vectors, file, "fasttext")
    told = ask(model=file, ask=[*WORDS, *UNSEEN], outputs=True)
    theirs = load_facebook_vectors(str(file))
    assert told["words"] == WORDS and theirs.index_to_key == WORDS
    for word, vector in told["vectors"].items():
        assert unit(vectors[word]) == pytest.approx(unit(vector), abs=1e-6)
        assert vectors[word] == pytest.approx(theirs[word], abs=1e-6)
    assert np.array(told["outputs"]) == pytest.approx(vectors.outputs)
    assert [theirs.get_vecattr(word, "count") for word in WORDS] == vectors.counts.tolist()


def test_vectors_without_subwords_are_a_fasttext_model_too(tmp_path):
    vectors = plain()
    (note,) = write_vectors(vectors, tmp_path / "ours.bin", "fasttext")
    assert "output matrix" in note
    told = ask(model=tmp_path / "ours.bin", ask=WORDS)["vectors"]
    for word in WORDS:
        assert unit(vectors[word]) == pytest.approx(unit(told[word]), abs=1e-6)
    assert (open_vectors(tmp_path / "ours.bin").vectors.matrix == vectors.matrix).all()


def test_a_classifier_keeps_its_labels(tmp_path):
    (tmp_path / "text").write_text("__label__好 very good\n__label__坏 so bad\n" * 50, encoding="utf-8")
    asked = {"supervised": True, "texts": ["very bad", "good", "nothing of it"]}
    settings = {"dim": 8, "epoch": 3, "wordNgrams": 2, "bucket": 400}
    model = ask(text=tmp_path / "text", settings=settings, out=tmp_path / "model.bin", **asked)
    vectors, _ = open_vectors(tmp_path / "model.bin")
    assert sorted(vectors.labels) == sorted(model["labels"]) and vectors.label_counts.tolist() == [50, 50]
    write_vectors(vectors, tmp_path / "again.bin")
    (_, note) = write_vectors(vectors, tmp_path / "again.vec")
    assert "what classifies is lost" in note
    assert ask(model=tmp_path / "again.bin", **asked) == model
    write_vectors(replace(vectors, subwords=None), tmp_path / "plain.bin")
    assert open_vectors(tmp_path / "plain.bin").vectors.labels == vectors.labels
    ask(model=tmp_path / "model.bin", quantise=True, out=tmp_path / "model.ftz")
    refused(tmp_path / "model.ftz", "quantised")


@pytest.mark.parametrize("name", ["crime-and-punishment.bin", "toy-model.bin", "lee_fasttext_new.bin"])
def test_gensim_s_fasttext_models_are_read_as_gensim_reads_them(name):
    vectors, _ = open_vectors(of_gensim(name))
    theirs = load_facebook_vectors(str(of_gensim(name)))
    for word in [*vectors.words, *UNSEEN]:
        if word != "</s>":  # which fastText never cuts, but gensim does
            assert vectors[word] == pytest.approx(theirs[word], abs=1e-6)


@pytest.mark.parametrize("share", [0.0005, 0.004, 0.2, 0.6, 0.999])
def test_a_cut_fasttext_model_is_refused(learned, tmp_path, share):
    held = learned[1].read_bytes()
    (tmp_path / "cut.bin").write_bytes(held[: max(6, int(len(held) * share))])
    refused(tmp_path / "cut.bin", "the file ends after", "copy it again")


def test_sizes_are_checked_before_room_is_made(tmp_path):
    file = tmp_path / "huge.bin"
    vectors = with_subwords()
    write_vectors(vectors, file, "fasttext")
    held = bytearray(file.read_bytes())
    where = held.find(struct.pack("<qq", len(WORDS) + 50, 7))
    held[where : where + 8] = struct.pack("<q", 1 << 39)
    file.write_bytes(held)
    refused(file, "in the matrix of words and n-grams")
    (tmp_path / "huge.vec").write_text(f"{10**12} 3\na 1 2 3\n")
    vectors, notes = open_vectors(tmp_path / "huge.vec")
    assert len(vectors) == 1 and "1,000,000,000,000 words" in notes[0]
    (tmp_path / "huge.w2v").write_bytes(b"1000000000000 3\na " + np.ones(3, "<f4").tobytes())
    assert len(open_vectors(tmp_path / "huge.w2v").vectors) == 1
    (tmp_path / "wide.w2v").write_bytes(b"2 3000000000\na \0\0" + np.ones(3, "<f4").tobytes())
    refused(tmp_path / "wide.w2v", "word 1 of 2")


# word2vec and GloVe


@pytest.mark.parametrize("packing", ["", ".gz"])
@pytest.mark.parametrize("kind", READ_BY_GENSIM)
def test_gensim_reads_what_is_written_and_so_do_we(tmp_path, kind, packing):
    file, vectors = tmp_path / f"ours.{kind}{packing}", plain()
    assert write_vectors(vectors, file, kind) == []
    theirs = KeyedVectors.load_word2vec_format(str(file), **READ_BY_GENSIM[kind])
    ours, notes = open_vectors(file)
    assert notes == [] and theirs.index_to_key == list(ours.words) == WORDS
    assert (theirs.vectors == vectors.matrix).all() and (ours.matrix == vectors.matrix).all()


@pytest.mark.parametrize("binary", [False, True])
def test_what_gensim_writes_is_read(tmp_path, binary):
    theirs = KeyedVectors(7)
    theirs.add_vectors(WORDS, plain().matrix)
    theirs.save_word2vec_format(str(tmp_path / "theirs"), binary=binary)
    ours, notes = open_vectors(tmp_path / "theirs")
    assert notes == [] and list(ours.words) == theirs.index_to_key and (ours.matrix == theirs.vectors).all()


@pytest.mark.parametrize(
    "name",
    ["lee_fasttext.vec", "test_glove.txt", "euclidean_vectors.bin", "high_precision.kv.bin", "toy-model.vec"],
)
def test_gensim_s_files_are_read_as_gensim_reads_them(name):
    ours, notes = open_vectors(of_gensim(name))
    kind = {"binary": name.endswith(".bin"), "no_header": "glove" in name}
    theirs = KeyedVectors.load_word2vec_format(str(of_gensim(name)), **kind)
    assert notes == [] and list(ours.words) == theirs.index_to_key and (ours.matrix == theirs.vectors).all()


def test_numbers_are_read_as_python_reads_them(tmp_path):
    said = ["1", "-0.5", "+2.25", ".5", "5.", "1e-3", "-1.5E+2", "123456789012345678901234567890", "1e-45", "0.1",
            "3.4028234e38", "-0", "0.000000000000000000000000000000000001", "16777217", "1e-60"]  # fmt: skip
    generator = np.random.default_rng(1)
    said += [repr(float(x)) for x in generator.normal(size=3000) * 10.0 ** generator.integers(-30, 30, 3000)]
    (tmp_path / "a.vec").write_text(f"1 {len(said)}\nword {' '.join(said)}\n")
    found = open_vectors(tmp_path / "a.vec").vectors["word"]
    assert (found == np.array([float(one) for one in said]).astype(np.float32)).all()


@pytest.mark.parametrize("header", [b"", b"4 2\n"])
def test_what_is_odd_is_said_and_read(tmp_path, header):
    lines = b"new york 1 2\n\xff\xe5word 3 4 \r\nrome\t5\t6\n\nrome 7 8\n 9 9\n"
    (tmp_path / "odd.vec").write_bytes(header + lines)
    vectors, notes = open_vectors(tmp_path / "odd.vec")
    assert list(vectors.words) == ["new york", "��word", "rome"]
    assert vectors.matrix.tolist() == [[1, 2], [3, 4], [5, 6]]
    told = " ".join(notes)
    assert "1 words are no valid UTF-8" in told and "1 words occur again, such as 'rome'" in told
    assert "a word is empty" in told and ("says 4 words, the file holds 5" in told) == bool(header)


def test_a_wrong_width_in_the_first_line_is_said(tmp_path):
    (tmp_path / "odd.vec").write_text("3 5\na 1 2\nb 3 4\nc 5 6\n")
    vectors, notes = open_vectors(tmp_path / "odd.vec")
    assert vectors.size == 2 and notes == ["the first line says 5 numbers a word, the lines have 2"]


def test_spaces_inside_words_do_not_break_what_others_read(tmp_path):
    vectors = plain(["new york", "new_york", "a\tb"])
    (note,) = write_vectors(vectors, tmp_path / "a.vec")
    assert note.startswith("2 words hold white space")
    theirs = KeyedVectors.load_word2vec_format(str(tmp_path / "a.vec"))
    assert theirs.index_to_key == ["new_york_", "new_york", "a_b"]


@pytest.mark.parametrize("kind", READ_BY_GENSIM)
def test_a_file_cut_in_the_middle_is_refused(tmp_path, kind):
    write_vectors(plain(), tmp_path / "whole", kind)
    held = (tmp_path / "whole").read_bytes()
    for end in (len(held) - 20, len(held) - 45):
        (tmp_path / "cut").write_bytes(held[:end])
        refused(tmp_path / "cut", "copy")
    packed = gzip.compress(held)
    (tmp_path / "cut.gz").write_bytes(packed[:-12])
    refused(tmp_path / "cut.gz", "copy it again")


def test_a_last_number_that_is_cut_is_seen_by_the_first_line(tmp_path):
    (tmp_path / "cut.vec").write_text("3 2\na 1 2\nb 3.25 4.1")
    refused(tmp_path / "cut.vec", "cut.vec:3:", "word 2 of 3")
    (tmp_path / "whole.vec").write_text("2 2\na 1 2\nb 3.25 4.1")
    assert len(open_vectors(tmp_path / "whole.vec").vectors) == 2


def test_the_line_that_is_wrong_is_named(tmp_path):
    (tmp_path / "bad.vec").write_text("4 2\na 1 2\nb 3 4\nc 5 x\nd 7 8\n")
    refused(tmp_path / "bad.vec", "bad.vec:4:", "'x'")
    (tmp_path / "bad.vec").write_text("4 2\na 1 2\nb 3 4\nc 5\nd 7 8\n")
    refused(tmp_path / "bad.vec", "bad.vec:4:", "1 numbers of 2")
    (tmp_path / "bad.vec").write_text("3 2\na 1 2\nb 3 4\nc nan 1\n")
    refused(tmp_path / "bad.vec", "bad.vec:4:", "'nan'")
    (tmp_path / "bad.vec").write_text("3 2\na 1 2\nb 3 4\nc 5 1e40\n")
    refused(tmp_path / "bad.vec", "word 3, 'c'", "not finite")


@pytest.mark.parametrize("held", [b"", b"3 2\n", b"once upon a time\nthere was\n", b"\x7fELF\0\1\2" * 50])
def test_what_holds_no_vectors_is_refused(tmp_path, held):
    (tmp_path / "none").write_bytes(held)
    refused(tmp_path / "none")


def test_blocks_join_without_a_seam(tmp_path, monkeypatch):
    from rootlm.models import gathered_vectors

    words = [f"w{number}" for number in range(500)]
    vectors = plain(words)
    monkeypatch.setattr(gathered_vectors, "BLOCK", 777)
    for kind in READ_BY_GENSIM:
        write_vectors(vectors, tmp_path / kind, kind)
        opened = open_vectors(tmp_path / kind).vectors
        assert list(opened.words) == words and (opened.matrix == vectors.matrix).all()


# The command line


def test_files_are_converted_from_the_command_line(tmp_path, capsys):
    write_vectors(with_subwords(), tmp_path / "a.bin")
    ask = ["vectors", "export", str(tmp_path / "a.bin")]
    assert command([*ask, f"out={tmp_path / 'a.vec.gz'}"]) == 0
    assert "unseen words are lost" in capsys.readouterr().err
    assert command(["vectors", "import", str(tmp_path / "a.bin"), f"out={tmp_path / 'run'}"]) == 0
    assert "8 words, 7 numbers each, subwords of 1 to 3 characters" in capsys.readouterr().out
    for source in ("a.bin", "a.vec.gz", "run"):
        assert command(["vectors", "neighbours", str(tmp_path / source), "北京", "k=2"]) == 0
    assert len(set(capsys.readouterr().out.splitlines())) == 1
    assert command([*ask, f"out={tmp_path / 'a.what'}"]) == 2
    assert "which format?" in capsys.readouterr().err
    assert command(["vectors", "neighbours", str(tmp_path / "none"), "a"]) == 2


@pytest.mark.parametrize(
    ("name", "kind"), {"a.vec.gz": "text", "b.bin": "binary", "a.glove": "glove", "a.bin": "fasttext"}.items()
)
def test_an_export_is_opened_again_by_gensim(name, kind, tmp_path, capsys, monkeypatch):
    write_vectors(with_subwords(), tmp_path / "source.bin")
    ask = ["vectors", "export", str(tmp_path / "source.bin"), f"out={tmp_path / name}", f"format={kind}"]
    assert command(ask) == 0
    assert "the words are the same" in (said := capsys.readouterr().out)
    assert "rootlm beside gensim" in said
    assert command(ask) == 2
    assert f"{tmp_path / name}: exists already" in capsys.readouterr().err
    (tmp_path / name).unlink()

    def spoilt(vectors, *more):
        return write_vectors(replace(vectors, words=vectors.words[::-1]), *more)

    monkeypatch.setattr(classical_exported, "write_vectors", spoilt)
    assert command(ask) == 2
    assert "the export does not say what the run says" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["source.bin"]
