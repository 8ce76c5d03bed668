"""What a text is guessed to go on with, to be read at once: guesses, and those looked up in the text itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from rootlm.generation.choosing import Offer

if TYPE_CHECKING:
    from rootlm.generation.rows import Row
    from rootlm.generation.transforms import History


@dataclass(frozen=True, eq=False)
class Guesses:
    """The next tokens of each row, as somebody guesses them: some, or none."""

    tokens: list[list[int]]
    shares: Tensor | None = None
    """What each was drawn from, (rows, places, vocabulary); None where nothing was drawn."""

    @classmethod
    def none(cls, rows: int) -> Guesses:
        """Guess nothing."""
        return cls([[] for _ in range(rows)])

    def offer(self, rows: Sequence[int], place: int) -> Offer | None:
        """Return what is offered to some rows at a place; None where a plain choice judges as well.

        A guess that was not drawn stands with probability p, and else the choice falls on the others in proportion:
        that is a draw from p.
        """
        if self.shares is None or place >= self.shares.shape[1]:
            return None
        here = [self.tokens[row][place] if place < len(self.tokens[row]) else None for row in rows]
        shares = self.shares[list(rows), place]
        shares[[index for index, token in enumerate(here) if token is None]] = 0
        return Offer(torch.tensor([token or 0 for token in here], device=shares.device), shares)


class Guesser(Protocol):
    """Whoever guesses how texts go on."""

    def guess(self, rows: Sequence[Row], limits: Sequence[int], history: History) -> Guesses:
        """Guess at most `limits[row]` tokens, which may be 0, after all that each row has read and written.

        Rows come again with more tokens; those that are missing are finished.
        """
        ...


class LookUp:
    """Guesses that what followed the last few tokens, where they stood before, follows again (Saxena 2023)."""

    def __init__(self, tokens: int, ngram: int) -> None:
        self._tokens, self._ngram = tokens, ngram
        self._seen: dict[Row, _Seen] = {}

    def guess(self, rows: Sequence[Row], limits: Sequence[int], history: History) -> Guesses:
        """Guess the same for the same text, whatever rows stand beside it."""
        self._seen = {row: self._seen.get(row) or _Seen(row.prompt_ids, self._ngram) for row in rows}
        guessed = []
        for row, limit in zip(rows, limits, strict=True):
            seen = self._seen[row]
            seen.read(row.tokens)
            guessed.append(seen.next(min(limit, self._tokens)))
        return Guesses(guessed)


class _Seen:
    """One text, and after which of its tokens each n-gram last stood."""

    def __init__(self, prompt_ids: Sequence[int], ngram: int) -> None:
        self._ids = list(prompt_ids)
        self._prompt, self._ngram = len(prompt_ids), ngram
        self._ends: dict[tuple[int, ...], int] = {}
        self._noted = ngram

    def read(self, tokens: Sequence[int]) -> None:
        """Take in what was written since."""
        self._ids += tokens[len(self._ids) - self._prompt :]
        # The end of the text itself is not noted: nothing has followed it.
        for end in range(self._noted, len(self._ids)):
            self._ends[tuple(self._ids[end - self._ngram : end])] = end
        self._noted = max(self._noted, len(self._ids))

    def next(self, count: int) -> list[int]:
        """Return `count` tokens that followed before, or none; where the text ends, they go on from themselves."""
        found = self._ends.get(tuple(self._ids[-self._ngram :]))
        if found is None:
            return []
        period = len(self._ids) - found
        return [self._ids[found + place % period] for place in range(count)]
