"""Words that stand together become one, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rootlm.core.compiled import compiled

Ints = NDArray[np.int64]
Tokens = NDArray[np.int32]


@compiled
def join_pairs(ids: Tokens, width: int, pairs: Ints, phrases: Tokens, begins: Ints, out: Tokens) -> int:
    """Write `ids` with each phrase as one id, read from the left; returns how many ids are left.

    `pairs` are first · `width` + second of each phrase, sorted; those that begin with word w are at `begins[w]` up to
    `begins[w + 1]`. `phrases` are their ids.
    """
    count = place = 0
    while place < len(ids):
        one = ids[place]
        low, high = begins[one], begins[one + 1]
        found = np.int32(-1)
        if low < high and place + 1 < len(ids):
            pair = np.int64(one) * width + ids[place + 1]
            where = low + np.searchsorted(pairs[low:high], pair)
            if where < high and pairs[where] == pair:
                found = phrases[where]
        out[count] = one if found < 0 else found
        place += 1 if found < 0 else 2
        count += 1
    return count
