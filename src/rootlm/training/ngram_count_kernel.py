"""Keys of n-grams, runs of equal ones and the tree that sorted keys make, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rootlm.core.compiled import compiled

Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]


@compiled
def fill_keys(
    ids: NDArray[np.integer],
    borders: Ints,
    bos_id: int,
    order: int,
    bits: int,
    per_key: int,
    free: Ints,
    keys: Keys,
) -> None:
    """Write the key of every place's words before it to the next free row of its word."""
    shift = np.uint64(bits)
    length = min(order - 1, per_key)
    top = np.uint64(64 - bits)
    mask = ~np.uint64(0) << np.uint64(64 - bits * length) if length else np.uint64(0)
    for document in range(len(borders) - 1):
        begin = borders[document]
        first = np.uint64(bos_id + 1) << top
        for place in range(begin, borders[document + 1]):
            word = ids[place]
            row = free[word]
            free[word] = row + 1
            keys[row, 0] = first & mask
            first = (first >> shift) | (np.uint64(word + 1) << top)
            for group in range(1, keys.shape[1]):
                key = np.uint64(0)
                for slot in range(per_key):
                    back = group * per_key + slot + 1
                    if back > order - 1 or place - back < begin - 1:
                        break
                    one = bos_id if place - back < begin else np.int64(ids[place - back])
                    key |= np.uint64(one + 1) << np.uint64(64 - bits * (slot + 1))
                keys[row, group] = key


@compiled
def merge_equal(
    keys: Keys, counts: NDArray[np.uint32], offsets: Ints
) -> tuple[Ints, Keys, NDArray[np.uint32]]:
    """Add up equal neighbours, in place; returns offsets, keys and counts of what is distinct."""
    groups = keys.shape[1]
    fresh = np.zeros_like(offsets)
    out = 0
    for word in range(len(offsets) - 1):
        first = out
        for row in range(offsets[word], offsets[word + 1]):
            same = out > first
            for group in range(groups):
                same = same and keys[row, group] == keys[out - 1, group]
            if same:
                counts[out - 1] += counts[row]
                continue
            for group in range(groups):
                keys[out, group] = keys[row, group]
            counts[out] = counts[row]
            out += 1
        fresh[word + 1] = out
    return fresh, keys[:out], counts[:out]


@compiled
def _word(keys: Keys, row: int, back: int, bits: int, per_key: int) -> int:
    """Return the word `back` places before the last one, + 1; 0 where there is none."""
    slot = (back - 1) % per_key
    mask = (np.uint64(1) << np.uint64(bits)) - np.uint64(1)
    return np.int64((keys[row, (back - 1) // per_key] >> np.uint64(64 - bits * (slot + 1))) & mask)  # type: ignore[return-value]


@compiled
def size_levels(keys: Keys, offsets: Ints, order: int, bits: int, per_key: int) -> Ints:
    """Return how many nodes each order has; order 1 has every word."""
    sizes = np.zeros(order, np.int64)
    sizes[0] = len(offsets) - 1
    for last in range(len(offsets) - 1):
        for row in range(offsets[last], offsets[last + 1]):
            fresh = row == offsets[last]
            for back in range(1, order):
                word = _word(keys, row, back, bits, per_key)
                fresh = fresh or word != _word(keys, row - 1, back, bits, per_key)
                if word == 0:
                    break
                sizes[back] += fresh
    return sizes


@compiled
def build_levels(
    keys: Keys,
    weights: NDArray[np.uint32],
    offsets: Ints,
    order: int,
    bits: int,
    per_key: int,
    sizes: Ints,
    words: NDArray[np.int32],
    starts: NDArray[np.int32],
    counts: NDArray[np.uint32],
) -> None:
    """Write the words, first children and counts of all nodes; the keys are distinct and sorted."""
    free = np.zeros(order, np.int64)
    for level in range(1, order):
        free[level] = free[level - 1] + sizes[level - 1]
    for last in range(len(offsets) - 1):
        words[last] = last
        if order > 1:
            starts[last] = free[1]
        for row in range(offsets[last], offsets[last + 1]):
            weight = weights[row]
            counts[last] += weight
            fresh = row == offsets[last]
            for back in range(1, order):
                word = _word(keys, row, back, bits, per_key)
                fresh = fresh or word != _word(keys, row - 1, back, bits, per_key)
                if word == 0:
                    break
                if fresh:
                    words[free[back]] = word - 1
                    if back < order - 1:
                        starts[free[back]] = free[back + 1]
                    free[back] += 1
                counts[free[back] - 1] += weight
    starts[len(starts) - 1] = len(words)
