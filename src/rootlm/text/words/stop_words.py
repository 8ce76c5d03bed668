"""Stop words: what a classical model hardly learns from. Our own lists for Chinese and English, and yours."""

from __future__ import annotations

from collections.abc import Container, Iterable
from importlib.resources import files
from pathlib import Path
from typing import Literal

from rootlm.core.config import Config
from rootlm.text.raw.faults import Faults
from rootlm.text.words.segment import word_lines


class StopWords(Config):
    """Which words are left out."""

    languages: tuple[Literal["zh", "en"], ...] = ("zh", "en")
    """Whose lists are used; Chinese ones are simplified and traditional."""
    add: tuple[str, ...] = ()
    """Files with further stop words, one a line."""
    keep: tuple[str, ...] = ()
    """Words of the lists that are no stop words here: [不, not]."""

    def build(self, faults: Faults | None = None) -> StopList:
        """Return the list; lines of the files that are no single word go to `faults`, which stops by default."""
        words: set[str] = set()
        for language in self.languages:
            words |= shipped(language)
        for name in self.add:
            words |= set(_read(Path(name), faults or Faults("stop")))
        return StopList(words - {word.casefold() for word in self.keep})


class StopList(Container[str]):
    """A set of words in which case does not count."""

    def __init__(self, words: Iterable[str]) -> None:
        self._words = frozenset(word.casefold().replace("’", "'") for word in words)

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and word.casefold().replace("’", "'") in self._words

    def __len__(self) -> int:
        return len(self._words)

    def without(self, words: Iterable[str]) -> list[str]:
        """Return the words that are not on the list.

        >>> StopWords().build().without(["The", "moon", "is", "我", "的", "月亮"])
        ['moon', '月亮']
        """
        return [word for word in words if word not in self]


def shipped(language: Literal["zh", "en"]) -> frozenset[str]:
    """Return the list of a language; words are separated by white space, and `#` begins a comment."""
    text = files("rootlm.text.words").joinpath(f"stop_words.{language}.txt").read_text(encoding="utf-8")
    return frozenset(word for line in text.splitlines() for word in line.partition("#")[0].split())


def _read(file: Path, faults: Faults) -> Iterable[str]:
    for number, text in word_lines(file, faults):
        if len(text.split()) == 1:
            yield text
            continue
        problem = f"{text!r} is more than one word, and stop words are looked up one by one"
        faults.report(f"{file}:{number}", "rejected word", problem, "write one word a line")
