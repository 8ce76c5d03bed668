"""Words as ranks: the ids of a text in the order they were met become ranks by count, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rootlm.core.compiled import compiled

Ints = NDArray[np.int64]
Tokens = NDArray[np.int32]

LINE = -2
"""What stands for a line's end among ranks; −1 stands for a word that is left out."""


@compiled
def rank(ids: Tokens, ranks: Tokens, longest: int, tokens: Tokens, borders: Ints) -> tuple[int, int]:
    """Write the ranks of the words that are kept and where their lines end; returns how many words and lines.

    A line without a word is left out, one of more than `longest` words becomes several.
    """
    count = lines = begin = 0
    for place in range(len(ids)):
        one = ranks[ids[place]]
        if one >= 0:
            tokens[count] = one
            count += 1
        if count > begin and (one == LINE or count - begin == longest):
            borders[lines] = count
            lines += 1
            begin = count
    if count > begin:
        borders[lines] = count
        lines += 1
    return count, lines
