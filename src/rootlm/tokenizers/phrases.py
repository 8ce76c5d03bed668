"""Phrases: words that stand together more often than chance are joined, new york becomes new_york."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from rootlm.core.config import Config

Ints = NDArray[np.int64]
Reals = NDArray[np.float64]
Tokens = NDArray[np.int32]

JOINT = b"_"
_MOST_PAIRS = 1 << 24
"""Pairs that wait to be laid together."""


class Phrases(Config):
    """Which words are joined: those whose score is above a threshold (Mikolov et al. 2013, section 4)."""

    passes: int = Field(0, ge=0, le=5)
    """How often the text is read to join two: 0 never, 1 makes phrases of two words, 2 of up to four."""
    score: Literal["npmi", "word2vec"] = "npmi"
    """ln(p(ab) ÷ p(a)p(b)) ÷ −ln p(ab), from −1 to 1 (Bouma 2009); or (n(ab) − min_count) · words ÷ n(a)n(b)."""
    threshold: float | None = None
    """Pairs above it are joined. None: 0.5 for npmi, 100 for word2vec."""
    min_count: int = Field(5, ge=1)
    """Pairs that occur less often stay apart."""

    @model_validator(mode="after")
    def _within_reach(self) -> Phrases:
        if self.score == "npmi" and self.threshold is not None and not -1 <= self.threshold < 1:
            raise ValueError(f"threshold={self.threshold:g}: npmi lies between -1 and 1; set it there")
        return self

    @property
    def above(self) -> float:
        """The threshold, chosen by the score where it is not set."""
        return (0.5 if self.score == "npmi" else 100.0) if self.threshold is None else self.threshold


class Found(NamedTuple):
    """Phrases of two words, by the words' ids; sorted."""

    first: Ints
    second: Ints
    counts: Ints
    scores: Reals


def find(parts: Iterable[Tokens], counts: Ints, settings: Phrases, words: int = 0) -> Found:
    """Return the pairs of neighbours worth joining; ids below `words` are no words and part those beside them.

    `counts` are how often each id occurs.
    """
    width, total = len(counts), int(counts[words:].sum())
    keys, times = _counted(parts, counts >= settings.min_count, words)
    often = times >= settings.min_count
    keys, times = keys[often], times[often]
    first, second = np.divmod(keys, width)
    alone = counts[first].astype(np.float64) * counts[second]
    if settings.score == "npmi":
        # A pair that is all of the text has p = 1, whose logarithm is 0: it is as near as can be.
        shares = np.minimum(times / total, 1 - 1e-12)
        scores = np.log(shares * total * total / alone) / -np.log(shares)
    else:
        scores = (times - settings.min_count) * total / alone
    kept = scores > settings.above
    return Found(first[kept], second[kept], times[kept], scores[kept])


def join(parts: Iterable[Tokens], found: Found, ids: Tokens, width: int) -> Iterator[Tokens]:
    """Yield the parts with every phrase as one id of `ids`, read from the left.

    `width` is above all ids of the parts.
    """
    from rootlm.tokenizers.phrase_kernel import join_pairs

    begins = np.searchsorted(found.first, np.arange(width + 1)).astype(np.int64)
    pairs = found.first * width + found.second
    for part in parts:
        out = np.empty_like(part)
        yield out[: join_pairs(part, width, pairs, ids, begins, out)]


def _counted(parts: Iterable[Tokens], frequent: NDArray[np.bool_], words: int) -> tuple[Ints, Ints]:
    """Return all pairs of frequent words that stand together, sorted, and how often they do."""
    frequent = frequent.copy()
    frequent[:words] = False
    found: list[tuple[Ints, Ints]] = []
    for part in parts:
        both = frequent[part[:-1]] & frequent[part[1:]]
        pairs = part[:-1][both].astype(np.int64) * len(frequent) + part[1:][both]
        found.append(np.unique(pairs, return_counts=True))
        if sum(len(keys) for keys, _ in found) > _MOST_PAIRS:
            found = [_together(found)]
    return _together(found)


def _together(found: list[tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
    if not found:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    keys, places = np.unique(np.concatenate([keys for keys, _ in found]), return_inverse=True)
    times = np.concatenate([times for _, times in found])
    return keys, np.bincount(places, times, len(keys)).astype(np.int64)
