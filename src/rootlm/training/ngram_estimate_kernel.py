"""Sums over contexts and the probabilities of an order, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rootlm.core.compiled import compiled

Ints = NDArray[np.int64]
Reals = NDArray[np.float64]
Counts = NDArray[np.uint32]
Places = NDArray[np.int32]


@compiled
def add_counts(counts: Counts, above: Places, offset: int, begin: int, end: int, totals: Reals) -> None:
    """Add up, for contexts `begin` … `end`, the counts after each.

    `totals` is (contexts,); `above` − `offset` says which context a count belongs to.
    """
    for node in range(len(counts)):
        context = above[node] - offset
        if begin <= context < end:
            totals[context] += counts[node]


@compiled
def add_taken(
    counts: Counts, above: Places, offset: int, begin: int, end: int, discounts: Reals, taken: Reals
) -> None:
    """Add up, for contexts `begin` … `end`, the discounts of the counts after each: discounts[3] for 3 and more."""
    for node in range(len(counts)):
        context = above[node] - offset
        if begin <= context < end:
            taken[context] += discounts[min(counts[node], 3)]


@compiled
def add_to_contexts(counts: Counts, above: Places, offset: int, values: Reals, totals: Reals) -> None:
    """Add up, for each context, the values of what was seen after it."""
    for node in range(len(counts)):
        if counts[node] > 0 and above[node] >= offset:
            totals[above[node] - offset] += values[node]


@compiled
def lower_values(values: Reals, starts: Places, base: int, first: int, out: Reals) -> None:
    """Write to each n-gram the value of the n-gram without its first word: of its parent."""
    for parent in range(len(values)):
        for node in range(starts[base + parent] - first, starts[base + parent + 1] - first):
            out[node] = values[parent]


@compiled
def interpolate(
    counts: Counts,
    above: Places,
    offset: int,
    discounts: Reals,
    scales: Reals,
    gammas: Reals,
    values: Reals,
    logs: NDArray[np.float32],
) -> None:
    """Make p = max(c − D, 0) · scale + γ · lower in `values`, which hold the lower order's p, and write ln p."""
    for node in range(len(counts)):
        count, context = counts[node], above[node] - offset
        kept = max(count - discounts[min(count, 3)], 0.0)
        values[node] = kept * scales[context] + gammas[context] * values[node]
        logs[node] = np.log(values[node])


@compiled
def back_off(
    counts: Counts,
    above: Places,
    offset: int,
    gammas: Reals,
    lower: Reals,
    out: Reals,
    logs: NDArray[np.float32],
) -> None:
    """Write γ · lower where nothing was seen, leave p where something was; and ln p."""
    for node in range(len(counts)):
        if counts[node] == 0:
            out[node] = gammas[above[node] - offset] * lower[node]
        logs[node] = np.log(out[node])
