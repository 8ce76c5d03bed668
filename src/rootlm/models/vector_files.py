"""Files of word vectors by what they are: each known kind is recognised by its first bytes, written by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from rootlm.models.fasttext_files import MAGIC, read_fasttext, write_fasttext
from rootlm.models.gathered_vectors import Found, opened
from rootlm.models.text_vectors import HEAD, header_of, read_text, width, write_text
from rootlm.models.word2vec_binary import read_binary, write_binary
from rootlm.models.word_vectors import CONFIG, WordVectors

Format = Literal["text", "binary", "glove", "fasttext"]
"""word2vec's text, which is fastText's `.vec`; word2vec's binary; GloVe's text; fastText's `.bin`."""


def open_vectors(path: Path) -> Found:
    """Open a run folder, or a file that rootlm, word2vec, GloVe, fastText or gensim's KeyedVectors wrote.

    Raises ValueError naming the file and the place where it is missing, torn or of no known kind.
    """
    if path.is_dir() or not path.exists():
        if not (path / CONFIG).is_file():
            raise ValueError(
                f"{path}: no such run and no such file; name what rootlm vectors train made, or a file"
            )
        return Found(WordVectors.load(path), [])
    with opened(path) as source:
        head = source.read(HEAD)
        cut = source.length is None or source.length > HEAD
    if head.startswith(MAGIC):
        return read_fasttext(path)
    header = header_of(head)
    size = None if b"\0" in head else width(head if cut else head + b"\n", header)
    if size is not None:
        return read_text(path, size, header)
    if header is None or not header.size:
        raise ValueError(
            f"{path}: is no file of vectors that is known; give word2vec's text or binary, GloVe's text or fastText's"
        )
    return read_binary(path, header)


def write_vectors(vectors: WordVectors, path: Path, kind: Format | None = None) -> list[str]:
    """Write vectors to a file, whole or not at all; returns what was odd.

    Without a kind the name says it: `.bin` is fastText's where there are subwords or labels and word2vec's where
    not; `.vec` and `.txt` are text. Raises ValueError for another name, and when the disk is full.
    """
    chosen = kind or format_of(vectors, path)
    if chosen == "fasttext":
        return write_fasttext(vectors, path)
    notes: list[str] = []
    if vectors.subwords is not None:
        notes.append(f"{chosen} holds no subwords: unseen words are lost; format=fasttext keeps them")
    if vectors.labels:
        notes.append(f"{chosen} holds no labels: what classifies is lost; format=fasttext keeps it")
    if chosen == "binary":
        return notes + write_binary(vectors, path)
    return notes + write_text(vectors, path, header=chosen == "text")


def format_of(vectors: WordVectors, path: Path) -> Format:
    """Return the kind of file that a name asks for; raises ValueError for a name that says none."""
    name = path.name.removesuffix(".gz")
    if name.endswith(".bin"):
        return "fasttext" if vectors.subwords is not None or vectors.labels else "binary"
    if name.endswith((".vec", ".txt")):
        return "text"
    raise ValueError(f"{path}: which format? set format= to one of {', '.join(get_args(Format))}")
