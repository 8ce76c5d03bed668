"""The quality rules of FineWeb: do the lines look like prose? (Penedo et al. 2024, arXiv:2406.17557, section 3.6.)"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from rootlm.core.config import Config
from rootlm.text.document import Rule
from rootlm.text.steps.repetition import repeated
from rootlm.text.steps.word_split import STOPS, Words, is_chinese, words

Share = Annotated[float, Field(ge=0, le=1)]
_HAN_ENDS = (*STOPS, "…", "”", "’", "」", "』", "）", "；", ")", '"')


class ChineseFineWebQuality(Config):
    """The same limits for Chinese: thirty letters are about ten Han characters, a word is 1.6 of them."""

    min_ended_lines: Share = 0.12
    """Smallest share of lines that end with a mark that ends a sentence, or closes a quote after it."""
    max_short_lines: Share = 0.67
    """Largest share of short lines."""
    short_line: Annotated[int, Field(ge=0)] = 10
    """Most characters of a short line; a line of verse in two halves has twelve or more."""
    max_repeated_characters: Share = 0.01
    """Largest share of characters in lines that stood in the document before."""
    max_lines_per_word: Annotated[float, Field(ge=0)] = 0.19
    """Most line ends per Han character or mark."""


class FineWebQuality(Config):
    """Drop lists, menus and what repeats its lines; the limits are FineWeb's, for spaced text.

    A text that is mainly Chinese is held to `chinese` instead.
    """

    min_ended_lines: Share = 0.12
    """Smallest share of lines that end with a mark that ends a sentence."""
    max_short_lines: Share = 0.67
    """Largest share of short lines."""
    short_line: Annotated[int, Field(ge=0)] = 30
    """Most characters of a short line."""
    max_repeated_characters: Share = 0.01
    """Largest share of characters in lines that stood in the document before."""
    max_lines_per_word: Annotated[float, Field(ge=0)] = 0.3
    """Most line ends per word; a mark is a word here."""
    chinese: ChineseFineWebQuality = ChineseFineWebQuality()
    """The limits for text that is mainly Chinese."""

    def build(self) -> Rule:
        """Return the rule; the first limit that is broken is the reason."""
        return lambda document: self.judge(document.text, None)

    def judge(self, text: str, found: Words | None) -> str | None:
        """Return which limit a text breaks; its words are counted only if its lines do not decide."""
        return next(self._faults(text, found), None)

    def _faults(self, text: str, found: Words | None) -> Iterator[str]:
        lines = [line for line in text.split("\n") if line and not line.isspace()]
        if not lines:
            yield "empty"
            return
        chinese = found.chinese if found else is_chinese(text)
        limits = self.chinese if chinese else self
        ends = _HAN_ENDS if chinese else STOPS
        if sum(line.endswith(ends) for line in lines) / len(lines) < limits.min_ended_lines:
            yield f"less than {limits.min_ended_lines:.0%} of the lines end a sentence"
        if sum(len(line) <= limits.short_line for line in lines) / len(lines) > limits.max_short_lines:
            short = f"{limits.max_short_lines:.0%} of the lines have {limits.short_line} characters or fewer"
            yield f"more than {short}"
        line_ends = text.count("\n")
        if repeated(lines)[1] / (len(text) - line_ends) > limits.max_repeated_characters:
            yield f"more than {limits.max_repeated_characters:.0%} of the characters in repeated lines"
        if line_ends / max(len(found or words(text)), 1) > limits.max_lines_per_word:
            yield f"more than {limits.max_lines_per_word:g} line ends per {'character' if chinese else 'word'}"
