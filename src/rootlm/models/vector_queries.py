"""What is asked of word vectors: neighbours, analogies, likeness, the odd one out; by cosines, in blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rootlm.models.word_vectors import Floats, WordVectors

Method = Literal["add", "multiply"]
"""How an analogy is solved: 3CosAdd or 3CosMul."""
_AT_ONCE = 1 << 25
_SMALL = 1e-6
"""Keeps the quotient of 3CosMul finite."""

Rows = NDArray[np.int64]


class Near(NamedTuple):
    """A word and how near it is."""

    word: str
    nearness: float


def unit(matrix: Floats) -> Floats:
    """Return rows of length 1; one of zeros stays as it is.

    >>> unit(np.array([[3, 4], [0, 0]], np.float32)).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    found: Floats = np.divide(matrix, np.where(lengths > 0, lengths, 1), dtype=np.float32)
    return found


class Queries:
    """Word vectors, made ready to be asked: their lengths are taken away once.

    >>> vectors = WordVectors(["cat", "cats", "dog"], np.array([[1, 0], [1, 0.1], [0, 1]], np.float32))
    >>> [near.word for near in Queries(vectors).neighbours(["cat"], k=1)[0]]
    ['cats']
    """

    def __init__(self, vectors: WordVectors, among: int | None = None) -> None:
        """Answers come from the first `among` words alone, or from all."""
        self.vectors = vectors
        self.among = len(vectors) if among is None else min(among, len(vectors))

    @cached_property
    def units(self) -> Floats:
        """The vectors that answers are chosen from, each of length 1 (among, size)."""
        return unit(self.vectors.matrix[: self.among])

    def of(self, words: Sequence[str]) -> Floats:
        """Return words' vectors of length 1 (words, size); raises ValueError for one that has none."""
        return unit(self.vectors.vectors(words))

    def neighbours(self, words: Sequence[str], k: int = 10) -> list[list[Near]]:
        """Return the k words of the largest cosine for each word, itself left out."""
        return self.nearest(self.of(words), k, self.vectors.rows(words)[:, None])

    def nearest(self, directions: Floats, k: int, left_out: Rows | None = None) -> list[list[Near]]:
        """Return the k nearest words of each direction (n, size); `left_out` (n, any) are rows that are no answers."""
        if k < 1:
            raise ValueError(f"k is {k}; ask for at least 1 word")
        found: list[list[Near]] = []
        for part in self._parts(len(directions)):
            scores = directions[part] @ self.units.T
            found += self._best(scores, k, None if left_out is None else left_out[part])
        return found

    def similarity(self, first: str, second: str) -> float:
        """Return the cosine between two words."""
        one, other = self.of([first, second])
        return float(one @ other)

    def doesnt_match(self, words: Sequence[str]) -> list[Near]:
        """Return words by how near each is to the mean of all, the one that matches least first."""
        if len(set(words)) < 3:
            raise ValueError(
                f"{len(set(words))} different words have no odd one among them; give three or more"
            )
        held = self.of(words)
        middle = unit(held.mean(0, keepdims=True))[0]
        order = np.argsort(held @ middle, kind="stable")
        return [Near(words[int(place)], float(held[place] @ middle)) for place in order]

    def analogy(self, a: str, b: str, c: str, k: int = 10, method: Method = "add") -> list[Near]:
        """Return what is to c as b is to a, k words, the three themselves left out.

        3CosAdd is the largest cos(d, b − a + c), 3CosMul the largest cos(d, b) · cos(d, c) ÷ (cos(d, a) + ε) with
        cosines moved to 0 … 1 (Levy and Goldberg 2014).
        """
        if k < 1:
            raise ValueError(f"k is {k}; ask for at least 1 word")
        words = [a, b, c]
        scores = self.analogy_scores(self.of(words)[None], method)
        return self._best(scores, k, self.vectors.rows(words)[None])[0]

    def analogy_scores(self, directions: Floats, method: Method) -> Floats:
        """Return how well every word (n, among) answers questions (n, 3, size) of directions a, b and c."""
        a, b, c = directions[:, 0], directions[:, 1], directions[:, 2]
        if method == "add":
            return unit(b + c - a) @ self.units.T
        from_a, from_b, from_c = (((one @ self.units.T) + 1) / 2 for one in (a, b, c))
        return np.asarray(from_b * from_c / (from_a + _SMALL), np.float32)

    def _parts(self, rows: int) -> Iterator[slice]:
        size = max(1, _AT_ONCE // max(1, self.among))
        return (slice(begin, begin + size) for begin in range(0, rows, size))

    def _best(self, scores: Floats, k: int, left_out: Rows | None) -> list[list[Near]]:
        if left_out is not None:
            rows, columns = np.nonzero((left_out >= 0) & (left_out < self.among))
            scores[rows, left_out[rows, columns]] = -np.inf
        count = min(k, scores.shape[1])
        top = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        found: list[list[Near]] = []
        for row, places in zip(scores, top, strict=True):
            order = places[np.lexsort((places, -row[places]))]
            found.append([Near(self.vectors.words[int(place)], float(row[place])) for place in order])
        return [[near for near in several if near.nearness > -np.inf] for several in found]


def questions_at_once(among: int) -> int:
    """Return how many analogies to solve together, so that their scores need little memory."""
    return max(1, _AT_ONCE // (4 * max(1, among)))
