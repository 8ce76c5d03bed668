"""Sentences of Chinese, English and mixed text: where they end, and where a mark only looks like an end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal

from rootlm.core.config import Config
from rootlm.text.words.segment import HAN

_STRONG = "。！？｡‼⁇⁈⁉۔؟।॥"
_CLOSING = "”’」』）】》〉〕｝)]}»"
_STRAIGHT = "\"'"
_CANDIDATE = re.compile(rf"[{_STRONG}.!?．…]+[{re.escape(_CLOSING + _STRAIGHT)}]*|\n\s*")
_BLANK = re.compile(r"\n[^\S\n]*\n")
_CHINESE = re.compile(rf"[{HAN}“‘「『《（【\u3040-\u30ff]")
# What goes on after a quoted end: “来了！”，他说。
_COMMAS = ("，", "、", ",")
_GOES_ON = "，、；：,;:。！？!?…—)"
_LAST_WORD = re.compile(r"(?:[^\W_]|[.'’&])+$")
_NUMBER = re.compile(r"\s*[(（]?\d{1,4}")
_NEXT_WORD = re.compile(r"[^\W\d_]*")
_INITIALS = re.compile(r"[A-Z](?:\.[A-Z])*")
_LONGEST_ABBREVIATION = 24


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_TITLES = _set(
    "mr mrs ms messrs mme mlle dr prof rev hon fr st sr gen col lt capt cmdr sgt maj adm gov sen rep pres atty brig"
)
_NEVER_LAST = _set("e.g i.e eg ie vs viz cf al approx dept univ assn bros mt")
_CAPITAL_NEVER_LAST = _set(
    "Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec Mon Tue Tues Wed Thu Thur Thurs Fri Sat Sun"
)
_BEFORE_DIGITS = _set("no nos p pp fig figs vol vols ch chap sec eq eqs art ca c v ver ed est ext tel")
_SOMETIMES_LAST = _set(
    "etc inc ltd co corp jr esq a.m p.m am pm u.s u.k u.n e.u u.s.a d.c ph.d m.d b.a m.a b.sc m.sc b.c a.d"
)
# After `Inc.` or `p.m.` one of these begins a sentence; other capitals are mostly names.
_STARTERS = _set(
    "A After All Also An And Another As At Before Both But By Do Each Even Every For From Have He Her Here His "
    "How However I If In It Its Many Most My Not Now Of On Once Only Or Other Our Perhaps She Since So Some Such "
    "That The Their Then There These They This Those Though Thus To Under Until We What When Where Which While "
    "Who Why With Yet You Your"
)


class Sentences(Config):
    """How text falls into sentences."""

    line_ends: Literal["end", "blank"] = "end"
    """Whether a line end ends a sentence unless a comma stands before it (verse, headings, a paragraph a line),
    or only a blank line does (text that was broken into lines of even width)."""

    def build(self) -> Splitter:
        """Return the splitter."""
        return Splitter(self.line_ends == "end")


class Splitter:
    """Splits text into sentences."""

    def __init__(self, every_line_ends: bool = True) -> None:
        self._every_line_ends = every_line_ends

    def pieces(self, text: str) -> list[str]:
        """Cut text behind every sentence; the pieces join to the text again.

        White space belongs to the sentence before it.

        >>> Splitter().pieces("他说：“走吧！”我们就走了。 OK. ")
        ['他说：“走吧！”', '我们就走了。 ', 'OK. ']
        """
        borders = [0, *self._borders(text), len(text)]
        return [text[start:end] for start, end in pairwise(borders) if start < end]

    def sentences(self, text: str) -> list[str]:
        """Return the sentences without the white space around them; line ends inside become spaces.

        >>> Splitter().sentences("Mr. Li paid $3.50. “Thanks!” he said.")
        ['Mr. Li paid $3.50.', '“Thanks!” he said.']
        """
        return [joined for piece in self.pieces(text) if (joined := _one_line(piece))]

    def _borders(self, text: str) -> Iterator[int]:
        """Yield where a sentence ends, white space behind it included."""
        start = 0
        for match in _CANDIDATE.finditer(text):
            if match.end() <= start or (match[0][0] == "\n" and not text[start : match.start()].strip()):
                continue
            if match[0][0] == "\n":
                goes_on = not self._every_line_ends or text[start : match.start()].rstrip().endswith(_COMMAS)
                end = None if goes_on and not _BLANK.match(match[0]) else match.end()
            else:
                end = _end(text, start, match)
            if end is not None and end < len(text):
                yield end
                start = end


def _one_line(piece: str) -> str:
    """Return a piece on one line: between Chinese characters a line end leaves nothing, elsewhere a space."""
    lines = [line.strip() for line in piece.split("\n")]
    joined = ""
    for line in filter(None, lines):
        chinese = joined and ord(joined[-1]) > 0x2E7F and ord(line[0]) > 0x2E7F
        joined += line if chinese or not joined else " " + line
    return joined


def _end(text: str, start: int, match: re.Match[str]) -> int | None:
    """Return where the sentence that began at `start` ends if it ends with these marks, else None."""
    marks = match[0].rstrip(_CLOSING + _STRAIGHT)
    stop = match.start() + len(marks)
    end = _behind_closing(text, start, stop, match.end())
    after = _skip_white(text, end)
    if after >= len(text):
        return after
    following = text[after]
    before = text[match.start() - 1] if match.start() > start else ""
    apart = after > end
    if following in _GOES_ON:
        ends = False
    elif any(mark in _STRONG for mark in marks):
        ends = not (end > stop and following in "的地")
    elif marks == "…" or (len(marks) > 1 and set(marks) <= {"…", "."}):
        ends = _ellipsis_ends(before, following, apart or end > stop)
    elif marks == "．":
        ends = not before.isdigit() and not following.isdigit()
    elif (not apart and not _CHINESE.match(following)) or following.islower():
        ends = False
    else:
        ends = marks != "." or _full_stop_ends(text, start, match.start(), after)
    return after if ends else None


def _behind_closing(text: str, start: int, stop: int, end: int) -> int:
    """Return the end of the closing marks behind a stop: a straight quote closes only what is open."""
    place = stop
    while place < end:
        if text[place] == '"' and text.count('"', start, place) % 2 == 0:
            break
        if text[place] == "'" and place + 1 < len(text) and not text[place + 1].isspace():
            break
        place += 1
    return place


def _ellipsis_ends(before: str, following: str, apart: bool) -> bool:
    """Say whether an ellipsis ends a sentence; `我……我` stammers."""
    if not before or following == before or following.islower():
        return False
    return apart or bool(_CHINESE.match(following))


def _full_stop_ends(text: str, start: int, place: int, after: int) -> bool:
    """Say whether the full stop at `place` ends a sentence, by the words on both sides of it."""
    if _NUMBER.fullmatch(text, start, place):
        return False
    last = _LAST_WORD.search(text, max(start, place - _LONGEST_ABBREVIATION), place)
    word = last[0].strip(".'’") if last else ""
    known = word.lower()
    if known in _TITLES or known in _NEVER_LAST or word in _CAPITAL_NEVER_LAST:
        return False
    if known in _BEFORE_DIGITS and text[after].isdigit():
        return False
    if known in _SOMETIMES_LAST or _is_initial(word):
        following = _NEXT_WORD.match(text, after)
        chinese = known in _SOMETIMES_LAST and _CHINESE.match(text[after])
        return bool(chinese or (following and following[0] in _STARTERS))
    return True


def _is_initial(word: str) -> bool:
    """Say whether a word is letters that stand for names (J. S. Bach, E.O. Kelsey) or count (A. …, B. …)."""
    return word != "I" and _INITIALS.fullmatch(word) is not None


def _skip_white(text: str, place: int) -> int:
    while place < len(text) and text[place].isspace():
        place += 1
    return place
