"""Tokens taken apart at random while learning, so that a word is met in more than one spelling of tokens."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rootlm.data.windows import Ids


class SubwordDropout(NamedTuple):
    """Each token that a merge has made is left unmerged with a chance, and so are its parts.

    It is close to BPE-dropout (Provilkov et al. 2020), which leaves out merges while it joins; taking apart what was
    joined needs no text, and its draws follow from a seed. `parts` (vocabulary, 2) are the two tokens that each was
    merged from, negative for one that was not. A text that would have more than `most` tokens stays as it is.
    """

    parts: Ids
    chance: float
    most: int | None = None

    def apply(self, ids: Ids, draws: np.random.Generator) -> tuple[Ids, Ids]:
        """Return the ids of a text with some taken apart, and how many of them each has become."""
        found, owners = ids, np.arange(len(ids))
        fresh = np.ones(len(ids), bool)
        while True:
            cut = fresh & (self.parts[found, 0] >= 0) & (draws.random(len(found)) < self.chance)
            if not cut.any():
                break
            sizes = 1 + cut
            firsts = (np.cumsum(sizes) - sizes)[cut]
            halves = self.parts[found[cut]]
            found, owners, fresh = (np.repeat(each, sizes) for each in (found, owners, cut))
            found[firsts], found[firsts + 1] = halves.T
        if self.most is not None and len(found) > self.most:
            return ids, np.ones(len(ids), np.int64)
        return found, np.bincount(owners, minlength=len(ids)).astype(np.int64)
