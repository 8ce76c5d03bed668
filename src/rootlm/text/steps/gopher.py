"""The quality rules of Gopher: is this prose at all? (Rae et al. 2021, arXiv:2112.11446, appendix A1.1.)"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import numpy as np
from pydantic import Field

from rootlm.core.config import Config
from rootlm.text.document import Rule
from rootlm.text.steps.word_split import Words, words

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]

_BULLETS = ("•", "-")
_HAN_BULLETS = (*_BULLETS, "·", "●", "○", "■", "□", "◆", "◇", "▪", "►", "※", "★", "☆", "－", "—")
_ELLIPSES = ("...", "…")
_HAN_ELLIPSES = (*_ELLIPSES, "。。。")


class ChineseGopherQuality(Config):
    """The same limits for Chinese, where a word is a Han character, a mark or a run of other letters.

    An English word is about 1.6 Han characters, so counts grow and shares per word shrink by that. Words have
    no length in characters; a clause has, and it shows the same mistakes: a list of labels, text without marks.
    """

    min_words: Count = 80
    """Fewest Han characters and words of other scripts."""
    max_words: Annotated[int, Field(gt=0)] | None = 160_000
    """Most Han characters and words of other scripts; null: no limit."""
    min_mean_clause: Annotated[float, Field(ge=0)] = 2
    """Fewest words between two marks or spaces, on average."""
    max_mean_clause: Annotated[float, Field(gt=0)] = 60
    """Most words between two marks or spaces, on average."""
    max_symbol_ratio: Annotated[float, Field(ge=0)] = 0.06
    """Most # per word, and most ellipses per word; …… is one ellipsis."""
    max_bullet_lines: Share = 0.9
    """Largest share of lines that begin with a bullet."""
    max_ellipsis_lines: Share = 0.3
    """Largest share of lines that end with an ellipsis."""
    min_alphabetic: Share = 0.7
    """Smallest share of words with a letter; marks are words, and a verse of four characters has one each."""
    min_stop_words: Count = 2
    """How many of the stop words must occur."""
    stop_words: tuple[str, ...] = tuple("的是不了在有和这這我他也就都一与與之而其以于於者为為")
    """Function words of modern and classical Chinese, simplified and traditional."""


class GopherQuality(Config):
    """Drop what is no running prose; the limits are those of the paper's table, for spaced text.

    A text that is mainly Chinese is held to `chinese` instead.
    """

    min_words: Count = 50
    """Fewest words; marks are not counted."""
    max_words: Annotated[int, Field(gt=0)] | None = 100_000
    """Most words; null: no limit."""
    min_mean_length: Annotated[float, Field(ge=0)] = 3
    """Fewest characters in a word, on average."""
    max_mean_length: Annotated[float, Field(gt=0)] = 10
    """Most characters in a word, on average."""
    max_symbol_ratio: Annotated[float, Field(ge=0)] = 0.1
    """Most # per word, and most ellipses per word."""
    max_bullet_lines: Share = 0.9
    """Largest share of lines that begin with a bullet."""
    max_ellipsis_lines: Share = 0.3
    """Largest share of lines that end with an ellipsis."""
    min_alphabetic: Share = 0.8
    """Smallest share of words with a letter; a mark is a word here."""
    min_stop_words: Count = 2
    """How many of the stop words must occur."""
    stop_words: tuple[str, ...] = ("the", "be", "to", "of", "and", "that", "have", "with")
    """The paper's list, for English."""
    chinese: ChineseGopherQuality = ChineseGopherQuality()
    """The limits for text that is mainly Chinese."""

    def build(self) -> Rule:
        """Return the rule; the first limit that is broken is the reason."""
        return lambda document: self.judge(document.text, words(document.text))

    def judge(self, text: str, found: Words) -> str | None:
        """Return which limit a text breaks, its words being known."""
        return next(self.chinese_faults(text, found) if found.chinese else self.faults(text, found), None)

    def faults(self, text: str, found: Words) -> Iterator[str]:
        """Yield the limits that spaced text breaks, in the paper's order."""
        real, characters, alphabetic = _counts(found)
        yield from _size_faults(real, self, "words")
        mean = characters / real if real else 0.0
        if mean < self.min_mean_length:
            yield f"words shorter than {self.min_mean_length:g} characters on average"
        if mean > self.max_mean_length:
            yield f"words longer than {self.max_mean_length:g} characters on average"
        ellipses = text.count("...") + text.count("…")
        yield from _symbol_faults(text.count("#"), ellipses, len(found), self.max_symbol_ratio)
        yield from _line_faults(text, self, _BULLETS, _ELLIPSES)
        yield from _word_faults(found, alphabetic, self)

    def chinese_faults(self, text: str, found: Words) -> Iterator[str]:
        """Yield the limits that Chinese text breaks, in the same order."""
        limits = self.chinese
        real, _, alphabetic = _counts(found)
        yield from _size_faults(real, limits, "Chinese characters")
        clauses = _clauses(found)
        mean = real / clauses if clauses else 0.0
        if mean < limits.min_mean_clause:
            yield f"clauses shorter than {limits.min_mean_clause:g} characters on average"
        if mean > limits.max_mean_clause:
            yield f"clauses longer than {limits.max_mean_clause:g} characters on average"
        doubled = text.count("……")
        ellipses = text.count("...") + text.count("…") - doubled + text.count("。。。")
        yield from _symbol_faults(text.count("#"), ellipses, len(found), limits.max_symbol_ratio)
        yield from _line_faults(text, limits, _HAN_BULLETS, _HAN_ELLIPSES)
        yield from _word_faults(found, alphabetic, limits)


Limits = GopherQuality | ChineseGopherQuality


def _counts(found: Words) -> tuple[int, int, int]:
    """Return how many words are no marks, how many characters they have, and how many words hold a letter."""
    from rootlm.text.steps.count_kernel import count_words

    return count_words(found.points, found.classes, found.starts, found.ends)


def _clauses(found: Words) -> int:
    """Return into how many runs marks and spaces cut the words of a Chinese text."""
    from rootlm.text.steps.word_kernel import MARK

    real = (found.classes[found.starts] & MARK) == 0
    starts, ends = found.starts[real], found.ends[real]
    return int(np.count_nonzero(starts[1:] != ends[:-1])) + 1 if len(starts) else 0


def _size_faults(count: int, limits: Limits, unit: str) -> Iterator[str]:
    if count < max(limits.min_words, 1):
        yield f"fewer than {max(limits.min_words, 1):,} {unit}"
    if limits.max_words is not None and count > limits.max_words:
        yield f"more than {limits.max_words:,} {unit}"


def _symbol_faults(hashes: int, ellipses: int, count: int, most: float) -> Iterator[str]:
    if hashes / max(count, 1) > most:
        yield f"more than {most:g} # per word"
    if ellipses / max(count, 1) > most:
        yield f"more than {most:g} ellipses per word"


def _line_faults(
    text: str, limits: Limits, bullets: tuple[str, ...], ellipses: tuple[str, ...]
) -> Iterator[str]:
    lines = text.splitlines()
    count = max(len(lines), 1)
    if sum(line.lstrip().startswith(bullets) for line in lines) / count > limits.max_bullet_lines:
        yield f"more than {limits.max_bullet_lines:.0%} of the lines begin with a bullet"
    if sum(line.rstrip().endswith(ellipses) for line in lines) / count > limits.max_ellipsis_lines:
        yield f"more than {limits.max_ellipsis_lines:.0%} of the lines end with an ellipsis"


def _word_faults(found: Words, alphabetic: int, limits: Limits) -> Iterator[str]:
    if alphabetic / max(len(found), 1) < limits.min_alphabetic:
        yield f"less than {limits.min_alphabetic:.0%} of the words hold a letter"
    if found.count_of(limits.stop_words, limits.min_stop_words) < limits.min_stop_words:
        yield f"fewer than {limits.min_stop_words} different stop words"
