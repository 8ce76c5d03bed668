"""When a text ends, and what of it may be shown: whole characters, nothing of a stop string."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rootlm.tokenizers.tokenizer import Tokenizer

Reason = Literal["stop", "length", "context"]
"""An end token or a stop string; max_new_tokens; the model can read no further."""

_SEEN_BEFORE = 8


class StopStrings:
    """Lets text through up to the first stop string, however the pieces fall.

    What could be the beginning of a stop string is held back until it is known. The string that is complete
    first counts, so that the text shown does not depend on how it was cut.

    >>> stops = StopStrings(["。\\n"])
    >>> [stops.feed(piece) for piece in ["疑是地上", "霜。", "举头。", "\\n望"]], stops.stopped
    (['疑是地上', '霜', '。举头', ''], True)
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = sorted(set(stops), key=len, reverse=True)
        self._held = ""
        self.stopped = False

    def feed(self, piece: str) -> str:
        """Take the next piece; returns what may be shown now."""
        if not self._stops:
            return piece
        if self.stopped:
            return ""
        text = self._held + piece
        found = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.stopped = True
            self._held = ""
            return text[: min(found)[1]]
        held = self._beginning(text)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def finish(self) -> str:
        """Return what was held back: the text ended, and it was no stop string after all."""
        held, self._held = self._held, ""
        return held

    def _beginning(self, text: str) -> int:
        """Return the length of the longest end of `text` that begins a stop string."""
        for length in range(min(len(self._stops[0]) - 1, len(text)), 0, -1):
            end = text[len(text) - length :]
            if any(stop.startswith(end) for stop in self._stops):
                return length
        return 0


class Voice:
    """Turns one row's tokens into the text that is shown, piece by piece."""

    def __init__(self, tokenizer: Tokenizer, prompt_ids: Sequence[int], stops: Sequence[str]) -> None:
        # Some tokenizers write a space only between words: the decoder must have seen the word before.
        before = [token for token in prompt_ids[-_SEEN_BEFORE:] if token not in tokenizer.special_ids]
        self._stream = tokenizer.stream()
        self._unseen = len(tokenizer.decode(before))
        self._stops = StopStrings(stops)
        for token in before:
            self._new(self._stream.feed(token))

    def say(self, token: int) -> str:
        """Take the next token; returns the text that it adds, which is empty while a character is torn."""
        piece = self._stream.feed(token)
        return self._stops.feed(self._new(piece) if self._unseen else piece)

    def finish(self) -> str:
        """Return the rest of a text that ended without a stop string."""
        if self._stops.stopped:
            return ""
        rest = self._stops.feed(self._new(self._stream.finish()))
        return rest + self._stops.finish()

    @property
    def stopped(self) -> bool:
        """Whether a stop string was said."""
        return self._stops.stopped

    def _new(self, piece: str) -> str:
        """Leave out what belongs to the prompt."""
        old = min(self._unseen, len(piece))
        self._unseen -= old
        return piece[old:]
