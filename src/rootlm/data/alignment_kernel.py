"""Which word of a pair made which: expectation–maximisation over the words of pairs, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rootlm.core.compiled import compiled

Ids = NDArray[np.int64]
Reals = NDArray[np.float64]


@compiled
def lay_keys(read: Ids, written: Ids, sizes: Ids, vocab_size: int, keys: Ids) -> None:
    """Write a number for each word read, or none, beside each word written: pair by pair, word by word.

    `sizes` (pairs, 2) are the words of both sides. No word counts as one more word, the first of its pair.
    """
    place, first, begin = 0, 0, 0
    for pair in range(len(sizes)):
        width, height = sizes[pair]
        for row in range(height):
            made = written[begin + row]
            keys[place] = vocab_size * vocab_size + made
            for column in range(width):
                keys[place + column + 1] = read[first + column] * vocab_size + made
            place += width + 1
        first += width
        begin += height


@compiled
def weigh(sizes: Ids, chances: Reals, priors: Reals, shares: Reals) -> None:
    """Write the share that each word read, or none, has in each word written; `chances` lie as keys do.

    `priors` are the chance that none has made it, and how steeply words that stand elsewhere are less likely.
    """
    nothing, slope = priors
    place = 0
    for pair in range(len(sizes)):
        width, height = sizes[pair]
        for row in range(height):
            near = 0.0
            for column in range(width):
                share = np.exp(-slope * abs((column + 0.5) / width - (row + 0.5) / height))
                shares[place + column + 1] = share * chances[place + column + 1]
                near += share
            shares[place] = nothing * chances[place]
            total = shares[place]
            for column in range(width):
                shares[place + column + 1] *= (1 - nothing) / near
                total += shares[place + column + 1]
            for column in range(width + 1):
                shares[place + column] /= max(total, 1e-300)
            place += width + 1


@compiled
def agree(sizes: Ids, there: Reals, back: Reals, least: float, links: Ids) -> None:
    """Write for each word written the word read on which both directions agree most, or −1 below `least`.

    `there` are shares as `weigh` writes them; `back` are those of the same pairs with their sides exchanged.
    """
    place, other, begin = 0, 0, 0
    for pair in range(len(sizes)):
        width, height = sizes[pair]
        for row in range(height):
            best, link = least, -1
            for column in range(width):
                both = (
                    there[place + row * (width + 1) + column + 1]
                    * back[other + column * (height + 1) + row + 1]
                )
                if both >= best:
                    best, link = both, column
            links[begin + row] = link
        place += height * (width + 1)
        other += width * (height + 1)
        begin += height
