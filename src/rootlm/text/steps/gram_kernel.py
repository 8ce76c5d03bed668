"""Runs of words and of Han characters as hashes, in one pass over a text; imported only by who uses it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rootlm.core.compiled import compiled

_SEED, _STEP = np.uint64(0xCBF29CE484222325), np.uint64(0x9E3779B97F4A7C15)
_BASE = np.uint64(0xD6E8FEB86659FD93)
_LESS, _MORE = np.uint64(29), np.uint64(32)

Points = NDArray[np.uint32]
Hashes = NDArray[np.uint64]
Dense = NDArray[np.uint8]


@compiled
def unit_hashes(points: Points, folds: Points) -> tuple[Hashes, Dense]:
    """Return a hash of every unit of a text, and which units are Han characters.

    `folds` says what a character counts as: 0 separates, the upper half of the range are Han and kana, which
    are a unit each; runs of the rest are one.
    """
    hashes = np.empty(len(points), np.uint64)
    dense = np.empty(len(points), np.uint8)
    count = 0
    value = _SEED
    inside = False
    for place in range(len(points)):
        code = folds[points[place]]
        if inside and (code == 0 or code >> np.uint32(31)):
            hashes[count], dense[count] = value, 0
            count += 1
            inside = False
        if code == 0:
            continue
        if not inside:
            value = _SEED
        value = (value ^ np.uint64(code)) * _STEP
        value ^= value >> _LESS
        if code >> np.uint32(31):
            hashes[count], dense[count] = value, 1
            count += 1
        else:
            inside = True
    if inside:
        hashes[count], dense[count] = value, 0
        count += 1
    return hashes[:count], dense[:count]


@compiled
def gram_hashes(hashes: Hashes, dense: Dense, size: int, han: bool) -> Hashes:
    """Return a hash of every run of `size` units that are mostly Han characters, or mostly are not."""
    found = np.empty(max(len(hashes) - size + 1, 0), np.uint64)
    power = np.uint64(1)
    for _ in range(size):
        power *= _BASE
    count = characters = 0
    value = np.uint64(0)
    for place in range(len(hashes)):
        value = value * _BASE + hashes[place]
        characters += dense[place]
        if place >= size:
            value -= hashes[place - size] * power
            characters -= dense[place - size]
        if place >= size - 1 and (2 * characters > size) == han:
            mixed = (value ^ (value >> _MORE) ^ np.uint64(size)) * _STEP
            found[count] = mixed ^ (mixed >> _LESS)
            count += 1
    return found[:count]


@compiled
def fill_sieve(keys: Hashes, sieve: NDArray[np.uint8], shift: int) -> None:
    """Set the bit that the first bits of every key name."""
    for key in keys:
        bit = np.int64(key >> np.uint64(shift))
        sieve[bit >> 3] |= np.uint8(1 << (bit & 7))


@compiled
def look_up(grams: Hashes, keys: Hashes, sieve: NDArray[np.uint8], shift: int) -> NDArray[np.int64]:
    """Return the places in the sorted `keys` of those grams that are in it; the sieve keeps most others out."""
    found = np.empty(len(grams), np.int64)
    count = 0
    for gram in grams:
        bit = np.int64(gram >> np.uint64(shift))
        if not sieve[bit >> 3] & (1 << (bit & 7)):
            continue
        low, high = 0, len(keys)
        while low < high:
            middle = (low + high) // 2
            if keys[middle] < gram:
                low = middle + 1
            else:
                high = middle
        if low < len(keys) and keys[low] == gram:
            found[count] = low
            count += 1
    return found[:count]
