"""Normalisation: one way to write the same text, without changing what it says."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated

from pydantic import Field

from rootlm.core.config import Config
from rootlm.text.document import Rewrite

_LINE_ENDS = re.compile("\r\n?|[\x85\u2028\u2029]")
# Controls, zero-width spaces and marks of direction; joiners stay, for emoji and Persian need them.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]"
)
_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f]")
_TRAILING = re.compile("[ \t\u3000]+(?=\n)")
_WIDE_LETTERS = {
    code: code - 0xFEE0 for first, last in ("０９", "Ａｚ") for code in range(ord(first), ord(last) + 1)
}
_WIDE_LETTERS = {code: narrow for code, narrow in _WIDE_LETTERS.items() if chr(narrow).isalnum()}


class Normalise(Config):
    """Unicode NFC, `\\n` line ends, no control characters, no trailing spaces, few blank lines."""

    max_blank_lines: Annotated[int, Field(ge=0)] = 1
    """How many blank lines in a row are kept."""
    half_width: bool = False
    """Turn full-width letters and digits (Ａ１) into ASCII ones; Chinese punctuation stays as it is."""

    def build(self) -> Rewrite:
        """Return the rewrite."""
        longest = self.max_blank_lines + 1
        blank = re.compile("\n" * (longest + 1) + "+")

        def normalise(text: str) -> str:
            text = _LINE_ENDS.sub("\n", text)
            text = _SPACES.sub(" ", _INVISIBLE.sub("", text))
            if self.half_width:
                text = text.translate(_WIDE_LETTERS)
            text = unicodedata.normalize("NFC", text)
            return blank.sub("\n" * longest, _TRAILING.sub("", text)).strip(" \t\n\u3000")

        return normalise
