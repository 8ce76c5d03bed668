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


def alias_table(counts: NDArray[np.int64], power: float = POWER) -> NDArray[np.uint32]:
    """Return (words, 2): the chance to keep each word, of 2³², and its alias.

    >>> alias_table(np.array([3, 1]), power=1.0).tolist()
    [[4294967295, 0], [2147483648, 0]]
    """
    shares = counts.astype(np.float64) ** power
    return _fill(shares / shares.sum() * len(shares))


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
