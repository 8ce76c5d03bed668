"""Ids become text one at a time, and only whole characters come out."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Protocol

_UNSETTLED_TOKENS = 4
# A clean-up rule of the known decoders (" n't", " ' s") joins at most this many tokens.


class StreamDecoder(Protocol):
    """What `feed` returned, joined with what `finish` returns, equals decoding all ids at once."""

    def feed(self, token_id: int) -> str:
        """Take one id; return the text that is now certain, often empty."""

    def finish(self) -> str:
        """Return what is left; an unfinished character becomes U+FFFD."""


class ByteStream:
    """For tokens that stand for fixed bytes, whatever stands beside them."""

    def __init__(self, table: Mapping[int, bytes], drops_first_space: bool) -> None:
        self._table = table
        self._waits_for_space = drops_first_space
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, token_id: int) -> str:
        """Take one id; return the characters that it completes."""
        return self._unindented(self._decoder.decode(self._table[token_id]))

    def finish(self) -> str:
        """Return U+FFFD for bytes that never became a character, else nothing."""
        return self._unindented(self._decoder.decode(b"", final=True))

    def _unindented(self, text: str) -> str:
        if text and self._waits_for_space:
            self._waits_for_space = False
            return text.removeprefix(" ")
        return text


class WholeStream:
    """For decoders that look at neighbours: decodes everything so far, holds the last few tokens back."""

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._said = ""

    def feed(self, token_id: int) -> str:
        """Take one id; return text that later ids no longer change."""
        self._ids.append(token_id)
        before, now = self._decode(self._ids[:-_UNSETTLED_TOKENS]), self._decode(self._ids)
        agreed = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, now, strict=False)))
        return self._say(now[:agreed].rstrip("\ufffd "))

    def finish(self) -> str:
        """Return the text held back."""
        return self._say(self._decode(self._ids))

    def _say(self, text: str) -> str:
        if not text.startswith(self._said):
            return ""
        new = text[len(self._said) :]
        self._said = text
        return new
