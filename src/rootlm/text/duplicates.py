"""Which documents say the same: exact copies and clusters of near-duplicates, found from signatures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rootlm.core.config import Config
from rootlm.text.signature import DIGEST_BYTES

Indices = NDArray[np.int64]
_BLOCK = 1 << 16
_MULTIPLIER = np.uint64(0xD6E8FEB86659FD93)


class Duplicates(Config):
    """Drop what was read before. Duplicates are always found: what stays of a cluster stays in one split."""

    drop_exact: bool = True
    """Drop copies that differ in spaces and line ends at most; the first is kept."""
    drop_near: bool = True
    """Drop near-duplicates; the first of a cluster is kept."""
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.7
    """The share of common shingles (Jaccard similarity) from which two documents are near-duplicates."""
    bands: Annotated[int, Field(gt=0)] = 24
    """Documents are compared when they agree in one band of their signatures."""
    rows: Annotated[int, Field(gt=0)] = 5
    """Hashes per band; a signature has bands × rows hashes."""

    @property
    def hashes(self) -> int:
        """The length of a signature."""
        return self.bands * self.rows


class Groups(NamedTuple):
    """For each document, in the order they were added: the first one that is the same."""

    copy_of: Indices
    """The first exact copy, or the document itself."""
    cluster: Indices
    """The first member of its cluster of near-duplicates; exact copies are always in one cluster."""


class DuplicateFinder:
    """Takes digests and signatures as documents pass, and groups them at the end.

    Signatures lie in a file and are looked at one band at a time: memory is about 60 bytes a document.
    """

    def __init__(self, file: Path, settings: Duplicates) -> None:
        self._settings = settings
        self._file = file
        self._stream = file.open("wb")
        self._digests: list[NDArray[np.uint64]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._file.unlink(missing_ok=True)

    def add(self, digests: bytes, signatures: NDArray[np.uint32]) -> None:
        """Take the next documents: their digests, joined, and their signatures (documents, hashes)."""
        self._digests.append(np.frombuffer(digests, dtype=np.uint64).reshape(-1, DIGEST_BYTES // 8))
        self._stream.write(np.ascontiguousarray(signatures, dtype=np.uint32).tobytes())

    def find(self) -> Groups:
        """Group all documents that were added."""
        self._stream.flush()
        digests = np.concatenate(self._digests) if self._digests else np.empty((0, 2), dtype=np.uint64)
        copy_of = _first_copies(digests)
        originals = np.flatnonzero(copy_of == np.arange(len(copy_of)))
        if len(originals) == 0:
            return Groups(copy_of, copy_of)
        shape = (len(digests), self._settings.hashes)
        signatures = np.memmap(self._file, dtype=np.uint32, mode="r", shape=shape)
        forest = _Forest(len(digests))
        for band in range(self._settings.bands):
            columns = slice(band * self._settings.rows, (band + 1) * self._settings.rows)
            _join_band(forest, originals, signatures, columns, self._settings.threshold)
        return Groups(copy_of, forest.roots()[copy_of])


class _Forest:
    """Union-find over document numbers; the root of a cluster is its first member."""

    def __init__(self, size: int) -> None:
        self.parents: Indices = np.arange(size, dtype=np.int64)

    def root(self, index: int) -> int:
        parents = self.parents
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = int(parents[index])
        return index

    def join(self, one: int, other: int) -> None:
        low, high = sorted((self.root(one), self.root(other)))
        self.parents[high] = low

    def roots(self) -> Indices:
        """Return the root of every document."""
        while not np.array_equal(flatter := self.parents[self.parents], self.parents):
            self.parents = flatter
        return self.parents


def _first_copies(digests: NDArray[np.uint64]) -> Indices:
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    ordered = digests[order]
    begins = np.ones(len(order), dtype=bool)
    begins[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    first = np.empty(len(order), dtype=np.int64)
    first[order] = order[np.flatnonzero(begins)][np.cumsum(begins) - 1]
    return first


def _join_band(
    forest: _Forest, originals: Indices, signatures: NDArray[np.uint32], columns: slice, threshold: float
) -> None:
    """Join the documents that agree in one band and are similar enough over the whole signature."""
    keys = _band_keys(originals, signatures, columns)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    begins = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    ends = np.append(begins[1:], len(order))
    members = originals[order]
    shared = np.flatnonzero(ends - begins > 1)
    pending = [members[begins[bucket] : ends[bucket]] for bucket in shared]
    while pending:
        leaders = np.concatenate([np.full(len(bucket) - 1, bucket[0]) for bucket in pending])
        others = np.concatenate([bucket[1:] for bucket in pending])
        roots = forest.roots()
        near = roots[leaders] == roots[others]
        near[~near] = _similar(signatures, leaders[~near], others[~near], threshold)
        for leader, other in zip(leaders[near].tolist(), others[near].tolist(), strict=True):
            forest.join(leader, other)
        bounds = np.cumsum([len(bucket) - 1 for bucket in pending])[:-1]
        left = [
            other[~is_near]
            for other, is_near in zip(np.split(others, bounds), np.split(near, bounds), strict=True)
        ]
        pending = [bucket for bucket in left if len(bucket) > 1]


def _band_keys(originals: Indices, signatures: NDArray[np.uint32], columns: slice) -> NDArray[np.uint64]:
    keys = np.empty(len(originals), dtype=np.uint64)
    for start in range(0, len(originals), _BLOCK):
        rows = signatures[originals[start : start + _BLOCK], columns].astype(np.uint64)
        key = np.zeros(len(rows), dtype=np.uint64)
        for column in rows.T:
            key = (key ^ column) * _MULTIPLIER
            key ^= key >> np.uint64(32)
        keys[start : start + _BLOCK] = key
    return keys


def _similar(
    signatures: NDArray[np.uint32], ones: Indices, others: Indices, threshold: float
) -> NDArray[np.bool_]:
    similar = np.empty(len(ones), dtype=bool)
    for start in range(0, len(ones), _BLOCK):
        block = slice(start, start + _BLOCK)
        similar[block] = (signatures[ones[block]] == signatures[others[block]]).mean(axis=1) >= threshold
    return similar
