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
_INVISIBLE = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff"
)
_SPACES = "\u00a0\u1680\u2000-\u200a\u202f\u205f"
_REMOVED = re.compile(f"[{_INVISIBLE}]")
_WIDENED = re.compile(f"[{_SPACES}]")
_TRAILING = re.compile("[ \t\u3000]+(?=\n)")
_TRAILING_ENDS = (" \n", "\t\n", "\u3000\n")
# Most texts hold none of these, and one look is cheaper than three rewrites.
_STRANGE = re.compile(f"[{_INVISIBLE}{_SPACES}\r\x85\u2028\u2029]")


class Normalise(Config):
    """Unicode NFC, `\\n` line ends, no control characters, no trailing spaces, few blank lines."""

    max_blank_lines: Annotated[int, Field(ge=0)] = 1
    """How many blank lines in a row are kept."""

    def build(self) -> Rewrite:
        """Return the rewrite."""
        longest = self.max_blank_lines + 1
        blank = re.compile("\n" * (longest + 1) + "+")

        def normalise(text: str) -> str:
            if _STRANGE.search(text):
                text = _WIDENED.sub(" ", _REMOVED.sub("", _LINE_ENDS.sub("\n", text)))
            text = unicodedata.normalize("NFC", text)
            if any(trailing in text for trailing in _TRAILING_ENDS):
                text = _TRAILING.sub("", text)
            return blank.sub("\n" * longest, text).strip(" \t\n\u3000")

        return normalise
