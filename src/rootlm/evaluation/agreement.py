"""How well two lists of scores agree on an order, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rootlm.evaluation.intervals import Floats, Interval

_RESAMPLES = 1000


def agreement(found: ArrayLike, said: ArrayLike, seed: int = 0) -> Interval:
    """Return Spearman's rank correlation of two lists of scores, with the bootstrap interval over pairs.

    >>> agreement([0.1, 0.2, 0.4, 0.9], [1, 2, 3, 4]).value
    1.0
    """
    return _resampled([found], said, seed)


def agreement_apart(first: ArrayLike, second: ArrayLike, said: ArrayLike, seed: int = 0) -> Interval:
    """Return how much better the first list agrees than the second; every resample takes the same pairs of both.

    >>> agreement_apart([1, 2, 3], [3, 2, 1], [1, 2, 3]).value
    2.0
    """
    return _resampled([first, second], said, seed)


def _resampled(lists: Sequence[ArrayLike], said: ArrayLike, seed: int) -> Interval:
    scores = [np.asarray(one, np.float64) for one in (*lists, said)]
    if len(scores[0]) < 2 or any(np.ptp(one) == 0 for one in scores):
        raise ValueError("there is no order to agree on: give at least two pairs with different scores")
    *found, right = scores
    value = _apart([_spearman(one, right) for one in found])
    generator = np.random.default_rng(seed)
    drawn = [
        _apart([_spearman(one[rows], right[rows]) for one in found])
        for rows in generator.integers(0, len(right), (_RESAMPLES, len(right)))
    ]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Interval(value, float(low), float(high))


def _apart(values: Sequence[float]) -> float:
    return values[0] - sum(values[1:])


def _spearman(first: Floats, second: Floats) -> float:
    ranks = _ranks(first), _ranks(second)
    if min(np.ptp(one) for one in ranks) == 0:
        return float("nan")
    return float(np.corrcoef(*ranks)[0, 1].round(12))


def _ranks(values: Floats) -> NDArray[np.float64]:
    """Return ranks from 0 on; equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = counts.cumsum()
    means: NDArray[np.float64] = (ends - (counts + 1) / 2)[inverse]
    return means
