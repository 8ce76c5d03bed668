"""The precompiled rules by which SentencePiece rewrites characters: the longest match first, as it reads them."""

from __future__ import annotations

import re
from functools import cached_property

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.int64]
# The first bytes of UTF-8 characters of one to four bytes, which of their bits count, and how many bytes follow.
_LEADS = ((0x00, 0x7F, 0x7F, 0), (0xC2, 0xDF, 0x1F, 1), (0xE0, 0xEF, 0x0F, 2), (0xF0, 0xF4, 0x07, 3))
_CONTINUED = np.arange(0x80, 0xC0)
_ASCII = 0x80
_OFF = -1


class CharacterRules:
    """A double array that leads from the bytes of a text to what stands in for them (Yata 2007, as in darts-clone).

    The first four bytes of `charsmap` give the size of the array, its units of 32 bits follow, then the
    replacements, each ended by a zero byte. Raises ValueError where the sizes do not fit.
    """

    def __init__(self, charsmap: bytes) -> None:
        size = int.from_bytes(charsmap[:4], "little")
        if size == 0 or size % 4 or size > len(charsmap) - 4:
            raise ValueError(
                f"its rules for characters are torn: {size} bytes announced, {len(charsmap)} there"
            )
        self._array = np.frombuffer(charsmap, "<u4", size // 4, 4).astype(np.int64)
        self._units: list[int] = self._array.tolist()
        self._texts = charsmap[4 + size :]

    def apply(self, text: str) -> str:
        """Return the text rewritten; what was put in is not read again."""
        pieces: list[str] = []
        done = 0
        for match in self._candidates.finditer(text):
            start = match.start()
            length, replacement = self._longest(text, start) if start >= done else (0, "")
            if length:
                pieces += (text[done:start], replacement)
                done = start + length
        return "".join(pieces) + text[done:] if pieces else text

    def _longest(self, text: str, start: int) -> tuple[int, str]:
        """Return how many characters the longest rule takes from `start`, and what it puts in."""
        place = _offset(self._units[0])
        found, replacement = 0, ""
        for end in range(start, len(text)):
            for byte in text[end].encode():
                place ^= byte
                unit = self._units[place] if place < len(self._units) else _OFF
                if unit & 0x800000FF != byte:
                    return found, replacement
                place ^= _offset(unit)
            if unit >> 8 & 1:
                found, replacement = end + 1 - start, self._replacement(place)
        return found, replacement

    def _replacement(self, place: int) -> str:
        begin = self._units[place] & 0x7FFFFFFF if place < len(self._units) else len(self._texts)
        end = self._texts.find(0, begin)
        if end < 0:
            raise ValueError("its rules for characters lead out of the file; it is torn")
        return self._texts[begin:end].decode()

    @cached_property
    def _candidates(self) -> re.Pattern[str]:
        """Where a rule may begin: a character with a rule of its own, or with rules for what follows it."""
        points, place, leaf = map(np.concatenate, zip(*map(self._characters, _LEADS), strict=True))
        ways = self._step(place[:, None], np.arange(256)[None, :])[0] != _OFF
        ways[:, 0] &= ~leaf
        # The leaf itself stands where the byte 0 would lead.
        follow = "" if ways[:, :_ASCII].any() else r"(?=[^\x00-\x7f])"
        alone, further = _class(points[leaf]), _class(points[ways.any(1)])
        return re.compile("|".join([*[alone] * bool(alone), *[further + follow] * bool(further)]) or "(?!)")

    def _characters(self, lead: tuple[int, int, int, int]) -> tuple[Places, Places, npt.NDArray[np.bool_]]:
        """Return the characters of one length in bytes that rules begin with, where they lead and if they end one."""
        first, last, bits, further = lead
        points = np.arange(first, last + 1)
        place, leaf = self._step(np.full(points.shape, _offset(self._units[0])), points)
        points = points & bits
        for _ in range(further):
            alive = place != _OFF
            place, leaf = self._step(place[alive, None], _CONTINUED[None, :])
            points = (points[alive, None] << 6 | _CONTINUED[None, :] & 0x3F).ravel()
            place, leaf = place.ravel(), leaf.ravel()
        alive = place != _OFF
        return points[alive], place[alive], leaf[alive]

    def _step(self, place: Places, byte: Places) -> tuple[Places, npt.NDArray[np.bool_]]:
        """Go on by one byte from many places at once; from nowhere one comes nowhere."""
        there = np.where(place == _OFF, 0, place) ^ byte
        inside = (place != _OFF) & (there < len(self._array))
        unit = self._array[np.where(inside, there, 0)]
        right = inside & (unit & 0x800000FF == byte)
        offset = (unit >> 10) << ((unit & 0x200) >> 6)
        return np.where(right, there ^ offset, _OFF), right & (unit >> 8 & 1 == 1)


def _offset(unit: int) -> int:
    return (unit >> 10) << ((unit & 0x200) >> 6)


def _class(points: Places) -> str:
    """Write characters as a class of a regular expression, neighbours as one range."""
    if not points.size:
        return ""
    points = np.sort(points)
    breaks = np.flatnonzero(np.diff(points) > 1) + 1
    groups = np.split(points, breaks)
    return "[" + "".join(f"\\U{group[0]:08x}-\\U{group[-1]:08x}" for group in groups) + "]"
