"""The id of a word that stands among other bytes: a hash table over the letters of all names, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rootlm.core.compiled import compiled

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Words = NDArray[np.int32]

_START, _STEP = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)


@compiled
def find_word(
    names: Bytes, spans: Ints, holders: Words, data: Bytes, begin: int, end: int
) -> tuple[int, int]:
    """Return the id of the word data[begin:end], or −1, and its slot in the table `holders`.

    The name of id w is names[spans[w, 0] : spans[w, 1]].
    """
    value = _START
    for place in range(begin, end):
        value = (value ^ np.uint64(data[place])) * _STEP
    value ^= value >> np.uint64(29)
    slot = np.int64(value & np.uint64(len(holders) - 1))
    while holders[slot] >= 0:
        word = holders[slot]
        if spans[word, 1] - spans[word, 0] == end - begin:
            same = True
            for step in range(end - begin):
                if names[spans[word, 0] + step] != data[begin + step]:
                    same = False
                    break
            if same:
                return word, slot  # type: ignore[return-value]
        slot = (slot + 1) & (len(holders) - 1)
    return -1, slot  # type: ignore[return-value]


@compiled
def hold_words(names: Bytes, spans: Ints, holders: Words) -> None:
    """Put every name's id into the table, whose length is a power of two and whose free slots are −1."""
    for word in range(len(spans)):
        found, slot = find_word(names, spans, holders, names, spans[word, 0], spans[word, 1])
        if found < 0:
            holders[slot] = word
