"""Two spaces of word vectors, laid over each other by a rotation that known pairs decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rootlm.models.vector_queries import Rows, unit
from rootlm.models.word_vectors import Floats, WordVectors

_AT_ONCE = 1 << 24
_HUB_NEIGHBOURS = 10

Pair = tuple[str, str]


def rotation(first: Floats, second: Floats) -> NDArray[np.float64]:
    """Return the orthogonal W (size, size) that brings rows of `first` nearest to those of `second`.

    The least ‖first · W − second‖ is at W = U Vᵀ, where U S Vᵀ = firstᵀ · second (Schönemann 1966).
    """
    left, _, right = np.linalg.svd(first.T.astype(np.float64) @ second.astype(np.float64))
    turned: NDArray[np.float64] = left @ right
    return turned


def align(first: WordVectors, second: WordVectors, pairs: Sequence[Pair]) -> WordVectors:
    """Return the first vectors turned into the space of the second; the pairs' directions decide, not their lengths.

    Raises ValueError for sizes that differ, and where no pair is known to both sides.
    """
    if first.size != second.size:
        raise ValueError(
            f"the first vectors have {first.size:,} numbers, the second {second.size:,}; train both with the same size"
        )
    known = known_pairs(first, second, pairs)
    if not len(known):
        raise ValueError(
            f"none of the {len(pairs):,} pairs has both words among the vectors; check which side is which"
        )
    turn = rotation(unit(first.matrix[known[:, 0]]), unit(second.matrix[known[:, 1]])).astype(np.float32)
    parts = first.subwords
    if parts is not None:
        parts = replace(parts, matrix=parts.matrix @ turn, own=parts.own @ turn)
    return replace(first, matrix=first.matrix @ turn, subwords=parts, outputs=None)


def known_pairs(first: WordVectors, second: WordVectors, pairs: Sequence[Pair]) -> Rows:
    """Return the rows (pairs, 2) of those pairs whose words both have one."""
    rows = np.stack([first.rows([one for one, _ in pairs]), second.rows([other for _, other in pairs])], 1)
    return rows[(rows >= 0).all(1)]


class Translations:
    """Words of one space looked up in another that it was aligned to, among the first `among` words of each."""

    def __init__(
        self, aligned: WordVectors, other: WordVectors, *, among: int = 50_000, csls: bool = False
    ) -> None:
        """By `csls`, words that are near to everything are held back (Conneau et al. 2018)."""
        self._sources, self._aligned, self.other = unit(aligned.matrix[:among]), aligned, other
        self._targets = unit(other.matrix[:among])
        # 2 cos(x, y) − r(x) − r(y): r(x) is the same for all answers to x, so only r(y) decides.
        self._crowds = (
            crowding(self._targets, self._sources) / 2 if csls else np.zeros(len(self._targets), np.float32)
        )

    def of(self, rows: Rows, k: int) -> Rows:
        """Return the k best rows (rows, k) of the other space for rows of the aligned one."""
        directions = unit(self._aligned.matrix[rows])
        found = np.empty((len(rows), min(k, len(self._targets))), np.int64)
        for part in _parts(len(rows), len(self._targets)):
            scores = directions[part] @ self._targets.T - self._crowds
            best = np.argpartition(-scores, found.shape[1] - 1, axis=1)[:, : found.shape[1]]
            order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable")
            found[part] = np.take_along_axis(best, order, 1)
        return found


def crowding(words: Floats, others: Floats, k: int = _HUB_NEIGHBOURS) -> Floats:
    """Return the mean cosine of each word with its k nearest of the others (words,); both of length 1."""
    count = min(k, len(others))
    found = np.empty(len(words), np.float32)
    for part in _parts(len(words), len(others)):
        scores = words[part] @ others.T
        found[part] = np.partition(scores, -count, axis=1)[:, -count:].mean(1)
    return found


def _parts(rows: int, columns: int) -> Iterator[slice]:
    size = max(1, _AT_ONCE // max(1, columns))
    return (slice(begin, begin + size) for begin in range(0, rows, size))
