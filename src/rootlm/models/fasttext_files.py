"""fastText's own `.bin`: settings, dictionary with counts and labels, the matrix of words and n-grams, the other one.

As fastText 0.9 writes it: little-endian throughout, first a magic number and version 12.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rootlm.models.gathered_vectors import Bytes, Found, cleaned, opened, require_memory, written
from rootlm.models.subwords import Subwords, averaged, rows_of
from rootlm.models.word_vectors import Floats, WordVectors

MAGIC = struct.pack("<i", 793712314)
_VERSION = 12
_INTEGERS = (
    "size", "window", "epochs", "min_count", "negatives", "word_ngrams", "loss", "architecture", "buckets", "minimum",
    "maximum", "rate_updates",
)  # fmt: skip
_LOSSES = {"hierarchical_softmax": 1, "negative_sampling": 2, "softmax": 3, "one_versus_all": 4}
_ARCHITECTURES = {"cbow": 1, "skip_gram": 2, "classifier": 3}
_DEFAULTS = {"window": 5, "epochs": 5, "min_count": 1, "negatives": 5, "word_ngrams": 1, "rate_updates": 100}
_LABEL = b"\1"
_LONGEST_WORD = 1 << 20


class _Names(NamedTuple):
    """The entries of a dictionary, words first."""

    words: list[bytes]
    word_counts: list[int]
    labels: list[bytes]
    label_counts: list[int]


def read_fasttext(path: Path) -> Found:
    """Read a model with its subwords and, of a classifier, its labels.

    Raises ValueError naming the place where the file is cut, and for a quantised model.
    """
    with opened(path) as source:
        asked, version = _head(source)
        names, asked["tokens"], pruned = _dictionary(source)
        if _exactly(source, 1, "the mark of quantisation") != b"\0" or pruned > 0:
            raise ValueError(
                f"{path}: is quantised (.ftz), its vectors are only approximate; give the .bin it came from"
            )
        inputs = _matrix(source, "the matrix of words and n-grams")
        _exactly(source, 1, "the mark of quantisation")
        outputs = _matrix(source, "the output matrix")
    if version == 11 and asked["architecture"] == _ARCHITECTURES["classifier"]:
        # Classifiers of that version cut no words, whatever they say.
        asked["maximum"] = 0
    if inputs.shape != (len(names.words) + asked["buckets"], asked["size"]):
        raise ValueError(
            f"{path}: has {len(names.words):,} words and {asked['buckets']:,} buckets of {asked['size']:,} numbers, "
            f"but a matrix of {inputs.shape[0]:,} × {inputs.shape[1]:,}; the file is torn, copy it again"
        )
    return _vectors(names, asked, inputs, outputs)


def _vectors(names: _Names, asked: dict[str, Any], inputs: Floats, outputs: Floats) -> Found:
    own, grams = inputs[: len(names.words)], inputs[len(names.words) :]
    # N-grams are those of the bytes as they are, before what is no UTF-8 is replaced.
    spans = rows_of(names.words, asked["minimum"], asked["maximum"], max(asked["buckets"], 1))
    matrix = averaged(own, grams, spans)
    words, kept, notes = cleaned(names.words)
    counts = np.array(names.word_counts, np.int64)
    if kept is not None:
        own, matrix, counts = own[kept], matrix[kept], counts[kept]
        if not names.labels:
            outputs = outputs[kept]
    parts = None
    if asked["buckets"]:
        parts = Subwords(asked["minimum"], asked["maximum"], asked["buckets"], grams, own)
    labels, _, _ = cleaned(names.labels)
    label_counts = np.array(names.label_counts, np.int64) if labels else None
    return Found(
        WordVectors(words, matrix, counts, parts, outputs, labels, label_counts, _settings(asked)), notes
    )


def _settings(asked: dict[str, Any]) -> dict[str, Any]:
    named = (
        {code: name for name, code in _LOSSES.items()},
        {code: name for name, code in _ARCHITECTURES.items()},
    )
    kept = {name: asked[name] for name in (*_DEFAULTS, "sample", "tokens")}
    return {
        "kind": "fasttext",
        "loss": named[0][asked["loss"]],
        "architecture": named[1][asked["architecture"]],
        **kept,
    }


def _head(source: Bytes) -> tuple[dict[str, Any], int]:
    if _exactly(source, 4, "the first number") != MAGIC:
        raise ValueError(
            f"{source.path}: does not begin as a fastText model; name a .bin that fastText wrote"
        )
    (version,) = struct.unpack("<i", _exactly(source, 4, "the version"))
    if version not in (11, _VERSION):
        raise ValueError(
            f"{source.path}: is of fastText's format {version}, 11 and 12 are known; convert it by fastText"
        )
    *numbers, sample = struct.unpack("<12id", _exactly(source, 56, "the settings"))
    asked = dict(zip(_INTEGERS, numbers, strict=True))
    known = asked["loss"] in _LOSSES.values() and asked["architecture"] in _ARCHITECTURES.values()
    if not known or asked["size"] < 1 or asked["buckets"] < 0:
        raise ValueError(
            f"{source.path}: has settings that fastText does not write; the file is torn, copy it again"
        )
    return {**asked, "sample": sample}, version


def _dictionary(source: Bytes) -> tuple[_Names, int, int]:
    """Return the entries, how many tokens were read, and how many n-grams a quantised model kept."""
    entries, words, labels, tokens, pruned = struct.unpack(
        "<iiiqq", _exactly(source, 28, "the sizes of the dictionary")
    )
    if entries != words + labels or min(words, labels, tokens) < 0:
        raise ValueError(
            f"{source.path}: says {entries:,} entries, {words:,} words and {labels:,} labels, which does not fit; "
            "the file is torn, copy it again"
        )
    found = _Names([], [], [], [])
    held, place = b"", 0
    for number in range(entries):
        while (end := held.find(b"\0", place)) < 0 or len(held) < end + 10:
            more = source.read(1 << 16) if len(held) - place < _LONGEST_WORD else b""
            if not more:
                raise _cut(source, f"entry {number + 1:,} of {entries:,} of the dictionary")
            held, place = held[place:] + more, 0
        count, kind = struct.unpack_from("<qb", held, end + 1)
        (found.labels if kind else found.words).append(held[place:end])
        (found.label_counts if kind else found.word_counts).append(count)
        place = end + 10
    _push_back(source, held[place:])
    if len(found.words) != words:
        raise ValueError(
            f"{source.path}: has {len(found.words):,} words, not {words:,}; the file is torn, copy it again"
        )
    if pruned > 0:
        _exactly(source, 8 * pruned, "the pruned n-grams")
    return found, tokens, pruned


def _push_back(source: Bytes, left: bytes) -> None:
    source.stream.seek(-len(left), 1)
    source.place -= len(left)


def _matrix(source: Bytes, what: str) -> Floats:
    rows, size = struct.unpack("<qq", _exactly(source, 16, f"the sizes of {what}"))
    if rows < 0 or size < 1 or rows > 1 << 40:
        raise ValueError(
            f"{source.path}: {what} has {rows:,} rows of {size:,}; the file is torn, copy it again"
        )
    bytes_needed = rows * size * 4
    if source.length is not None and source.place + bytes_needed > source.length:
        raise _cut(source, f"{what}, {rows:,} × {size:,}", source.length)
    require_memory(source.path, rows, size)
    out = np.empty((rows, size), "<f4")
    held = out.reshape(-1).view(np.uint8)
    place = 0
    while place < bytes_needed:
        block = source.read(min(1 << 23, bytes_needed - place))
        if not block:
            raise _cut(source, f"{what}, {rows:,} × {size:,}")
        held[place : place + len(block)] = np.frombuffer(block, np.uint8)
        place += len(block)
    if not np.isfinite(out).all():
        raise ValueError(
            f"{source.path}: {what} has numbers that are not finite; train again or copy it again"
        )
    return out


def _exactly(source: Bytes, count: int, what: str) -> bytes:
    found = source.read(count)
    if len(found) < count:
        raise _cut(source, what)
    return found


def _cut(source: Bytes, what: str, end: int | None = None) -> ValueError:
    place = source.place if end is None else end
    return ValueError(f"{source.path}: the file ends after {place:,} bytes, in {what}; copy it again")


def write_fasttext(vectors: WordVectors, path: Path) -> list[str]:
    """Write a model that fastText's own program reads; without subwords it knows no unseen words.

    Settings that are not known get fastText's defaults. Returns what was odd.
    """
    notes: list[str] = []
    if vectors.outputs is None:
        notes.append(
            "the output matrix of training is not known; it was written as 0, so training cannot go on from it"
        )
    parts = vectors.subwords
    buckets, rows = (parts.buckets, parts.own) if parts else (0, vectors.matrix)
    with written(path) as stream:
        stream.write(MAGIC + struct.pack("<i", _VERSION) + _packed_settings(vectors))
        tokens = vectors.settings.get("tokens")
        counts = _counts(vectors.counts, len(vectors))
        label_counts = _counts(vectors.label_counts, len(vectors.labels))
        total = int(counts.sum() + label_counts.sum()) if tokens is None else int(tokens)
        sizes = len(vectors) + len(vectors.labels), len(vectors), len(vectors.labels), total, -1
        stream.write(struct.pack("<iiiqq", *sizes))
        stream.write(_entries(vectors.words, counts, b"\0", path))
        stream.write(_entries(vectors.labels, label_counts, _LABEL, path))
        stream.write(b"\0" + struct.pack("<qq", len(vectors) + buckets, vectors.size))
        stream.write(np.ascontiguousarray(rows, "<f4").data)
        if parts is not None and len(parts.matrix):
            stream.write(np.ascontiguousarray(parts.matrix, "<f4").data)
        outputs = _outputs(vectors)
        stream.write(b"\0" + struct.pack("<qq", *outputs.shape))
        stream.write(outputs.data)
    return notes


def _packed_settings(vectors: WordVectors) -> bytes:
    known, parts = {**_DEFAULTS, **vectors.settings}, vectors.subwords
    model = "classifier" if vectors.labels else known.get("architecture", "skip_gram")
    loss = known.get("loss", "softmax" if vectors.labels else "negative_sampling")
    numbers = {
        **{name: known[name] for name in _DEFAULTS},
        "size": vectors.size,
        "loss": _LOSSES.get(loss, _LOSSES["negative_sampling"]),
        "architecture": _ARCHITECTURES.get(model, _ARCHITECTURES["skip_gram"]),
        "buckets": parts.buckets if parts else 0,
        "minimum": parts.minimum if parts else 0,
        "maximum": parts.maximum if parts else 0,
    }
    return struct.pack("<12id", *(int(numbers[name]) for name in _INTEGERS), float(known.get("sample", 1e-4)))


def _counts(counts: NDArray[np.int64] | None, entries: int) -> NDArray[np.int64]:
    # fastText draws negatives by these, so none may be 0.
    return np.ones(entries, np.int64) if counts is None else np.maximum(counts, 1)


def _entries(words: Sequence[str], counts: NDArray[np.int64], kind: bytes, path: Path) -> bytes:
    torn = next((word for word in words if not word or "\0" in word), None)
    if torn is not None:
        raise ValueError(f"{path}: the word {torn[:40]!r} cannot stand in a fastText file; leave it out")
    pairs = zip(words, counts.tolist(), strict=True)
    return b"".join(word.encode() + b"\0" + struct.pack("<q", count) + kind for word, count in pairs)


def _outputs(vectors: WordVectors) -> Floats:
    rows = len(vectors.labels) or len(vectors)
    out = np.zeros((rows, vectors.size), "<f4")
    if vectors.outputs is not None:
        known = vectors.outputs[:rows]
        out[: len(known)] = known
    return out
