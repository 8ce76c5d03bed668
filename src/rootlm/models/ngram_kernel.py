"""Walks through the tree of n-grams, compiled: costs, ranks, whole distributions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rootlm.core.compiled import compiled

Ints = NDArray[np.int64]
Words = NDArray[np.int32]
Logs = NDArray[np.float32]
Tree = tuple[Words, Words, Logs, Logs, Logs]
"""Words, starts, ln p, back-offs and floors of `Tables`."""


@compiled
def child(words: Words, starts: Words, node: int, word: int) -> int:
    """Return the child of `node` with this word, or −1."""
    low, high = starts[node], starts[node + 1]
    while low < high:
        middle = (low + high) >> 1
        if words[middle] < word:
            low = middle + 1
        else:
            high = middle
    return low if low < starts[node + 1] and words[low] == word else -1


@compiled
def walk(
    words: Words, starts: Words, first: int, row: Ints, place: int, low: int, limit: int, path: Ints
) -> int:
    """Follow `first`, then row[place], row[place − 1] … row[low]; write the nodes to `path`, return how many."""
    path[0] = node = first
    depth = 1
    while depth < limit and place >= low:
        node = child(words, starts, node, row[place])
        if node < 0:
            break
        path[depth] = node
        depth += 1
        place -= 1
    return depth


@compiled
def usable(floors: Logs, context: Ints, depth: int) -> int:
    """Return the length of the longest context that has followers, where contexts do not back off."""
    while depth > 0 and floors[context[depth - 1]] > 0:
        depth -= 1
    return depth


@compiled
def weigh(tree: Tree, path: Ints, matched: int, context: Ints, depth: int) -> float:
    """Return ln p of the word whose walk is `path`, after the context whose walk is `context`."""
    _, _, logps, backoffs, floors = tree
    if len(floors):
        depth = usable(floors, context, depth)
        if matched <= depth and logps[path[0]] > -np.inf:
            return np.float64(floors[context[depth - 1]])
        return np.float64(logps[path[depth]] if matched > depth else -np.inf)
    total = np.float64(logps[path[matched - 1]])
    for length in range(matched, depth + 1):
        total += backoffs[context[length - 1]]
    return total


@compiled
def costs(tree: Tree, order: int, rows: Ints, lows: Ints, asked: Ints, values: NDArray[np.float64]) -> None:
    """Write −ln p of asked[b, t] after rows[b, lows[b, t]] … rows[b, extra + t]; 0 where it is negative."""
    words, starts, _, _, _ = tree
    path, context = np.empty(order + 1, np.int64), np.empty(order + 1, np.int64)
    extra = rows.shape[1] - asked.shape[1]
    for b in range(asked.shape[0]):
        known = -1  # the word whose walk `path` is, when it can serve as the next context
        matched = 0
        for t in range(asked.shape[1]):
            wanted, place, low = asked[b, t], extra + t, lows[b, t]
            if wanted < 0:
                known = -1
                continue
            if known == rows[b, place] and t > 0 and lows[b, t - 1] == low:
                depth = min(matched, order - 1)
                context[:depth] = path[:depth]
            else:
                depth = 0
                if order > 1 and place >= low:
                    depth = walk(words, starts, rows[b, place], rows[b], place - 1, low, order - 1, context)
            matched = walk(words, starts, wanted, rows[b], place, low, order, path)
            values[b, t] = -weigh(tree, path, matched, context, depth)
            known = wanted


@compiled
def spread(
    tree: Tree,
    followers: tuple[Ints, Words, Logs],
    context: Ints,
    depth: int,
    out: Logs,
) -> None:
    """Write ln p of every word after a context to `out`."""
    _, _, logps, backoffs, floors = tree
    starts, after, known = followers
    size = len(out)
    if len(floors):
        depth = usable(floors, context, depth)
        if depth:
            for word in range(size):  # the begin mark never follows anything
                out[word] = floors[context[depth - 1]] if logps[word] > -np.inf else -np.inf
            for place in range(starts[context[depth - 1]], starts[context[depth - 1] + 1]):
                out[after[place]] = known[place]
        else:
            out[:] = logps[:size]
        return
    total = np.float64(0)
    for length in range(1, depth + 1):
        total += backoffs[context[length - 1]]
    for word in range(size):
        out[word] = logps[word] + total
    for length in range(1, depth + 1):
        node = context[length - 1]
        total = np.float64(0)
        for longer in range(length + 1, depth + 1):
            total += backoffs[context[longer - 1]]
        for place in range(starts[node], starts[node + 1]):
            out[after[place]] = known[place] + total


@compiled
def distributions(
    tree: Tree,
    followers: tuple[Ints, Words, Logs],
    order: int,
    rows: Ints,
    lows: Ints,
    first: Ints,
    out: NDArray[np.float32],
) -> None:
    """Write ln p of every word to out[b, j], after place first[b] + j of each row; places below 0 are skipped."""
    words, starts, _, _, _ = tree
    context = np.empty(order + 1, np.int64)
    extra = rows.shape[1] - lows.shape[1]
    for b in range(out.shape[0]):
        for j in range(out.shape[1]):
            t = first[b] + j
            if t < 0:
                continue
            depth = 0
            if order > 1 and extra + t >= lows[b, t]:
                low = lows[b, t]
                depth = walk(
                    words, starts, rows[b, extra + t], rows[b], extra + t - 1, low, order - 1, context
                )
            spread(tree, followers, context, depth, out[b, j])


@compiled
def ranks(
    tree: Tree,
    followers: tuple[Ints, Words, Logs],
    order: int,
    rows: Ints,
    lows: Ints,
    asked: Ints,
    vocabulary: int,
    out: NDArray[np.float32],
) -> None:
    """Write −ln p of asked[b, t] and how many words come before it, likelier or as likely with a lower id."""
    words, starts, _, _, _ = tree
    context = np.empty(order + 1, np.int64)
    every = np.empty(vocabulary, np.float32)
    extra = rows.shape[1] - asked.shape[1]
    for b in range(asked.shape[0]):
        for t in range(asked.shape[1]):
            wanted, low = asked[b, t], lows[b, t]
            if wanted < 0:
                continue
            depth = 0
            if order > 1 and extra + t >= low:
                depth = walk(
                    words, starts, rows[b, extra + t], rows[b], extra + t - 1, low, order - 1, context
                )
            spread(tree, followers, context, depth, every)
            mine, before = every[wanted], 0
            for word in range(vocabulary):
                before += every[word] > mine or (every[word] == mine and word < wanted)
            out[b, t, 0], out[b, t, 1] = -mine, before


@compiled
def find_contexts(
    words: Words, starts: Words, above: Words, base: int, begin: int, end: int, first: int, out: Words
) -> None:
    """Write, for the children of nodes `begin` … `end`, the node of each n-gram without its last word, or −1.

    The nodes' own stand in above[node − base]; where `base` is 0 the nodes are words. That of a child stands in
    out[child − first].
    """
    for node in range(begin, end):
        low, high = 0, 0
        if base and above[node - base] >= 0:
            low, high = starts[above[node - base]], starts[above[node - base] + 1]
        for one in range(starts[node], starts[node + 1]):
            word = words[one]
            if not base:
                out[one - first] = word
                continue
            # Both lists of children are sorted: what is left behind is never looked at again.
            last = high
            while low < last:
                middle = (low + last) >> 1
                if words[middle] < word:
                    low = middle + 1
                else:
                    last = middle
            out[one - first] = low if low < high and words[low] == word else -1


@compiled
def count_followers(above: Words, below: int) -> Ints:
    """Return where the followers of each context begin, contexts side by side."""
    starts = np.zeros(below + 1, np.int64)
    for node in above:
        if node >= 0:
            starts[node + 1] += 1
    for node in range(below):
        starts[node + 1] += starts[node]
    return starts


@compiled
def place_followers(above: Words, lasts: Words, logps: Logs, starts: Ints) -> tuple[Words, Logs]:
    """Return the last words and ln p of all nodes, sorted by their context."""
    free = starts[:-1].copy()
    words = np.empty(starts[-1], np.int32)
    known = np.empty(starts[-1], np.float32)
    for node in range(len(above)):
        context = above[node]
        if context >= 0:
            words[free[context]], known[free[context]] = lasts[node], logps[node]
            free[context] += 1
    return words, known
