"""A text as words with the white space before them, so that words can move and the text still reads well."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_NEW = -1


@dataclass
class Word:
    """A word or mark of a text."""

    text: str
    gap: str
    """The white space before it."""
    origin: int
    """Where it stood; `_NEW` for what stood nowhere."""


class Sentence:
    """The words of a text, open to changes.

    >>> sentence = Sentence(["I", " ", "like", " ", "green", " ", "tea", "."])
    >>> sentence.drop([2])
    >>> sentence.swap(0, 3)
    >>> sentence.insert(1, "very")
    >>> str(sentence)
    'tea very like I.'
    """

    def __init__(self, pieces: Iterable[str]) -> None:
        self._words: list[Word] = []
        gap = ""
        for piece in pieces:
            if piece.isspace():
                gap += piece
            else:
                self._words.append(Word(piece, gap, len(self._words)))
                gap = ""
        self._tail = gap
        self._before: dict[int, list[Word]] = {}
        self._dropped: set[int] = set()
        self.places: Sequence[int] = [
            place for place, word in enumerate(self._words) if any(map(str.isalnum, word.text))
        ]
        """Where the words are, marks left out; they stay the same through all changes."""

    def text_at(self, place: int) -> str:
        """Return the word that stands at a place."""
        return self._words[place].text

    def drop(self, places: Iterable[int]) -> None:
        """Leave words out; a line end before them stays."""
        self._dropped.update(places)

    def swap(self, one: int, other: int) -> None:
        """Exchange two words."""
        first, second = self._words[one], self._words[other]
        first.text, second.text = second.text, first.text
        first.origin, second.origin = second.origin, first.origin

    def replace(self, place: int, text: str) -> None:
        """Put another word at a place."""
        if text != self._words[place].text:
            self._words[place] = Word(text, self._words[place].gap, _NEW)

    def insert(self, place: int, text: str) -> None:
        """Put another word before a place."""
        self._before.setdefault(place, []).append(Word(text, "", _NEW))

    def __str__(self) -> str:
        parts: list[str] = []
        last, lost = Word("", "", _NEW), ""
        for place, word in enumerate(self._words):
            if place in self._dropped:
                lost = _wider(lost, word.gap)
                continue
            gap, lost = _wider(lost, word.gap), ""
            if not parts and place - 1 in self._dropped:
                gap = gap.lstrip(" ")
            for new in (*self._before.get(place, ()), word):
                parts += [gap or (" " if _collide(last, new) else ""), new.text]
                last, gap = new, ""
        return "".join(parts) + self._tail


def _collide(left: Word, right: Word) -> bool:
    """Say whether two words that did not touch before would become one."""
    if left.origin != _NEW and right.origin == left.origin + 1:
        return False
    return _is_spaced(left.text[-1:]) and _is_spaced(right.text[:1])


def _wider(one: str, other: str) -> str:
    """Return the gap that parts more: a line end before a space before nothing."""
    return max(one, other, key=lambda gap: (gap.count("\n"), bool(gap)))


def _is_spaced(character: str) -> bool:
    """Say whether a character belongs to a word that spaces set apart: letters and digits that are not Han."""
    return character.isalnum() and not "\u2e80" <= character <= "\u9fff" and character < "\uf900"
