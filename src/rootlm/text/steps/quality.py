"""Quality rules: a document that is hardly text is dropped, with the reason."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated

import zstandard
from pydantic import Field

from rootlm.core.config import Config
from rootlm.text.document import Rule
from rootlm.text.steps.characters import profile

Share = Annotated[float, Field(ge=0, le=1)]
_FEWEST_LINES = 5
_FEWEST_BYTES = 200


class Quality(Config):
    """Limits for Chinese and English alike: a short poem passes, a table of figures does not."""

    min_characters: Annotated[int, Field(ge=0)] = 10
    """Fewest characters, spaces not counted."""
    max_characters: Annotated[int, Field(gt=0)] | None = None
    """Most characters, spaces not counted; null: no limit."""
    min_letter_share: Share = 0.5
    """Smallest share of letters (Han characters are letters) among the characters that are not spaces."""
    max_sign_share: Share = 0.15
    """Largest share of symbols and unassigned characters, lost ones (□, �) included."""
    max_repeated_line_share: Share = 0.3
    """Largest share of characters in lines that stood in the document before (from 5 lines on)."""
    max_compression: Annotated[float, Field(ge=1)] = 8.0
    """How many times smaller a document of 200 bytes or more may become when packed; text that says the
    same again and again packs well."""

    def build(self) -> Rule:
        """Return the rule; the first limit that is broken is the reason."""
        packer = zstandard.ZstdCompressor(level=1)
        too_many = self.max_characters if self.max_characters is not None else math.inf

        def broken(text: str) -> Iterator[str]:
            counts = profile(text)
            if counts.visible < max(self.min_characters, 1):
                yield f"fewer than {self.min_characters} characters"
            if counts.visible > too_many:
                yield f"more than {too_many} characters"
            if counts.letters < self.min_letter_share * counts.visible:
                yield f"less than {self.min_letter_share:.0%} letters"
            if counts.sign + counts.other > self.max_sign_share * counts.visible:
                yield f"more than {self.max_sign_share:.0%} symbols"
            if repeated_line_share(text) > self.max_repeated_line_share:
                yield f"more than {self.max_repeated_line_share:.0%} in repeated lines"
            if compression(text, packer) > self.max_compression:
                yield f"repeats itself (packs more than {self.max_compression:g} times)"

        return lambda document: next(broken(document.text), None)


def compression(text: str, packer: zstandard.ZstdCompressor | None = None) -> float:
    """Return how many times smaller a text becomes when packed; 1 for one of less than 200 bytes."""
    raw = text.encode()
    if len(raw) < _FEWEST_BYTES:
        return 1.0
    return len(raw) / len((packer or zstandard.ZstdCompressor(level=1)).compress(raw))


def repeated_line_share(text: str) -> float:
    """Return the share of the characters that stand in lines seen before; 0 for fewer than five lines.

    >>> round(repeated_line_share("a b\\nc d\\na b\\na b\\ne f"), 2)
    0.4
    """
    lines = [line for line in map(str.strip, text.split("\n")) if line]
    if len(lines) < _FEWEST_LINES:
        return 0.0
    total = sum(map(len, lines))
    return 1 - sum(map(len, set(lines))) / total
