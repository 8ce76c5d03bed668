"""One look-up a word: a hash table of (context, word), filled and asked, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rootlm.core.compiled import compiled

Words = NDArray[np.int32]
Logs = NDArray[np.float32]
Flags = NDArray[np.bool_]
Table = tuple[Words, Logs, Words, Logs, Words, Logs]
"""`slots`, `shorter` and `alone` of an `Index`, each as whole numbers and, of the same memory, as logarithms."""

CONTEXT, WORD, NEXT, LOGP = range(4)
_STATE, _LOG = range(2)
_FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_HALF = np.uint64(32)


@compiled
def slot_of(context: int, word: int, slots: int) -> int:
    """Return the slot where the search for (context, word) begins."""
    value = ((np.uint64(context) << _HALF) | np.uint64(word)) * _FIRST
    value = (value ^ (value >> _HALF)) * _SECOND
    return np.int64(((value >> _HALF) * np.uint64(slots)) >> _HALF)  # type: ignore[return-value]


@compiled
def fill_index(
    tree: tuple[Words, Logs, Logs],
    above: Words,
    useful: Flags,
    vocabulary: int,
    table: Table,
) -> None:
    """Write the table of a tree, whose arrays are starts, ln p and back-offs.

    `above` has each node's context. A state is the longest part of what was read that is `useful`, counted from the
    last word backwards: that of a node is its own, or that of its parent.
    """
    starts, logps, backoffs = tree
    slots, slot_logs, shorter, shorter_logs, alone, alone_logs = table
    below = len(useful)
    states, lasts = np.empty(max(below, vocabulary), np.int32), np.empty(max(below, vocabulary), np.int32)
    for word in range(vocabulary):
        states[word] = word if word < below and useful[word] else -1
        lasts[word] = word
        alone[word, _STATE], alone_logs[word, _LOG] = states[word], logps[word]
        if word < below:
            shorter[word, _STATE], shorter_logs[word, _LOG] = -1, backoffs[word]
    for parent in range(below):
        last, known = lasts[parent], states[parent]
        for node in range(starts[parent], starts[parent + 1]):
            state = known
            if node < below:
                state = np.int32(node) if useful[node] else known
                states[node], lasts[node] = state, last
                shorter[node, _STATE], shorter_logs[node, _LOG] = known, backoffs[node]
            slot = slot_of(above[node], last, len(slots))
            while slots[slot, CONTEXT] >= 0:
                slot = slot + 1 if slot + 1 < len(slots) else 0
            slots[slot, CONTEXT], slots[slot, WORD], slots[slot, NEXT] = above[node], last, state
            slot_logs[slot, LOGP] = logps[node]


@compiled
def follow(table: Table, state: int, word: int) -> tuple[float, int]:
    """Return ln p of a word after a state, and the state after it; −1 is the state that remembers nothing."""
    slots, slot_logs, shorter, shorter_logs, alone, alone_logs = table
    total = 0.0
    while state >= 0:
        slot = slot_of(state, word, len(slots))
        while slots[slot, CONTEXT] >= 0:
            if slots[slot, CONTEXT] == state and slots[slot, WORD] == word:
                return total + slot_logs[slot, LOGP], np.int64(slots[slot, NEXT])  # type: ignore[return-value]
            slot = slot + 1 if slot + 1 < len(slots) else 0
        total += shorter_logs[state, _LOG]
        state = shorter[state, _STATE]
    return total + alone_logs[word, _LOG], np.int64(alone[word, _STATE])  # type: ignore[return-value]


@compiled
def follow_all(table: Table, state: int, row: NDArray[np.int64], out: NDArray[np.float64]) -> int:
    """Write −ln p of each id of a row to `out`; returns the state after them."""
    for place in range(len(row)):
        logp, state = follow(table, state, row[place])
        out[place] = -logp
    return state
