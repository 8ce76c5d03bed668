"""Words drawn at random in proportion to a power of their counts, in two looks: Walker's alias method.

A drawing takes one of all words evenly, and with that word's own chance keeps it, else takes its alias (Walker 1977,
filled as Vose 1991 does). Word and chance stand side by side, so that a drawing touches one place of the memory.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rootlm.core.compiled import compiled

POWER = 0.75
"""Mikolov et al. 2013 found the counts' 3/4th power best."""


LEAST_PART = 1000
"""Words from which a part of the vocabulary is enough for one worker to draw from for a while."""


def alias_table(counts: NDArray[np.int64], power: float = POWER) -> NDArray[np.uint32]:
    """Return (words, 4): the chance to keep each word, of 2³², its alias, and the word itself.

    >>> alias_table(np.array([3, 1]), power=1.0).tolist()
    [[4294967295, 0, 0, 0], [2147483648, 0, 1, 0]]
    """
    return _table(counts.astype(np.float64) ** power, np.arange(len(counts)))


def alias_tables(counts: NDArray[np.int64], parts: int) -> list[NDArray[np.uint32]]:
    """Return tables of the vocabulary in parts of the same total share, at most one for each `LEAST_PART` words.

    Workers that draw from different parts do not write each other's rows, and a row that another core has written
    takes several times as long to come. Over parts that take turns, each word is drawn as often as from the whole.
    """
    shares = counts.astype(np.float64) ** POWER
    parts = max(1, min(parts, len(counts) // LEAST_PART))
    owners = _dealt(shares, parts)
    return [_table(shares[own], own) for own in (np.flatnonzero(owners == part) for part in range(parts))]


def _table(shares: NDArray[np.float64], words: NDArray[np.int64]) -> NDArray[np.uint32]:
    filled = _fill(shares / shares.sum() * len(shares))
    table = np.zeros((len(words), 4), np.uint32)
    table[:, 0], table[:, 1], table[:, 2] = filled[:, 0], words[filled[:, 1]], words
    return table


@compiled
def _dealt(shares: NDArray[np.float64], parts: int) -> NDArray[np.int64]:
    """Return the part of each word: of those with the least so far, from the most frequent word on."""
    totals, owners = np.zeros(parts), np.empty(len(shares), np.int64)
    for word in range(len(shares)):
        least = 0
        for part in range(1, parts):
            if totals[part] < totals[least]:
                least = part
        owners[word] = least
        totals[least] += shares[word]
    return owners


@compiled
def _fill(shares: NDArray[np.float64]) -> NDArray[np.uint32]:
    count = len(shares)
    table = np.empty((count, 2), np.uint32)
    small, large = np.empty(count, np.int64), np.empty(count, np.int64)
    n_small = n_large = 0
    for word in range(count):
        if shares[word] < 1.0:
            small[n_small] = word
            n_small += 1
        else:
            large[n_large] = word
            n_large += 1
    while n_small and n_large:
        n_small -= 1
        less, more = small[n_small], large[n_large - 1]
        table[less, 0] = np.uint32(shares[less] * 4294967296.0)
        table[less, 1] = more
        shares[more] -= 1.0 - shares[less]
        if shares[more] < 1.0:
            n_large -= 1
            small[n_small] = more
            n_small += 1
    # What is left has a share of one, but for rounding.
    for place in range(n_small):
        table[small[place], 0], table[small[place], 1] = 0xFFFFFFFF, small[place]
    for place in range(n_large):
        table[large[place], 0], table[large[place], 1] = 0xFFFFFFFF, large[place]
    return table
