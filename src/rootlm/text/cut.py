"""Cut a long text into pieces at natural borders, the same in two copies of a book."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import NamedTuple

# Best first: after a blank line, a line, a sentence, a word.
_BORDERS = (
    re.compile(r"\n\s*\n"),
    re.compile(r"\n"),
    re.compile(r"[。！？…][”’」』）]*|[.!?][\"')]*\s"),
    re.compile(r"\s"),
)
_WITNESS = 32


class Piece(NamedTuple):
    """A part of a text and where it starts, in characters."""

    start: int
    text: str


def cut(text: str, longest: int, more: bool = False) -> Iterator[Piece]:
    """Yield pieces of at most `longest` characters whose texts join to `text`.

    The border is chosen by the characters before it, not by counting from the start: after a passage that
    only one of two copies has, their pieces become the same again, so that duplicates are still found.
    With `more` the text goes on later: what comes last is at least `longest` long and may be cut again.

    >>> [piece.text for piece in cut("One fish. Two fish. Red fish. Blue fish.", 20)]
    ['One fish. Two fish. ', 'Red fish. Blue fish.']
    """
    start, smallest = 0, max(longest // 4, 1)
    while len(text) - start > (2 * longest if more else longest):
        high = start + min(longest, max(len(text) - start - smallest, smallest))
        end = _border(text, start + smallest, high)
        yield Piece(start, text[start:end])
        start = end
    if start < len(text) or start == 0:
        yield Piece(start, text[start:])


def _border(text: str, low: int, high: int) -> int:
    for pattern in _BORDERS:
        ends = [match.end() for match in pattern.finditer(text, low, high)]
        if ends:
            return min(
                ends, key=lambda end: zlib.crc32(text[end - _WITNESS if end > _WITNESS else 0 : end].encode())
            )
    return high
