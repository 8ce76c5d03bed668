"""The lines of a paragraph become one: a space between words, none between Chinese characters."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable
from typing import NamedTuple

# Characters of scripts without spaces, and the punctuation that is as wide as they are.
WIDE = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uff60\uffe0-\uffe6\U00020000-\U0003ffff"
_WIDE = re.compile(f"[{WIDE}]")
# Between a Han character and a Latin word a space is good style; beside these there is none.
_WIDE_MARK = re.compile("[\u3000-\u303f\uff00-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff60]")
_SOFT = "\u00ad"
# The last is how PDFium writes a hyphen that ends a line.
_HYPHENS = f"-{_SOFT}\u2010\ufffe"
_BROKEN = re.compile(rf"((?:[^\W\d_]|['’-])*[^\W\d_])[{_HYPHENS}]$")
WORD = re.compile(r"[^\W\d_](?:[^\W\d_]|['’-])*")
_LONGEST_WORD = 64
_MEETING = re.compile(r"(?<=[\u3400-\u9fff])( ?)([A-Za-z0-9])")


class Habits(NamedTuple):
    """How a document writes: its words in lower case, and where Han characters meet others with a space."""

    words: Container[str] = frozenset()
    spaced_letters: bool = True
    spaced_digits: bool = False

    @classmethod
    def of(cls, texts: Iterable[str]) -> Habits:
        """Observe them in the lines of a document; most of either decides, a word of Latin letters is spaced."""
        words: set[str] = set()
        spaced, close = Counter[str](), Counter[str]()
        for text in texts:
            words.update(word.lower() for word in WORD.findall(text))
            for gap, kind in _MEETING.findall(text):
                (spaced if gap else close)["0" if kind.isdigit() else "a"] += 1
        return cls(words, spaced["a"] >= close["a"], spaced["0"] > close["0"])


def flowing(lines: Iterable[str], habits: Habits | None = None) -> str:
    """Join the lines of a paragraph, as the document has the habit of writing.

    With habits, a hyphen at the end of a line is taken away, unless the document elsewhere writes the word
    with it and never without.

    >>> flowing(["明月几时有？", "把酒问青天。"]), flowing(["a bright", "moon"])
    ('明月几时有？把酒问青天。', 'a bright moon')
    >>> flowing(["the hyphen-", "ation of a well-", "known word"], Habits({"well-known"}))
    'the hyphenation of a well-known word'
    """
    parts: list[str] = []
    for line in lines:
        right = line.strip()
        if right and parts:
            parts[-1] = _ended(parts[-1], right, habits)
        if right:
            parts.append(right)
    return "".join(parts).replace("\ufffe", "-").replace(_SOFT, "")


def _ended(left: str, right: str, habits: Habits | None) -> str:
    """Return the left line with what belongs between the two."""
    if habits and right[0].isalpha() and not _WIDE.match(right):
        broken = _BROKEN.search(left[-_LONGEST_WORD:])
        if broken:
            return left[:-1] + ("-" if _is_written(broken[1], left[-1], right, habits.words) else "")
    wide = bool(_WIDE.match(left[-1])), bool(_WIDE.match(right))
    if all(wide) or _WIDE_MARK.match(left[-1]) or _WIDE_MARK.match(right):
        return left
    if not any(wide):
        return left + " "
    habits = habits or Habits()
    other = right[0] if wide[0] else left[-1]
    return left + (" " if (habits.spaced_digits if other.isdigit() else habits.spaced_letters) else "")


def _is_written(start: str, hyphen: str, right: str, words: Container[str]) -> bool:
    """Whether a hyphen between two lines belongs to the word."""
    end = WORD.match(right)
    rest = end[0] if end else right[0]
    plain, hyphenated = f"{start}{rest}".lower(), f"{start}-{rest}".lower()
    return hyphen != _SOFT and plain not in words and (rest[0].isupper() or hyphenated in words)
