"""The repetition rules of Gopher: does it say the same again? (Rae et al. 2021, arXiv:2112.11446, table A1.)"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from rootlm.core.config import Config
from rootlm.text.document import Rule
from rootlm.text.steps.word_split import Words, words

Share = Annotated[float, Field(ge=0, le=1)]
RunLimit = tuple[Annotated[int, Field(gt=0)], Share]
"""How many words a run has, and the largest share of the characters in such runs."""

_PARAGRAPHS = re.compile(r"\n{2,}")
_LINES = re.compile(r"\n+")


class GopherRepetition(Config):
    """Drop what repeats lines, paragraphs or runs of words; the limits are those of the paper's table.

    In Chinese a run is counted in Han characters. As 1.6 of them make an English word, the runs are longer by
    that and the shares stay: two words become three characters, ten become sixteen.
    """

    max_line_share: Share = 0.3
    """Largest share of lines that stood in the document before."""
    max_paragraph_share: Share = 0.3
    """Largest share of paragraphs that stood in the document before."""
    max_line_characters: Share = 0.2
    """Largest share of the characters in such lines."""
    max_paragraph_characters: Share = 0.2
    """Largest share of the characters in such paragraphs."""
    top_runs: tuple[RunLimit, ...] = ((2, 0.2), (3, 0.18), (4, 0.16))
    """[words, share]: the largest share of characters in all occurrences of the most frequent run."""
    repeated_runs: tuple[RunLimit, ...] = ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))
    """[words, share]: the largest share of characters in runs that stood in the document before."""
    chinese_top_runs: tuple[RunLimit, ...] = ((3, 0.2), (5, 0.18), (6, 0.16))
    """The same in Han characters, for text that is mainly Chinese."""
    chinese_repeated_runs: tuple[RunLimit, ...] = (
        (8, 0.15), (10, 0.14), (11, 0.13), (13, 0.12), (14, 0.11), (16, 0.10)
    )  # fmt: skip
    """The same in Han characters, for text that is mainly Chinese."""

    def build(self) -> Rule:
        """Return the rule; the first limit that is broken is the reason."""
        return lambda document: self.judge(document.text, None)

    def judge(self, text: str, found: Words | None) -> str | None:
        """Return which limit a text breaks; its words are counted only if its lines do not decide."""
        if not text:
            return "empty"
        return next(self.line_faults(text), None) or next(self.run_faults(text, found or words(text)), None)

    def line_faults(self, text: str) -> Iterator[str]:
        """Yield the limits broken by repeated paragraphs and lines."""
        kinds = (
            ("paragraphs", _PARAGRAPHS.split(text.strip()), self.max_paragraph_share, self.max_paragraph_characters),
            ("lines", _LINES.split(text), self.max_line_share, self.max_line_characters),
        )  # fmt: skip
        for name, parts, most, most_characters in kinds:
            count, characters = repeated(parts)
            if count / len(parts) > most:
                yield f"more than {most:.0%} of the {name} are repeated"
            if characters / len(text) > most_characters:
                yield f"more than {most_characters:.0%} of the characters in repeated {name}"

    def run_faults(self, text: str, found: Words) -> Iterator[str]:
        """Yield the limits broken by repeated runs of words."""
        from rootlm.text.steps.count_kernel import run_characters

        top_limits = self.chinese_top_runs if found.chinese else self.top_runs
        repeated_limits = self.chinese_repeated_runs if found.chinese else self.repeated_runs
        # Short documents have a run that occurs once and fills much of them: the reference drops these.
        unit, between, least = ("characters", 0, 2) if found.chinese else ("words", 1, 1)
        widths = sorted({width for width, _ in (*top_limits, *repeated_limits)})
        counts = run_characters(found.hashes, found.lengths, np.array(widths, dtype=np.int32), between, least)
        tops, repeats = (dict(zip(widths, count.tolist(), strict=True)) for count in counts)
        for width, most in top_limits:
            if tops[width] / len(text) > most:
                yield f"more than {most:.0%} of it is one run of {width} {unit}"
        for width, most in repeated_limits:
            if repeats[width] / len(text) > most:
                yield f"more than {most:.0%} of it in repeated runs of {width} {unit}"


def repeated(parts: Sequence[str]) -> tuple[int, int]:
    """Return how many parts stood before, and their characters.

    >>> repeated(["to be", "or not", "to be"])
    (1, 5)
    """
    unique = set(parts)
    if len(unique) == len(parts):
        return 0, 0
    return len(parts) - len(unique), sum(map(len, parts)) - sum(map(len, unique))
