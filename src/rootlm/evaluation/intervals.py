"""How sure a figure is: the bootstrap over documents, for one model and for two on the same documents."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_CHUNK = 1 << 22


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with the range that 95 % of the resamples fall into; None where one document tells nothing."""

    value: float
    low: float | None
    high: float | None

    def map(self, change: Callable[[float], float]) -> Interval:
        """Apply a growing function to the figure and its bounds.

        >>> Interval(2.0, 1.0, 3.0).map(lambda value: value**2)
        Interval(value=4.0, low=1.0, high=9.0)
        """
        low, high = (None if bound is None else change(bound) for bound in (self.low, self.high))
        return Interval(change(self.value), low, high)


def ratio(
    totals: ArrayLike, counts: ArrayLike, *, resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Return Σ totals ÷ Σ counts with its percentile bootstrap interval (Efron 1979).

    Documents are drawn with replacement; each brings its total and its count along. Two documents of which
    one is all right and one all wrong: a quarter of the resamples hold only the right one, a quarter only the
    wrong one, so the interval is everything.

    >>> ratio([0, 1], [1, 1])
    Interval(value=0.5, low=0.0, high=1.0)
    """
    return difference((totals, counts), None, resamples=resamples, confidence=confidence, seed=seed)


def difference(
    first: tuple[ArrayLike, ArrayLike],
    second: tuple[ArrayLike, ArrayLike] | None,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return ratio(first) − ratio(second) with its interval; every resample takes the same documents of both.

    Paired, the documents' own difficulty cancels, so that a small difference shows (Koehn 2004). Each side is
    totals and counts, a number per document. Without a second, it is the ratio of the first.
    """
    sides = [_pair(*side) for side in (first, second) if side is not None]
    documents = len(sides[0][0])
    if any(len(totals) != documents for totals, _ in sides):
        raise ValueError(f"two models need the same documents; found {documents} and {len(sides[1][0])}")
    value = float(_ratio(*(part.sum(keepdims=True) for part in sides[0]))[0])
    if len(sides) == 2:
        value -= float(_ratio(*(part.sum(keepdims=True) for part in sides[1]))[0])
    if math.isnan(value):
        raise ValueError("nothing was counted, so there is no ratio; give documents that are not empty")
    if documents < 2:
        return Interval(value, None, None)
    generator = np.random.default_rng(seed)
    drawn: list[Floats] = []
    together = max(1, _CHUNK // documents)
    for begin in range(0, resamples, together):
        rows = generator.integers(0, documents, (min(together, resamples - begin), documents))
        ratios = [_ratio(totals[rows].sum(1), counts[rows].sum(1)) for totals, counts in sides]
        drawn.append(ratios[0] if len(ratios) == 1 else ratios[0] - ratios[1])
    tail = 50 * (1 - confidence)
    low, high = np.nanpercentile(np.concatenate(drawn), [tail, 100 - tail])
    return Interval(value, float(low), float(high))


def apart(
    first: tuple[ArrayLike, ArrayLike],
    second: tuple[ArrayLike, ArrayLike],
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return ratio(first) − ratio(second) of different documents: each side is resampled by itself."""
    values, drawn = [], []
    for number, (totals, counts) in enumerate((_pair(*first), _pair(*second))):
        if not counts.sum() > 0:
            raise ValueError("nothing was counted, so there is no ratio; give documents that are not empty")
        values.append(float(totals.sum() / counts.sum()))
        generator = np.random.default_rng([seed, number])
        chosen = (generator.integers(0, len(totals), len(totals)) for _ in range(resamples))
        drawn.append(np.array([_ratio(totals[rows].sum(), counts[rows].sum()) for rows in chosen]))
    value = values[0] - values[1]
    if min(np.size(first[0]), np.size(second[0])) < 2:
        return Interval(value, None, None)
    tail = 50 * (1 - confidence)
    low, high = np.nanpercentile(drawn[0] - drawn[1], [tail, 100 - tail])
    return Interval(value, float(low), float(high))


def mean(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Return the mean of a few values, such as one for each fold, ± t · s ÷ √n (Student 1908).

    >>> found = mean([2.0, 3.0, 4.0])
    >>> found.value, round(found.low, 3), round(found.high, 3)
    (3.0, 0.516, 5.484)
    """
    held = np.asarray(values, np.float64)
    if len(held) < 2:
        return Interval(float(held.mean()), None, None)
    half = student(len(held) - 1, confidence) * float(held.std(ddof=1)) / math.sqrt(len(held))
    middle = float(held.mean())
    return Interval(middle, middle - half, middle + half)


@cache
def student(freedom: int, confidence: float = 0.95) -> float:
    """Return the t that |T| stays below with this probability, T being Student's with `freedom` degrees.

    With T = √freedom · tan θ, the density of θ is proportional to cos(θ) to the power of freedom − 1.

    >>> [round(student(freedom), 3) for freedom in (1, 2, 4, 9)]
    [12.706, 4.303, 2.776, 2.262]
    """
    angles = np.linspace(0, math.pi / 2, 1 << 16)
    density = np.cos(angles) ** (freedom - 1)
    below = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return math.sqrt(freedom) * math.tan(float(np.interp(confidence, below / below[-1], angles)))


def _pair(totals: ArrayLike, counts: ArrayLike) -> tuple[Floats, Floats]:
    return np.asarray(totals, np.float64), np.asarray(counts, np.float64)


def _ratio(totals: Floats, counts: Floats) -> Floats:
    """Divide; nothing counted is no ratio, and such a resample is left out."""
    return np.divide(totals, counts, out=np.full_like(totals, np.nan), where=counts > 0)
