"""Lists of unwanted words: a document with too many of them is dropped; what they are is never repeated."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from rootlm.core.config import Config
from rootlm.text.document import Rule
from rootlm.text.steps.characters import profile
from rootlm.text.steps.widths import half_width

Share = Annotated[float, Field(ge=0, le=1)]
_LONGEST = 200


class WordList(Config):
    """Drop documents with too many words of a list; case and the width of letters do not matter.

    A word of letters matches whole words only; a Chinese one matches anywhere, for there are no spaces.
    """

    files: Annotated[tuple[str, ...], Field(min_length=1)]
    """Files of one word or phrase per line, in UTF-8; a line that begins with # is a comment."""
    max_count: Annotated[int, Field(ge=0)] | None = 0
    """Most matches of one list in a document; null: no limit. 0 is C4's rule (Raffel et al. 2020)."""
    max_share: Share = 1.0
    """Largest share of the characters, spaces not counted, that stand in matches of one list."""

    def build(self) -> Rule:
        """Return the rule; raises ValueError for a list that is missing or has a bad line, naming the line."""
        lists = [(Path(file).name, read_words(Path(file))) for file in self.files]
        finder = WordFinder([words for _, words in lists])

        def judge(text: str) -> Iterator[str]:
            for (name, _), sizes in zip(lists, finder.find(text), strict=True):
                if self.max_count is not None and len(sizes) > self.max_count:
                    yield f"more than {self.max_count:,} words of the list {name}"
                if sum(sizes) > self.max_share * profile(text).visible:
                    yield f"more than {self.max_share:.1%} in words of the list {name}"

        return lambda document: next(judge(document.text), None)


class WordFinder:
    """Finds the words of several lists in one pass over a text (Aho and Corasick 1975)."""

    def __init__(self, lists: Iterable[Iterable[str]]) -> None:
        from ahocorasick_rs import AhoCorasick

        self._owners: list[list[int]] = []
        places: dict[str, int] = {}
        for owner, words in enumerate(lists):
            self._lists = owner + 1
            for word in dict.fromkeys(map(folded, words)):
                place = places.setdefault(word, len(places))
                if place == len(self._owners):
                    self._owners.append([])
                self._owners[place].append(owner)
        self._automaton = AhoCorasick(list(places))

    def find(self, text: str) -> list[list[int]]:
        """Return, for every list, the characters of each match: the longest first, and none inside another."""
        text = folded(text)
        found: list[list[int]] = [[] for _ in range(self._lists)]
        matches = self._automaton.find_matches_as_indexes(text, overlapping=True)
        free = [0] * self._lists
        for word, start, end in sorted(matches, key=lambda match: (match[1], -match[2])):
            if _splits(text, start) or _splits(text, end):
                continue
            for owner in self._owners[word]:
                if start >= free[owner]:
                    free[owner] = end
                    found[owner].append(end - start)
        return found


def folded(text: str) -> str:
    """Return the text without differences of case and width.

    >>> folded("ＢAD Straße")
    'bad strasse'
    """
    return half_width(text).casefold()


def read_words(file: Path) -> list[str]:
    """Read a list; raises ValueError naming file and line for one that is no word."""
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror}); name a file of words") from error
    words: list[str] = []
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            word = line.decode().strip()
        except UnicodeDecodeError:
            raise ValueError(f"{file}:{number}: not UTF-8; write the list in UTF-8") from None
        if not word or word.startswith("#"):
            continue
        if problem := _problem(word):
            raise ValueError(
                f"{file}:{number}: {problem}; write one word or phrase per line, comments behind #"
            )
        words.append(word)
    if not words:
        raise ValueError(f"{file}: holds no word; write one per line")
    return words


def _problem(word: str) -> str:
    """Return what is wrong with a line of a list, or nothing."""
    if any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn") for character in word):
        return "a tab or another control character"
    if len(word) > _LONGEST:
        return f"longer than {_LONGEST} characters"
    if not any(character.isalnum() for character in word):
        return "no letter and no digit"
    return ""


def _splits(text: str, place: int) -> bool:
    """Return whether a place lies inside a word of a script that is written with spaces."""
    return 0 < place < len(text) and _is_spaced(text[place - 1]) and _is_spaced(text[place])


def _is_spaced(character: str) -> bool:
    """Return whether a character is part of a word in a script with spaces; hangul takes endings, so it is not.

    >>> [_is_spaced(character) for character in "aé9я字あ한 ."]
    [True, True, True, True, False, False, False, False, False]
    """
    return character.isalnum() and (character < "\u2e80" or "\ua4d0" <= character < "\uac00")
