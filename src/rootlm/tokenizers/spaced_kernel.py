"""Words between spaces as numbers: one compiled pass over the bytes of a text."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rootlm.core.compiled import compiled

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

_START, _STEP = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_LINE = ord("\n")
_SPACE = ord(" ")


@compiled
def cut_words(data: Bytes) -> tuple[NDArray[np.int32], Ints, Ints, Ints]:
    """Return ids with line ends, where lines begin, and where each id's word first stands."""
    tokens, lines = 1, 1
    for place in range(len(data)):
        tokens += data[place] <= _SPACE and (place == 0 or data[place - 1] > _SPACE)
        lines += data[place] == _LINE
    ids = np.empty(tokens + lines + 1, np.int32)
    borders = np.zeros(lines + 2, np.int64)
    slots = 1 << 12
    holders = np.full(slots, -1, np.int32)
    begins, ends = np.empty(1024, np.int64), np.empty(1024, np.int64)
    hashes = np.empty(1024, np.uint64)
    words = count = line = place = 0
    size = len(data)
    while place < size:
        if data[place] <= _SPACE:
            if data[place] == _LINE:
                ids[count] = 1
                count += 1
                line += 1
                borders[line] = count
            place += 1
            continue
        begin = place
        value = _START
        while place < size and data[place] > _SPACE:
            value = (value ^ np.uint64(data[place])) * _STEP
            place += 1
        value ^= value >> np.uint64(29)
        slot = np.int64(value) & (slots - 1)
        while True:
            word = holders[slot]
            if word < 0:
                break
            if hashes[word] == value and ends[word] - begins[word] == place - begin:
                same = True
                for step in range(place - begin):
                    if data[begins[word] + step] != data[begin + step]:
                        same = False
                        break
                if same:
                    break
            slot = (slot + 1) & (slots - 1)
        if word < 0:
            word = words
            if words == len(begins):
                begins = np.concatenate((begins, np.empty_like(begins)))
                ends = np.concatenate((ends, np.empty_like(ends)))
                hashes = np.concatenate((hashes, np.empty_like(hashes)))
            begins[words], ends[words], hashes[words] = begin, place, value
            holders[slot] = words
            words += 1
            if 2 * words > slots:
                slots *= 2
                holders = np.full(slots, -1, np.int32)
                for one in range(words):
                    slot = np.int64(hashes[one]) & (slots - 1)
                    while holders[slot] >= 0:
                        slot = (slot + 1) & (slots - 1)
                    holders[slot] = one
        ids[count] = word
        count += 1
    if count > borders[line]:
        ids[count] = 1
        count += 1
        line += 1
        borders[line] = count
    return ids[:count], borders[: line + 1], begins[:words], ends[:words]
