"""An n-gram model laid out for reading text at speed: a state, and one look-up for each word that is known after it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rootlm.models.ngram_index_kernel import CONTEXT, Table, fill_index, follow_all
from rootlm.models.ngram_tables import Tables

Words = NDArray[np.int32]

_ROOM = 1.5
"""Slots for each n-gram."""


@dataclass(frozen=True)
class Index:
    """A model as a machine: after a state comes a word, which has a probability and leads to the next state.

    The tree finds the longest n-gram from its last word backwards, with a search for each of its words. Here the
    n-gram that ends in a word is found from the state before it, its context; where it is not known, the context
    gives up its first word and pays its back-off. Logarithms are kept as the bits of 32-bit numbers beside what they
    belong to, so that a look-up touches one place of memory.
    """

    slots: Words
    """(slots, 4): context, word, the state after both, ln p; a hash table with linear probing, −1 where free."""
    shorter: Words
    """(contexts, 2): the state without its first word, and its back-off."""
    alone: Words
    """(vocabulary, 2): the state after a word alone, and its ln p."""

    @property
    def table(self) -> Table:
        """The arrays as compiled functions take them."""
        slots, shorter, alone = self.slots, self.shorter, self.alone
        logs = [array.view(np.float32) for array in (slots, shorter, alone)]
        return slots, logs[0], shorter, logs[1], alone, logs[2]

    def after(self, word: int) -> int:
        """Return the state after a word alone."""
        return int(self.alone[word, 0])

    def nats(self, state: int, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return −ln p of each id after those before it and a state."""
        out = np.empty(len(ids))
        follow_all(self.table, state, ids, out)
        return out


def index(tables: Tables) -> Index | None:
    """Lay a model out for reading; None where it cannot be.

    That is additive smoothing, which does not back off, and a model that lacks the context of an n-gram it holds,
    as other tools' files may.
    """
    above, first = tables.contexts(), int(tables.sizes[0])
    if len(tables.floors) or (above[first:] < 0).any():
        return None
    # A context that nothing follows and that costs nothing need not be remembered.
    useful = tables.backoffs != 0
    useful[above[first:]] = True
    longer = len(tables.words) - first
    slots = np.empty((int(longer * _ROOM) + 1, 4), np.int32)
    slots[:, CONTEXT] = -1
    found = Index(slots, np.empty((tables.below, 2), np.int32), np.empty((first, 2), np.int32))
    tree = (tables.starts, tables.logps, tables.backoffs)
    fill_index(tree, above, useful, first, found.table)
    return found
