"""Words as leaves of a binary tree, frequent ones near its root: hierarchical softmax (Morin and Bengio 2005).

The probability of a word is the product, over the inner nodes on its way, of σ(±v_node · h); the sign is the way's
turn. With Huffman's tree the ways are the shortest on average (Mikolov et al. 2013).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rootlm.core.compiled import compiled

Ints = NDArray[np.int64]


class Ways(NamedTuple):
    """The way from the root to each word, end to end."""

    offsets: Ints
    """(words + 1,): where each word's way begins."""
    nodes: NDArray[np.int32]
    """The inner nodes on the way; there are words - 1, the root is the last."""
    turns: NDArray[np.int8]
    """The turn taken at each node: 0 or 1."""


def huffman(counts: Ints) -> Ways:
    """Return the ways of Huffman's tree; the counts fall.

    Nodes are numbered as word2vec and fastText number them, so that their files hold the same tree.

    >>> huffman(np.array([5, 2, 1])).turns.tolist()
    [1, 0, 1, 0, 0]
    """
    return Ways(*_build(counts.astype(np.int64)))


@compiled
def _build(counts: Ints) -> tuple[Ints, NDArray[np.int32], NDArray[np.int8]]:
    words = len(counts)
    weights = np.empty(2 * words - 1, np.int64)
    weights[:words] = counts
    parents, turns = np.zeros(2 * words - 1, np.int64), np.zeros(2 * words - 1, np.int8)
    # The lightest is either the last word not taken or the first node not taken: both stand in order.
    leaf, free = words - 1, words
    for node in range(words, 2 * words - 1):
        for turn in range(2):
            if leaf >= 0 and (free >= node or weights[leaf] < weights[free]):
                one = leaf
                leaf -= 1
            else:
                one = free
                free += 1
            weights[node] = weights[one] if turn == 0 else weights[node] + weights[one]
            parents[one], turns[one] = node, turn
    offsets = np.zeros(words + 1, np.int64)
    for word in range(words):
        depth, one = 0, word
        while one != 2 * words - 2:
            one = parents[one]
            depth += 1
        offsets[word + 1] = offsets[word] + depth
    nodes, codes = np.empty(offsets[words], np.int32), np.empty(offsets[words], np.int8)
    for word in range(words):
        one = word
        for place in range(offsets[word + 1] - 1, offsets[word] - 1, -1):
            codes[place] = turns[one]
            one = parents[one]
            nodes[place] = one - words
    return offsets, nodes, codes
