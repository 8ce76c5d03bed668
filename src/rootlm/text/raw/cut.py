"""Cut a long text into pieces at natural borders, the same in two copies of a book."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

# Best first: after a blank line, a line, a sentence, a word.
_BORDERS = (
    re.compile(r"\n\s*\n"),
    re.compile(r"\n"),
    re.compile(r"[。！？…][”’」』）]*|[.!?][\"')]*\s"),
    re.compile(r"\s"),
)
# Where two borders are equally good, the alphabet decides between the characters before them.
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
    start, least, tail = 0, max(longest // 2, 1), longest // 4
    while (left := len(text) - start) > (2 * longest if more else longest):
        low = start + least
        end = _border(text, low, max(low, start + min(longest, left - tail)))
        yield Piece(start, text[start:end])
        start = end
    if start < len(text) or start == 0:
        yield Piece(start, text[start:])


def _border(text: str, low: int, high: int) -> int:
    for pattern in _BORDERS:
        ends = [match.end() for match in pattern.finditer(text, low, high)]
        if ends:
            return min(ends, key=lambda end: text[max(end - _WITNESS, 0) : end])
    return high
