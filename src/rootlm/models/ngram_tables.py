"""All that an n-gram model knows, as flat arrays: a tree of n-grams read from their last word backwards."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from rootlm.core.shares import in_shares
from rootlm.models.ngram_kernel import count_followers, find_contexts, place_followers

Ints = NDArray[np.int64]
Words = NDArray[np.int32]
Logs = NDArray[np.float32]


@dataclass(frozen=True)
class Tables:
    """The nodes of all orders end to end, order 1 first, where node w is word w.

    The node of an n-gram w₁ … wₙ is a child of the node of w₂ … wₙ, so that one walk from the last word
    backwards finds the longest n-gram known. Children stand side by side, sorted by their word.
    """

    sizes: Ints
    """Nodes of each order."""
    words: Words
    """(nodes,): the first word of each node's n-gram."""
    starts: Words
    """(nodes below the top order + 1,): where each node's children begin."""
    logps: Logs
    """(nodes,): ln p of the last word after the others."""
    backoffs: Logs
    """(nodes below the top order,): ln of what a lower order's p is multiplied by after this n-gram."""
    floors: Logs
    """(nodes below the top order,), or empty: ln p of every word never seen after this n-gram, in place of backing
    off; above 0 for what is no context."""

    @property
    def order(self) -> int:
        """The most words an n-gram has."""
        return len(self.sizes)

    @property
    def below(self) -> int:
        """Nodes below the top order."""
        return int(self.sizes[:-1].sum())

    def span(self, order: int) -> slice:
        """Return where the nodes of an order stand."""
        begin = int(self.sizes[: order - 1].sum())
        return slice(begin, begin + int(self.sizes[order - 1]))

    def check(self, vocab_size: int) -> None:
        """Raise ValueError when the arrays do not fit each other, so that no walk leaves them."""
        total = int(self.sizes.sum())
        lengths = {
            "words": total,
            "logps": total,
            "starts": self.below + 1,
            "backoffs": self.below,
            "floors": len(self.floors) and self.below,
        }
        for name, length in lengths.items():
            if len(getattr(self, name)) != length:
                raise ValueError(
                    f"{name} has {len(getattr(self, name))} entries, expected {length}; the tables are torn"
                )
        first = int(self.sizes[0])
        whole = first == vocab_size and np.array_equal(self.words[:first], np.arange(first))
        if self.order > 1:
            whole = whole and self.starts[0] == first and self.starts[-1] == total
            whole = whole and bool((np.diff(self.starts) >= 0).all())
        if not whole or (self.words < 0).any() or (self.words >= vocab_size).any():
            raise ValueError("words and starts make no tree; the tables are torn")

    def contexts(self) -> Words:
        """Return for each node the node of its n-gram without the last word; −1 for a word, and where there is none."""
        above = np.full(len(self.words), -1, np.int32)
        for order in range(2, self.order + 1):
            lower = self.span(order - 1)
            above[self.span(order)] = contexts(self.sizes, self.words, self.starts, order, above[lower])
        return above

    def lasts(self) -> Words:
        """Return the last word of each node's n-gram."""
        lasts = np.arange(len(self.words), dtype=np.int32)
        for order in range(2, self.order + 1):
            lower, span = self.span(order - 1), self.span(order)
            children = np.diff(self.starts[lower.start : lower.stop + 1])
            lasts[span] = np.repeat(lasts[lower], children)
        return lasts

    def followers(self) -> Followers:
        """Return the words seen after each context."""
        first, above = int(self.sizes[0]), self.contexts()
        starts = count_followers(above[first:], self.below)
        words, logps = place_followers(above[first:], self.lasts()[first:], self.logps[first:], starts)
        return Followers(starts, words, logps)


@dataclass(frozen=True)
class Followers:
    """The words seen after each context, and their ln p, context by context."""

    starts: Ints
    words: Words
    logps: Logs


def contexts(sizes: Ints, words: Words, starts: Words, order: int, above: Words) -> Words:
    """Return for each node of an order from 2 the node of its n-gram without the last word, −1 where there is none.

    `above` is the same of the order below; for order 2 it is not looked at.
    """
    base, first = int(sizes[: order - 2].sum()), int(sizes[: order - 1].sum())
    out = np.empty(int(sizes[order - 1]), np.int32)
    in_shares(lambda low, high: find_contexts(words, starts, above, base, low, high, first, out), base, first)
    return out


NAMES = tuple(field.name for field in fields(Tables))


def uniform(order: int, vocab_size: int) -> Tables:
    """Return tables that have seen nothing: every word is as likely as any other."""
    below = vocab_size if order > 1 else 0
    return Tables(
        np.asarray([vocab_size] + [0] * (order - 1), np.int64),
        np.arange(vocab_size, dtype=np.int32),
        np.full(below + 1, vocab_size, np.int32),
        np.full(vocab_size, -math.log(vocab_size), np.float32),
        np.zeros(below, np.float32),
        np.zeros(0, np.float32),
    )
