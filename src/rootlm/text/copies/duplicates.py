"""Which documents say the same: exact copies and clusters of near-duplicates, found from what leaves hold.

Bands of signatures lie on disk, sorted a part at a time, so memory does not grow with what is compared; each
document costs some numbers of eight bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rootlm.core.config import Config
from rootlm.text.pipeline.leaf import Leaf
from rootlm.text.pipeline.pool import Engine

Indices = NDArray[np.int64]
_BLOCK = 1 << 16
_SORTED_BYTES = 64
_COPIES = "copies.bin"


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


class Forest:
    """Union-find over document numbers; the root of a cluster is its first member."""

    def __init__(self, size: int) -> None:
        self.parents: Indices = np.arange(size, dtype=np.int64)

    def root(self, index: int) -> int:
        parents = self.parents
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = int(parents[index])
        return index

    def join(self, pairs: Indices) -> None:
        """Put the two of each pair (pairs, 2) into one cluster."""
        roots = self.roots()
        for one, other in np.unique(roots[pairs], axis=0).tolist():
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


def find(leaves: Sequence[Leaf], settings: Duplicates, engine: Engine, work: Path, memory: int) -> Groups:
    """Group the documents of all leaves, numbered in order; sorting takes at most `memory` bytes a worker."""
    digests = np.concatenate([np.empty((0, 2), np.uint64), *(leaf.records()["digest"] for leaf in leaves)])
    copy_of = _first_copies(digests)
    numbers = np.arange(len(copy_of))
    (copy_of != numbers).tofile(work / _COPIES)
    parts = -(-len(digests) * _SORTED_BYTES // memory)
    tasks = [_Band(band, part, parts) for band in range(settings.bands) for part in range(parts)]
    folders = tuple(str(leaf.folder) for leaf in leaves)
    forest = Forest(len(digests))
    for pairs in engine.run(partial(_pairs, settings.model_dump_json(), folders, str(work / _COPIES)), tasks):
        forest.join(pairs)
    return Groups(copy_of, forest.roots()[copy_of])


def united(clusters: Indices, keys: NDArray[np.uint64]) -> Indices:
    """Return clusters in which the documents that share a key, 0 excepted, are in one too.

    >>> united(np.array([0, 1, 1, 3, 4]), np.array([0, 7, 0, 7, 0], np.uint64)).tolist()
    [0, 1, 1, 1, 4]
    """
    _, firsts, own = np.unique(clusters, return_index=True, return_inverse=True)
    forest = Forest(len(firsts))
    _, leaders, shared = np.unique(keys, return_index=True, return_inverse=True)
    pairs = np.stack([own[leaders][shared], own], 1)
    forest.join(pairs[keys != 0])
    return clusters[firsts[forest.roots()[own]]]


class _Band(NamedTuple):
    """One band's keys, or those of them that leave `part` when divided by `parts`."""

    band: int
    part: int
    parts: int


class Signed(Protocol):
    """Signatures, wherever they are."""

    def rows(self, numbers: Indices) -> NDArray[np.uint32]:
        """Return the signatures of some documents."""
        ...


class _Held(NamedTuple):
    """The signatures of all documents, in the leaves' files."""

    leaves: Sequence[Leaf]
    offsets: Indices
    hashes: int

    def rows(self, numbers: Indices) -> NDArray[np.uint32]:
        """Return the signatures of some documents."""
        found = np.empty((len(numbers), self.hashes), dtype=np.uint32)
        owners = np.searchsorted(self.offsets, numbers, side="right") - 1
        for owner in np.unique(owners).tolist():
            mine = owners == owner
            found[mine] = self.leaves[owner].signatures(numbers[mine] - self.offsets[owner], self.hashes)
        return found


def _pairs(settings: str, folders: tuple[str, ...], copies: str, task: _Band) -> Indices:
    """Return the documents (pairs, 2) that agree in a band and are similar enough over the whole signature."""
    duplicates = Duplicates.model_validate_json(settings)
    leaves = [Leaf(Path(folder)) for folder in folders]
    offsets = np.cumsum([0, *map(len, leaves)])
    numbers, keys = [], []
    for leaf, offset in zip(leaves, offsets.tolist(), strict=False):
        is_copy = np.fromfile(copies, dtype=bool, count=len(leaf), offset=offset)
        key = leaf.band(task.band)
        mine = np.flatnonzero(~is_copy & (key % np.uint64(task.parts) == task.part))
        numbers.append(mine + offset)
        keys.append(key[mine])
    held = _Held(leaves, offsets[:-1], duplicates.hashes)
    return similar_pairs(np.concatenate(numbers), np.concatenate(keys), held, duplicates.threshold)


def similar_pairs(
    numbers: Indices, keys: NDArray[np.uint64], signatures: Signed, threshold: float
) -> Indices:
    """Compare all that have the same key with the first of them, then the rest with the first of the rest …"""
    order = np.argsort(keys, kind="stable")
    ordered, members = keys[order], numbers[order]
    begins = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1]))) if len(keys) else order
    ends = np.append(begins[1:], len(order))
    shared = np.flatnonzero(ends - begins > 1)
    pending = [members[begins[bucket] : ends[bucket]] for bucket in shared]
    found = [np.empty((0, 2), dtype=np.int64)]
    while pending:
        leaders = np.concatenate([np.full(len(bucket) - 1, bucket[0]) for bucket in pending])
        others = np.concatenate([bucket[1:] for bucket in pending])
        near = _similar(signatures, leaders, others, threshold)
        found.append(np.stack([leaders[near], others[near]], 1))
        bounds = np.cumsum([len(bucket) - 1 for bucket in pending])[:-1]
        left = [
            other[~is_near]
            for other, is_near in zip(np.split(others, bounds), np.split(near, bounds), strict=True)
        ]
        pending = [bucket for bucket in left if len(bucket) > 1]
    return np.concatenate(found)


def _similar(signatures: Signed, ones: Indices, others: Indices, threshold: float) -> NDArray[np.bool_]:
    similar = np.empty(len(ones), dtype=bool)
    for start in range(0, len(ones), _BLOCK):
        block = slice(start, start + _BLOCK)
        agree = signatures.rows(ones[block]) == signatures.rows(others[block])
        similar[block] = agree.mean(axis=1) >= threshold
    return similar
