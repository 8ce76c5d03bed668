"""What a text is made of: how many letters, Han characters, signs and spaces, counted in one pass."""

from __future__ import annotations

import unicodedata
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_KINDS = ("other", "space", "mark", "digit", "sign", "letter", "latin", "han", "kana", "hangul")
_WRITTEN: NDArray[np.bool_] = np.array([kind not in ("other", "space", "mark", "sign") for kind in _KINDS])
_SUPPLEMENT = 0x20000
_HAN_END = 0x40000
_BLOCK = 1 << 20
_BY_CATEGORY = {"L": "letter", "M": "letter", "N": "digit", "P": "mark", "S": "sign", "Z": "space"}
_RANGES = {
    "latin": ((0x0041, 0x024F), (0x1E00, 0x1EFF), (0xFF21, 0xFF5A)),
    "han": ((0x3400, 0x9FFF), (0xF900, 0xFAFF)),
    "kana": ((0x3041, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9D)),
    "hangul": ((0x1100, 0x11FF), (0xAC00, 0xD7A3)),
}


class Profile(NamedTuple):
    """Counts of characters by kind; every character is in exactly one."""

    other: int
    """Unassigned, private and control characters."""
    space: int
    mark: int
    """Punctuation."""
    digit: int
    sign: int
    """Symbols: mathematics, currencies, emoji, boxes, the sign for a lost character."""
    letter: int
    """Letters of further scripts, and accents."""
    latin: int
    han: int
    kana: int
    hangul: int

    @property
    def letters(self) -> int:
        """Letters of every script."""
        return self.letter + self.latin + self.han + self.kana + self.hangul

    @property
    def visible(self) -> int:
        """All but spaces."""
        return sum(self) - self.space


@lru_cache(maxsize=1)
def profile(text: str) -> Profile:
    """Count the characters of a text by kind.

    >>> counts = profile("床前明月光，hello 42!")
    >>> counts.han, counts.latin, counts.mark, counts.digit, counts.space
    (5, 5, 2, 2, 1)
    """
    counts = np.zeros(len(_KINDS), dtype=np.int64)
    for start in range(0, len(text), _BLOCK):
        counts += np.bincount(kinds_of(codes(text[start : start + _BLOCK])), minlength=len(_KINDS))
    return Profile(*counts.tolist())


def codes(text: str) -> NDArray[np.uint32]:
    """Return the code point of every character."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def kinds_of(points: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Return the kind of every code point, for `is_written` and `is_han`."""
    return _table()[points]


def is_written(kinds: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which kinds are letters or digits."""
    found: NDArray[np.bool_] = _WRITTEN[kinds]
    return found


def is_han(kinds: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which kinds are Han characters."""
    found: NDArray[np.bool_] = kinds == _KINDS.index("han")
    return found


@cache
def _table() -> NDArray[np.uint8]:
    """Return the kind of every code point, as an index into the names."""
    table = np.zeros(0x110000, dtype=np.uint8)
    table[_SUPPLEMENT:_HAN_END] = _KINDS.index("han")
    categories = [unicodedata.category(chr(code)) for code in range(_SUPPLEMENT)]
    kinds = {category: _KINDS.index(_BY_CATEGORY.get(category[0], "other")) for category in set(categories)}
    table[:_SUPPLEMENT] = [kinds[category] for category in categories]
    for kind, ranges in _RANGES.items():
        for first, last in ranges:
            block = table[first : last + 1]
            block[block == _KINDS.index("letter")] = _KINDS.index(kind)
    table[[ord(character) for character in "\t\n\r"]] = _KINDS.index("space")
    table[ord("〇")] = _KINDS.index("han")
    return table
