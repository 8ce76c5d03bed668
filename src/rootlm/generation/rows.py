"""A text while it is written, and what ids mean to whoever writes it."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rootlm.generation.answering import Answering
from rootlm.generation.stopping import Reason, Voice

if TYPE_CHECKING:
    from rootlm.tokenizers.tokenizer import Tokenizer


@dataclass(slots=True, eq=False)
class Row:
    """One text while it is written; `decode` adds to it."""

    prompt: int
    """Which prompt it continues."""
    prompt_ids: Sequence[int]
    seed: int
    """Writes this text again, alone, as the only sample; but for what rounding decides."""
    voice: Voice | None = None
    tokens: list[int] = field(default_factory=list)
    """Every token chosen, the end token or a stop string's included."""
    logprobs: list[float] = field(default_factory=list)
    """ln p of each token by the model itself, before temperature and the like."""
    pieces: list[str] = field(default_factory=list)
    """What may be shown, in the order in which it could be."""
    finish_reason: Reason | None = None
    room: int = sys.maxsize
    """How many more tokens the model can read."""
    draw: Callable[[], float] = random.random
    readings: int = 0
    """How often the model was asked what comes next, the prompt included."""
    guessed: int = 0
    """Tokens that were guessed, and read before they were chosen."""
    held: int = 0
    """Those of them that were chosen."""

    @property
    def text(self) -> str:
        """All that may be shown so far."""
        return "".join(self.pieces)


@dataclass(frozen=True)
class Vocabulary:
    """What ids mean to the loop: which end a text, which are never said, how they become text."""

    end_ids: frozenset[int] = frozenset()
    banned_ids: frozenset[int] = frozenset()
    tokenizer: Tokenizer | None = None
    answering: Answering | None = None

    @classmethod
    def of(
        cls,
        tokenizer: Tokenizer,
        end_ids: frozenset[int] = frozenset(),
        known: int = 0,
        *,
        answering: Answering | None = None,
    ) -> Vocabulary:
        """Return the vocabulary of a tokenizer; the other special tokens are never said.

        With `answering` those that it bans are never said instead.
        A model that is known to have more ids than the tokenizer, as published ones do, never says those either.
        """
        ends = end_ids or frozenset([tokenizer.eos_id])
        banned = tokenizer.special_ids - ends
        if answering is not None:
            for forced in (answering.first, answering.last):
                if forced is not None and not tokenizer.knows(forced):
                    raise ValueError(
                        f"an answer is to begin or end with id {forced}, which the tokenizer does not know"
                    )
            # What is no id of the model is never said anyway.
            most = max(known, tokenizer.vocab_size)
            banned = frozenset(number for number in answering.banned if number < most)
        return cls(ends, banned | tokenizer.unknown(known), tokenizer, answering)

    def voice(self, prompt_ids: Sequence[int], stops: Sequence[str]) -> Voice | None:
        """Return what turns a row's tokens into text, if there is a tokenizer."""
        return None if self.tokenizer is None else Voice(self.tokenizer, prompt_ids, stops)
