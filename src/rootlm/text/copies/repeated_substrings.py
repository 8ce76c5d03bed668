"""Passages that stand in the corpus before, letter by letter: where they are, and a text without them.

A window is the shortest run of characters from some place on that weighs `min_characters`; a passage is what
windows cover that stood in the corpus before. The whole corpus is compared: first one hash in about seventeen,
chosen so that a repeated window has all of its own chosen twice, then every window of which that is true, by
96 bits. The first occurrence is that of the earliest document; windows that overlap their own first
occurrence are no repeat of it, so that `-----` keeps its first window.

What is not found: up to two last letters of a passage that a Han character ends before; what became a
repeat only because something between was taken out. Memory holds one document whole.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from rootlm.text.copies.repeat_keys import (
    EARLIER,
    OFTEN,
    Counted,
    Hashes,
    Keys,
    Told,
    compare,
    count,
    told,
    write_parts,
)
from rootlm.text.copies.repeat_settings import RepeatedSubstrings
from rootlm.text.copies.repeated_lines import Spans
from rootlm.text.pipeline.leaf import Leaf
from rootlm.text.pipeline.pool import Engine
from rootlm.text.steps.characters import codes, is_han, kinds_of

_CHARACTER_BYTES = 128
"""What a character takes while its part is looked through, when all is repeated."""
_MOST_CHARACTERS = 1 << 20
_LONGEST_WORD = 30
_JOINER = "\u200d"
_SKIN_TONES = ("\U0001f3fb", "\U0001f3ff")
_UNSPACED = (("\u2e80", "\u31ff"), ("\u3400", "\u9fff"), ("\uf900", "\ufaff"), ("\U00020000", "\U0003ffff"))
JOINT = "\n\n"
"""What stands where a passage was taken out between others: a blank line. At an edge nothing does."""

Points = NDArray[np.uint32]
Lengths = NDArray[np.int32]


class FoundSubstrings(NamedTuple):
    """What was found, on disk: small enough to go to any process."""

    settings: RepeatedSubstrings
    folder: str
    part_characters: int
    anchor_ranges: int
    window_ranges: int = 0

    def spans(self, index: int, leaf: Leaf) -> Spans:
        """Return what is taken out of the documents of a leaf, the `index`th of those looked through."""
        folder = Path(self.folder)
        answers = told(_windows_file(folder, index), folder / "windows", index, self.window_ranges)
        found: Spans = {}
        if not any(map(len, answers)):
            return found
        for part, answer in zip(self.parts(index, leaf), answers, strict=True):
            found.update(part.spans(answer))
        return found

    def parts(self, index: int, leaf: Leaf) -> Iterator[_Windows]:
        """Yield the windows of a leaf that may stand elsewhere, those of some documents at a time."""
        folder = Path(self.folder)
        shared = told(_anchors_file(folder, index), folder / "anchors", index, self.anchor_ranges)
        for part, answer in zip(_parts(leaf, self.settings, self.part_characters), shared, strict=True):
            yield part.windows(answer, _shortest(self.settings))

    def cut(self, text: str, spans: Sequence[tuple[int, int]]) -> str:
        """Return a text without some passages, cut between whole words and characters; what is left is joined.

        A word that a passage begins or ends within stays whole, when it is not too long.
        """
        slack = min(_LONGEST_WORD, _shortest(self.settings) // 2)
        pieces, done = list[str](), 0
        for begin, end in spans:
            first, last = _moved(text, begin, 1, slack), _moved(text, end, -1, slack)
            if first < last:
                pieces.append(text[done:first])
                done = last
        pieces.append(text[done:])
        joined = [piece.lstrip() if place else piece for place, piece in enumerate(pieces)]
        joined = [piece.rstrip() if place < len(pieces) - 1 else piece for place, piece in enumerate(joined)]
        return JOINT.join(piece for piece in joined if piece)


class _Text(NamedTuple):
    """A document long enough to hold a window."""

    row: int
    points: Points
    lengths: Lengths
    """Of the window from every character on, 0 where there is none."""
    anchors: Hashes
    chosen: Lengths


class _Windows(NamedTuple):
    """Some windows of some documents, in order."""

    rows: NDArray[np.int64]
    begins: NDArray[np.int64]
    lengths: NDArray[np.int64]
    counted: Counted

    def spans(self, answer: Told) -> Spans:
        """Return what is covered by windows that stood before; `answer` is what was told of their keys."""
        counted, places = self.counted, np.arange(len(self.rows))
        firsts = np.empty(len(counted.keys.hashes), np.int64)
        firsts[counted.members[::-1]] = places[::-1]
        first = firsts[counted.members]
        apart = (self.rows != self.rows[first]) | (self.begins >= self.begins[first] + self.lengths)
        taken = np.flatnonzero(((answer[counted.members] & EARLIER) != 0) | apart)
        rows, begins = self.rows[taken], self.begins[taken]
        ends = begins + self.lengths[taken]
        # Windows that begin later end later, so a passage ends with the last window before a gap.
        gaps = np.flatnonzero((rows[1:] != rows[:-1]) | (begins[1:] > ends[:-1]))
        opens = np.concatenate(([0], gaps + 1))[: len(taken)]
        closes = np.append(gaps, len(taken) - 1)[: len(taken)]
        found: Spans = {}
        for row, begin, end in zip(
            rows[opens].tolist(), begins[opens].tolist(), ends[closes].tolist(), strict=True
        ):
            found.setdefault(row, []).append((begin, end))
        return found


class _Part(NamedTuple):
    """Some documents and the hashes chosen from them."""

    texts: list[_Text]

    def anchors(self) -> Counted:
        return count(np.concatenate([np.empty(0, np.uint64), *(text.anchors for text in self.texts)]))

    def windows(self, answer: Told, shortest: int) -> _Windows:
        """Return the windows all of whose chosen hashes the corpus holds twice."""
        from rootlm.text.copies.repeat_kernel import candidates, window_keys

        shared = (answer[self.anchors().members] & OFTEN) != 0
        rows, begins, lengths = [np.empty((0,), np.int64)], [np.empty(0, np.int32)], [np.empty(0, np.int32)]
        hashes, checks = [np.empty(0, np.uint64)], [np.empty(0, np.uint32)]
        done = 0
        for text in self.texts:
            own = shared[done : done + len(text.anchors)]
            done += len(own)
            if not own.any():
                continue
            places = candidates(text.lengths, text.chosen, own, shortest)
            if len(places):
                keys = window_keys(text.points, text.lengths, places)
                hashes.append(keys[0])
                checks.append(keys[1])
                rows.append(np.full(len(places), text.row, np.int64))
                begins.append(places)
                lengths.append(text.lengths[places])
        counted = count(np.concatenate(hashes), np.concatenate(checks))
        where = (np.concatenate(begins).astype(np.int64), np.concatenate(lengths).astype(np.int64))
        return _Windows(np.concatenate(rows), *where, counted)


def find(
    leaves: Sequence[Leaf], settings: RepeatedSubstrings, engine: Engine, folder: Path, memory: int
) -> FoundSubstrings:
    """Look through all leaves for passages that repeat; what is found lies in `folder`.

    Takes at most `memory` bytes a worker, and one document above. On disk it is about a byte a character, and
    sixteen for each of those that repeat.
    """
    folder.mkdir(parents=True, exist_ok=True)
    part_characters = max(1, min(_MOST_CHARACTERS, memory // _CHARACTER_BYTES))
    tasks = [(index, str(leaf.folder)) for index, leaf in enumerate(leaves)]
    found = FoundSubstrings(settings, str(folder), part_characters, 0)
    for _ in engine.run(partial(_write_anchors, found), tasks):
        pass
    files = [_anchors_file(folder, index) for index in range(len(leaves))]
    found = found._replace(anchor_ranges=compare(files, 2, engine, folder / "anchors", memory))
    for _ in engine.run(partial(_write_windows, found), tasks):
        pass
    files = [_windows_file(folder, index) for index in range(len(leaves))]
    return found._replace(window_ranges=compare(files, 2, engine, folder / "windows", memory))


def _write_anchors(found: FoundSubstrings, task: tuple[int, str]) -> None:
    index, leaf = task
    file = _anchors_file(Path(found.folder), index)
    if not file.is_file():
        parts = _parts(Leaf(Path(leaf)), found.settings, found.part_characters)
        write_parts(file, (part.anchors().keys for part in parts))


def _write_windows(found: FoundSubstrings, task: tuple[int, str]) -> None:
    index, leaf = task
    file = _windows_file(Path(found.folder), index)
    if not file.is_file():
        keys: Iterator[Keys] = (part.counted.keys for part in found.parts(index, Leaf(Path(leaf))))
        write_parts(file, keys)


def _shortest(settings: RepeatedSubstrings) -> int:
    """Return how many characters the shortest window has: all of them Han."""
    return -(-settings.min_characters // settings.han_counts)


def _parts(leaf: Leaf, settings: RepeatedSubstrings, part_characters: int) -> Iterator[_Part]:
    """Yield the documents of a leaf that hold a window, some at a time."""
    from rootlm.text.copies.repeat_kernel import anchors, windows

    shortest = _shortest(settings)
    # Half of a window makes a run, so that one run in half as many is chosen: the longer, the rarer by chance.
    size = max(1, shortest // 2)
    weights = _weights(settings.han_counts)
    texts, held = list[_Text](), 0
    for row, record in enumerate(leaf.lines()):
        text = orjson.loads(record)["text"]
        if len(text) < shortest:
            continue
        points = codes(text)
        lengths = windows(weights[points], settings.min_characters)
        if not lengths[0]:
            continue
        texts.append(_Text(row, points, lengths, *anchors(points, size, shortest - size + 1)))
        held += len(points)
        if held >= part_characters:
            yield _Part(texts)
            texts, held = [], 0
    if texts:
        yield _Part(texts)


@cache
def _weights(han_counts: int) -> NDArray[np.uint8]:
    """Return as how many every code point counts."""
    points = np.arange(0x110000, dtype=np.uint32)
    return np.where(is_han(kinds_of(points)), han_counts, 1).astype(np.uint8)


def _moved(text: str, place: int, step: int, slack: int) -> int:
    """Return the nearest place in a direction where no word is torn, or else no character."""
    for is_torn in (_tears_word, _tears_character):
        for distance in range(slack + 1):
            if not is_torn(text, place + step * distance):
                return place + step * distance
    return place


def _tears_word(text: str, place: int) -> bool:
    if not 0 < place < len(text):
        return False
    return (_is_letter(text[place - 1]) and _is_letter(text[place])) or _tears_character(text, place)


def _is_letter(character: str) -> bool:
    """Say whether a character is of a word that spaces part from others."""
    return character.isalnum() and not any(first <= character <= last for first, last in _UNSPACED)


def _tears_character(text: str, place: int) -> bool:
    """Say whether a place is before an accent or within an emoji of several parts."""
    if not 0 < place < len(text):
        return False
    before, after = text[place - 1], text[place]
    return (
        _JOINER in (before, after)
        or unicodedata.category(after).startswith("M")
        or _SKIN_TONES[0] <= after <= _SKIN_TONES[1]
    )


def _anchors_file(folder: Path, index: int) -> Path:
    return folder / f"{index:08d}.anchors"


def _windows_file(folder: Path, index: int) -> Path:
    return folder / f"{index:08d}.windows"
