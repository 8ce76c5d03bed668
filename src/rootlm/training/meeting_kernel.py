"""How often words meet, added up in a hash table, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rootlm.core.compiled import compiled

Ints = NDArray[np.int64]
Tokens = NDArray[np.int32]
Reals = NDArray[np.float64]

FREE = -1
_FULL = 0.7
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@compiled
def add_meetings(
    tokens: Tokens, borders: Ints, lines: tuple[int, int], window: int, words: int, keys: Ints, sums: Reals
) -> tuple[int, int]:
    """Add 1/d for each two words of a line d ≤ `window` words apart; returns the line it stopped at, and keys held.

    `keys` and `sums` are a table with linear probing, as long as a power of two; the key of words a ≤ b is
    a · `words` + b. It stops before a line that might fill more than seven tenths of the table.
    """
    mask = np.uint64(len(keys) - 1)
    shift = np.uint64(64)
    size = len(keys)
    while size > 1:
        size >>= 1
        shift -= np.uint64(1)
    held, most = 0, int(_FULL * len(keys))
    for line in range(lines[0], lines[1]):
        begin, end = borders[line], borders[line + 1]
        if held and held + (end - begin) * window > most:
            return line, held
        for place in range(begin, end):
            own = np.int64(tokens[place])
            for other in range(max(begin, place - window), place):
                met = np.int64(tokens[other])
                key = min(own, met) * words + max(own, met)
                slot = (np.uint64(key) * _GOLDEN) >> shift
                while keys[slot] != key:
                    if keys[slot] == FREE:
                        keys[slot] = key
                        held += 1
                        break
                    slot = (slot + np.uint64(1)) & mask
                sums[slot] += 1.0 / (place - other)
    return lines[1], held


@compiled
def sum_equal(keys: Ints, sums: Reals) -> int:
    """Add up the sums of equal keys, which stand together, in place; returns how many are left."""
    last = -1
    for place in range(len(keys)):
        if last >= 0 and keys[last] == keys[place]:
            sums[last] += sums[place]
        else:
            last += 1
            keys[last], sums[last] = keys[place], sums[place]
    return last + 1
