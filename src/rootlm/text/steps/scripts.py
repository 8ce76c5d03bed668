"""Scripts and symbols: is it written in the wanted scripts, and are its words whole?"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rootlm.core.config import Config
from rootlm.text.document import Rule
from rootlm.text.steps.characters import codes, profile

Script = Literal[
    "Latin", "Cyrillic", "Greek", "Arabic", "Hebrew", "Devanagari", "Thai", "Other", "Han", "Kana", "Hangul"
]
Share = Annotated[float, Field(ge=0, le=1)]

_RANGES: dict[Script, tuple[tuple[int, int], ...]] = {
    "Latin": ((0x41, 0x2AF), (0x1E00, 0x1EFF), (0x2C60, 0x2C7F), (0xA720, 0xA7FF), (0xFF21, 0xFF5A)),
    "Cyrillic": ((0x400, 0x52F), (0x1C80, 0x1C8F), (0x2DE0, 0x2DFF), (0xA640, 0xA69F)),
    "Greek": ((0x370, 0x3FF), (0x1F00, 0x1FFF)),
    "Arabic": ((0x600, 0x6FF), (0x750, 0x77F), (0x8A0, 0x8FF), (0xFB50, 0xFDFF), (0xFE70, 0xFEFF)),
    "Hebrew": ((0x590, 0x5FF),),
    "Devanagari": ((0x900, 0x97F), (0xA8E0, 0xA8FF)),
    "Thai": ((0xE00, 0xE7F),),
    "Other": (),
    "Han": ((0x3005, 0x3007), (0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF)),
    "Kana": ((0x3041, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9D)),
    "Hangul": ((0x1100, 0x11FF), (0x3130, 0x318F), (0xAC00, 0xD7A3)),
}
_NAMES = tuple(_RANGES)
_NOTHING = len(_NAMES)
# From Han on, scripts are written without spaces and may touch any other: T恤, 阿Q, 買い物.
_FIRST_DENSE = _NAMES.index("Han")
_DENSE_WEIGHT = 3
_BASIC = 0x20000
_END = 0x110000


class Scripts(Config):
    """Drop documents in other scripts, with too many symbols, or with words that mix alphabets.

    A Han character or a syllable of kana or hangul counts as three letters, for it says as much.
    """

    wanted: tuple[Script, ...] = ("Han", "Latin")
    """The wanted scripts; what counts is their sum."""
    min_share: Share = 0.8
    """Smallest share of the wanted scripts among the letters."""
    max_mixed_words: Share = 0.1
    """Largest share of words in which letters of two alphabets touch, such as Latin and Cyrillic in рroduсt."""
    max_symbols: Share = 0.15
    """Largest share of symbols, boxes and lost characters (□, �) among what is no space."""
    max_marks: Share = 0.4
    """Largest share of symbols and punctuation together."""

    def build(self) -> Rule:
        """Return the rule; the first limit that is broken is the reason."""
        wanted = np.array([name in self.wanted for name in _NAMES])

        def broken(text: str) -> Iterator[str]:
            scripts = _table()[codes(text)]
            weights = _weights(scripts)
            if not weights.any():
                yield "no letters"
            if weights[wanted].sum() < self.min_share * weights.sum():
                yield f"less than {self.min_share:.0%} {' or '.join(self.wanted)}"
            if mixed_words(scripts) > self.max_mixed_words:
                yield f"more than {self.max_mixed_words:.0%} of the words mix alphabets"
            counts = profile(text)
            symbols = counts.sign + counts.other
            if symbols > self.max_symbols * counts.visible:
                yield f"more than {self.max_symbols:.0%} symbols"
            if symbols + counts.mark > self.max_marks * counts.visible:
                yield f"more than {self.max_marks:.0%} symbols and punctuation"

        return lambda document: next(broken(document.text), None)


def script_shares(text: str) -> dict[str, float]:
    """Return the share of every script among the letters of a text.

    >>> script_shares("月亮 moon!")
    {'Latin': 0.4, 'Han': 0.6}
    """
    weights = _weights(_table()[codes(text)])
    return {
        name: float(weight / weights.sum()) for name, weight in zip(_NAMES, weights, strict=True) if weight
    }


def mixed_words(scripts: NDArray[np.uint8]) -> float:
    """Return the share of words (runs of letters) in which two alphabets touch."""
    letters = scripts < _NOTHING
    begins = letters.copy()
    begins[1:] &= ~letters[:-1]
    alphabetic = scripts < _FIRST_DENSE
    clashes = np.flatnonzero(alphabetic[1:] & alphabetic[:-1] & (scripts[1:] != scripts[:-1])) + 1
    if len(clashes) == 0:
        return 0.0
    owners = np.searchsorted(np.flatnonzero(begins), clashes, side="right")
    return len(np.unique(owners)) / int(begins.sum())


def _weights(scripts: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return how many letters each script has, in the order of their names."""
    counts = np.bincount(scripts, minlength=_NOTHING + 1)[:_NOTHING]
    counts[_FIRST_DENSE:] *= _DENSE_WEIGHT
    return counts


@cache
def _table() -> NDArray[np.uint8]:
    """Return the script of every code point, as an index into the names."""
    table = np.full(_END, _NOTHING, dtype=np.uint8)
    letters = np.array([unicodedata.category(chr(code))[0] in "LM" for code in range(_BASIC)])
    table[:_BASIC][letters] = _NAMES.index("Other")
    # An accent belongs to whatever it stands on.
    table[0x300:0x370] = _NOTHING
    for name, ranges in _RANGES.items():
        for first, last in ranges:
            block = table[first : last + 1]
            block[block < _NOTHING] = _NAMES.index(name)
    table[_BASIC:0x40000] = _NAMES.index("Han")
    table[[ord("〇"), ord("々")]] = _NAMES.index("Han")
    return table
