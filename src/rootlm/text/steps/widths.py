"""Widths: letters and digits half or full width, and punctuation full width beside Han characters."""

from __future__ import annotations

import re
from typing import Literal

from rootlm.core.config import Config
from rootlm.text.document import Rewrite

_SHIFT = 0xFEE0
_WIDE_RANGES = (("０", "９"), ("Ａ", "Ｚ"), ("ａ", "ｚ"))
_NARROW = {code: code - _SHIFT for first, last in _WIDE_RANGES for code in range(ord(first), ord(last) + 1)}
_WIDE = {narrow: wide for wide, narrow in _NARROW.items()}
_HAS_WIDE = re.compile("[０-９Ａ-Ｚａ-ｚ]")
_HAS_NARROW = re.compile("[0-9A-Za-z]")
_HAN = "㐀-䶿一-鿿豈-﫿\U00020000-\U0003ffff〇"
_CLOSERS = "）”’」』》〉】"
_OPENERS = "（“‘「『《〈【"
_FULL = {",": "，", ".": "。", ";": "；", ":": "：", "!": "！", "?": "？", "(": "（", ")": "）"}
_HALF = {full: half for half, full in _FULL.items() if half != "."} | {"．": "."}
# A comma or dot widens behind Chinese and before Chinese or an end: never in 3.14, f(x) or 3:1.
_MARKS = re.compile(f"(?<=[{_HAN}{_CLOSERS}])(?:[,;:!?]+|\\.(?!\\.))(?=[{_HAN}{_OPENERS}{_CLOSERS}\\s]|\\Z)")
_BRACKETS = re.compile(f"\\(([^()\\n]*[{_HAN}][^()\\n]*)\\)")
_LONE = re.compile(f"(?<![{_HAN}])[，；：！？（）．](?![{_HAN}])")


class Widths(Config):
    """Write letters, digits and Chinese punctuation in one width. Chinese marks stay as they are by default."""

    letters: Literal["half", "full"] | None = "half"
    """Full-width letters and digits (Ａ１) become half width, or the reverse; null: they stay."""
    punctuation: Literal["full", "half"] | None = None
    """full: , . ; : ! ? beside Han characters and brackets around them become full width. half: full-width
    marks that touch no Han character become half width. null: punctuation stays as it is."""

    def build(self) -> Rewrite:
        """Return the rewrite."""
        found, table = (_HAS_WIDE, _NARROW) if self.letters == "half" else (_HAS_NARROW, _WIDE)
        marks = {"full": widened, "half": narrowed}.get(self.punctuation or "")

        def rewrite(text: str) -> str:
            if self.letters and found.search(text):
                text = text.translate(table)
            return marks(text) if marks else text

        return rewrite


def half_width(text: str) -> str:
    """Return the text with half-width letters and digits.

    >>> half_width("ＡＢ１２，（！）")
    'AB12，（！）'
    """
    return text.translate(_NARROW) if _HAS_WIDE.search(text) else text


def widened(text: str) -> str:
    """Return the text with full-width punctuation beside Han characters.

    >>> widened("你好,世界!(是的)f(x)=3.14,版本2.0,好.")
    '你好，世界！（是的）f(x)=3.14,版本2.0,好。'
    """
    while (better := _BRACKETS.sub(r"（\1）", text)) != text:
        text = better
    return _MARKS.sub(lambda match: "".join(map(_FULL.__getitem__, match[0])), text)


def narrowed(text: str) -> str:
    """Return the text with half-width punctuation where no Han character is beside it.

    >>> narrowed("hello，world（yes）！你好，世界！")
    'hello,world(yes)！你好，世界！'
    """
    return _LONE.sub(lambda match: _HALF[match[0]], text)
