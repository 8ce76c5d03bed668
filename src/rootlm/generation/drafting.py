"""Guesses of a smaller model that reads and writes along, ahead of the one that judges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rootlm.generation.choosing import drawn, shares_of, transformed
from rootlm.generation.prompt_reading import padded, read
from rootlm.generation.speculation import Guesses
from rootlm.models.interface import LanguageModel, Last, State

if TYPE_CHECKING:
    from rootlm.generation.rows import Row
    from rootlm.generation.transforms import History, Transform


class Drafting:
    """Lets a draft model choose as the model will: by the same transforms, with the row's own random numbers.

    It guesses nothing once a text has outgrown the draft's context.
    """

    def __init__(
        self,
        draft: LanguageModel,
        tokens: int,
        transforms: Sequence[Transform],
        greedy: bool,
        vocab_size: int,
    ) -> None:
        self._draft, self._tokens = draft, tokens
        self._transforms, self._greedy, self._vocab_size = transforms, greedy, vocab_size
        self._state: State | None = None
        self._rows: list[Row] = []
        self._read: list[list[int]] = []

    def guess(self, rows: Sequence[Row], limits: Sequence[int], history: History) -> Guesses:
        """Guess at most `limits[row]` tokens of each row."""
        texts = [[*row.prompt_ids, *row.tokens] for row in rows]
        count = min(max(limits), self._tokens)
        if self._draft.context is not None:
            count = min(count, self._draft.context - max(map(len, texts)))
        if count < 1:
            return Guesses.none(len(rows))
        values, state = self._caught_up(rows, texts)
        ahead, guessed = history.ahead()
        shares: list[Tensor] = []
        for place in range(count):
            logits = self._fitted(values)
            if self._greedy:
                chosen = transformed(logits, self._transforms, ahead).argmax(-1)
            else:
                shares.append(shares_of(logits, self._transforms, ahead))
                # Who has no room for a guess takes no random number for it, or its neighbours would change its text.
                open_rows = [_Asked(row, place < limit) for row, limit in zip(rows, limits, strict=True)]
                chosen = drawn(shares[-1], open_rows).to(ahead.device)
            said = chosen.tolist()
            for written, token in zip(guessed, said, strict=True):
                written.append(token)
            ahead.add(chosen)
            if place + 1 < count:
                prediction = self._draft(chosen[:, None].to(self._draft.device), state, ask=Last())
                values, state = prediction.values[:, -1], prediction.state
                for known, token in zip(self._read, said, strict=True):
                    known.append(token)
        self._state = state
        tokens = [
            written[len(row.tokens) :][: min(limit, count)]
            for written, row, limit in zip(guessed, rows, limits, strict=True)
        ]
        return Guesses(tokens, torch.stack(shares, 1) if shares else None)

    def _caught_up(self, rows: Sequence[Row], texts: list[list[int]]) -> tuple[Tensor, State]:
        """Read what was written since the last guesses, after forgetting those that did not hold."""
        draft = self._draft
        if self._state is None:
            capacity = max(map(len, texts)) + self._tokens
            self._rows, self._read = list(rows), texts
            return read(draft, texts, capacity)
        place_of = {row: index for index, row in enumerate(self._rows)}
        order = [place_of[row] for row in rows]
        state, known = self._state, [self._read[index] for index in order]
        if order != list(range(len(self._rows))):
            state = state.select(torch.tensor(order, device=draft.device))
        agreed = [_agreed(one, other) for one, other in zip(known, texts, strict=True)]
        forgotten = [len(one) - kept for one, kept in zip(known, agreed, strict=True)]
        if any(forgotten):
            state = state.rewind(torch.tensor(forgotten, device=draft.device))
        tokens, lengths = padded(
            [text[kept:] for text, kept in zip(texts, agreed, strict=True)], draft.device
        )
        prediction = draft(tokens, state, lengths=lengths, ask=Last())
        self._rows, self._read = list(rows), texts
        assert prediction.state is not None
        return prediction.values[:, -1], prediction.state

    def _fitted(self, values: Tensor) -> Tensor:
        """Return logits over the judge's ids: published models round their tables up, each in its own way."""
        missing = self._vocab_size - values.shape[-1]
        return torch.nn.functional.pad(values.float(), (0, missing), value=-math.inf)


class _Asked:
    """A row that is asked for a random number, or spared."""

    def __init__(self, row: Row, asked: bool) -> None:
        self.draw = row.draw if asked else float


def _agreed(known: list[int], text: list[int]) -> int:
    """Return how many tokens stand; the text's last one is always read anew, for what is said of it."""
    count = min(len(known), len(text) - 1)
    if known[:count] == text[:count]:
        return count
    # They part in the last few places, if at all.
    while known[:count] != text[:count]:
        count -= 1
    return count
