"""Runs of characters as hashes: those that stand for their surroundings, and those of a wanted weight.

Imported only by who uses it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rootlm.core.compiled import compiled

_STEP, _BASE = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_MIX, _AGAIN = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_PRIME, _PRIME_BASE = np.uint64(4294967291), np.uint64(2862933555)
_LESS, _MORE, _ONE = np.uint64(29), np.uint64(33), np.uint64(1)

Points = NDArray[np.uint32]
Hashes = NDArray[np.uint64]
Lengths = NDArray[np.int32]


@compiled
def mixed(value: np.uint64) -> np.uint64:
    """Return a number for a number, one to one, whose bits all depend on all."""
    value = (value ^ (value >> _MORE)) * _MIX
    value = (value ^ (value >> _MORE)) * _AGAIN
    return value ^ (value >> _MORE)


@compiled
def windows(weights: NDArray[np.uint8], wanted: int) -> Lengths:
    """Return how long the shortest run from every character on is that weighs enough, 0 where none does."""
    lengths = np.zeros(len(weights), np.int32)
    weight, end = 0, 0
    for begin in range(len(weights)):
        while end < len(weights) and weight < wanted:
            weight += weights[end]
            end += 1
        if weight < wanted:
            break
        lengths[begin] = end - begin
        weight -= weights[begin]
    return lengths


@compiled
def anchors(points: Points, size: int, span: int) -> tuple[Hashes, Lengths]:
    """Choose the smallest hash of every `span` runs of `size` characters.

    This is winnowing (Schleimer, Wilkerson and Aiken 2003, "Winnowing: Local Algorithms for Document
    Fingerprinting"): the choice depends on these runs only, so texts that share them all choose the same.
    Returns the hashes chosen, in order, and for every place from which `span` runs begin which one it is.
    """
    runs = len(points) - size + 1
    hashes = np.empty(max(runs, 0), np.uint64)
    chosen = np.empty(max(runs - span + 1, 0), np.int32)
    found = np.empty(len(chosen), np.uint64)
    power = _ONE
    for _ in range(size):
        power *= _BASE
    value = np.uint64(0)
    count, best = 0, -1
    for place in range(len(points)):
        value = value * _BASE + (np.uint64(points[place]) + _ONE) * _STEP
        if place >= size:
            value -= (np.uint64(points[place - size]) + _ONE) * _STEP * power
        run = place - size + 1
        if run < 0:
            continue
        hashes[run] = mixed(value)
        first = run - span + 1
        if best < 0 or hashes[run] < hashes[best]:
            best = run
            moved = True
        elif best < first:
            best = first
            for other in range(first + 1, run + 1):
                if hashes[other] <= hashes[best]:
                    best = other
            moved = True
        else:
            moved = False
        if first >= 0:
            if moved or first == 0:
                # Small hashes are the ones that are chosen; mixed again they are spread evenly.
                found[count] = mixed(hashes[best] ^ _STEP)
                count += 1
            chosen[first] = count - 1
    return found[:count].copy(), chosen


@compiled
def candidates(lengths: Lengths, chosen: Lengths, shared: NDArray[np.bool_], shortest: int) -> Lengths:
    """Return from where the windows begin of which every anchor is shared; `shortest` is the least window."""
    found = np.empty(len(lengths), np.int32)
    count, torn = 0, -1
    done = 0
    for begin in range(len(chosen)):
        if lengths[begin] == 0:
            break
        last = begin + lengths[begin] - shortest
        while done <= last:
            if not shared[chosen[done]]:
                torn = done
            done += 1
        if torn < begin:
            found[count] = begin
            count += 1
    return found[:count].copy()


@compiled
def window_keys(points: Points, lengths: Lengths, begins: Lengths) -> tuple[Hashes, NDArray[np.uint32]]:
    """Return two independent hashes of the windows from some places on: 64 bits and 32 bits."""
    longest = 0
    for begin in begins:
        longest = max(longest, lengths[begin])
    powers, others = np.ones(longest + 1, np.uint64), np.ones(longest + 1, np.uint64)
    for size in range(1, longest + 1):
        powers[size] = powers[size - 1] * _BASE
        others[size] = others[size - 1] * _PRIME_BASE % _PRIME
    sums, rests = np.zeros(len(points) + 1, np.uint64), np.zeros(len(points) + 1, np.uint64)
    for place in range(len(points)):
        code = np.uint64(points[place]) + _ONE
        sums[place + 1] = sums[place] * _BASE + code * _STEP
        rests[place + 1] = (rests[place] * _PRIME_BASE + code) % _PRIME
    hashes, checks = np.empty(len(begins), np.uint64), np.empty(len(begins), np.uint32)
    for index in range(len(begins)):
        begin = begins[index]
        size = lengths[begin]
        end = begin + size
        hashes[index] = mixed((sums[end] - sums[begin] * powers[size]) ^ np.uint64(size))
        rest = rests[end] + _PRIME - rests[begin] * others[size] % _PRIME
        checks[index] = np.uint32(rest % _PRIME)
    return hashes, checks
