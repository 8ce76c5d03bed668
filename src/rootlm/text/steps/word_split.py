"""The words of a text, as the published quality rules count them; a Han character is a word of Chinese."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rootlm.text.steps.characters import codes, profile

_LATIN_PER_HAN = 2.5
_KANA_SHARE = 0.05
_BASIC = 0x20000
_END = 0x110000
# What stands alone at the border of a word: marks, quotes and signs.
_EDGES = ",:;!?()[]{}<>_#*&\"'`…¿¡“”‘’‚„»«´。？！，、；：～·「」『』（）〔〕【】《》〈〉。؟،؛।"
_PREFIXES = "§%=—–$£€¥¢₹₽₩"
_APOSTROPHES, _DASHES, _JOINTS, _OPERATORS = "'’", "-–—~", ":/<=>", "+-*^"
_QUOTES = "\"'`“”‘’‚„,»«´「」『』（）〔〕【】《》〈〉"
# Sentence_Terminal of Unicode, in the scripts of today.
_STOPS = "!.?։؝؞؟۔܀܁܂߹࠷࠹࠽࠾।॥၊။።፧፨᙮᜵᜶។៕៖៙៚᠃᠉᥄᥅᪨᪩᪪᪫᭚᭛᭞᭟᭽᭾᰻᰼᱾᱿‼‽⁇⁈⁉⸮⸼⹓⹔。꓿꘎꘏꛳꛷꡶꡷꣎꣏꤯꧈꧉꩝꩞꩟꫰꫱꯫﹒﹖﹗！．？｡"
_WHOLE = (
    "a.m. p.m. e.g. E.g. i.e. I.e. v.s. vs. co. Adm. Bros. Co. Corp. Dr. Gen. Gov. Inc. Jr. Ltd. Md. Messrs. Mo. "
    "Mont. Mr. Mrs. Ms. Mt. Ph.D. Prof. Rep. Rev. Sen. St. Jan. Feb. Mar. Apr. Jun. Jul. Aug. Sep. Sept. Oct. "
    "Nov. Dec. Ak. Ala. Ariz. Ark. Calif. Colo. Conn. Del. Fla. Ga. Ia. Id. Ill. Ind. Kan. Kans. Ky. La. Mass. "
    "Mich. Minn. Miss. Neb. Nebr. Nev. Okla. Ore. Pa. Tenn. Va. Wash. Wis. and/or w/o '' 'em 'll 's 're 'd"
)
_STEMS = (
    "I you he she it we they this that there who what when where why how could should might must would to "
    "You He She It We They This That There Who What When Where Why How Could Should Might Must Would i "
    "do does did is are was were have has had ca wo need dare ai sha Do Does Did Is Are Was Were Have Has Had Ca Wo "
    "Need Dare Ai Sha"
)
_UNITS = (
    "km m dm cm mm ha nm yd in ft kg g mg t lb oz m/s km/h kmh mph hPa Pa mbar mb MB kb KB gb GB tb TB T G M K % "
    "$ £ € ¥ km² km³ m² m³ cm² cm³ µm µg"
)

STOPS = tuple(_STOPS)
"""The marks that end a sentence."""


class Words(NamedTuple):
    """The words of a text, in order."""

    chinese: bool
    """Whether a Han character is a word."""
    points: NDArray[np.uint32]
    classes: NDArray[np.uint16]
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]
    hashes: NDArray[np.uint64]

    @property
    def lengths(self) -> NDArray[np.int32]:
        """How many characters each word has."""
        return self.ends - self.starts

    def __len__(self) -> int:
        return len(self.starts)

    def count_of(self, words: Iterable[str], most: int) -> int:
        """Return how many of the given different words occur, and stop counting at `most`."""
        found = 0
        for word in words:
            found += found < most and bool((self.hashes == hash_of(word)).any())
        return found


def is_chinese(text: str) -> bool:
    """Return whether a text is mainly Chinese: a Han character says as much as 2.5 letters.

    >>> is_chinese("我们用 PyTorch 训练模型。"), is_chinese("The word 北京 means northern capital.")
    (True, False)
    >>> is_chinese("吾輩は猫である。名前はまだ無い。")
    False
    """
    counts = profile(text)
    others = counts.letters - counts.han
    return counts.han * _LATIN_PER_HAN > others and counts.kana <= _KANA_SHARE * counts.han


@lru_cache(maxsize=2)
def words(text: str) -> Words:
    """Split a text into words; the last texts are remembered, because several rules count the same words.

    >>> found = words("He doesn't know (yet).")
    >>> [text for text in split_text("He doesn't know (yet).")]
    ['He', 'does', "n't", 'know', '(', 'yet', ')', '.']
    """
    from rootlm.text.steps.word_kernel import split

    chinese = is_chinese(text)
    points = codes(text)
    classes = _classes()[points]
    whole, units, stems = map(_known, (_WHOLE, _UNITS, _STEMS))
    return Words(chinese, points, classes, *split(points, classes, whole, units, stems, chinese))


def split_text(text: str) -> list[str]:
    """Return the words as strings."""
    found = words(text)
    return [text[start:end] for start, end in zip(found.starts.tolist(), found.ends.tolist(), strict=True)]


@lru_cache(maxsize=4096)
def hash_of(word: str) -> np.uint64:
    """Return the hash under which `Words` holds a word."""
    from rootlm.text.steps.word_kernel import hash_run

    return np.uint64(hash_run(codes(word), 0, len(word)))


@cache
def _known(listed: str) -> NDArray[np.uint64]:
    """Return the sorted hashes of listed words."""
    return np.sort(np.array([hash_of(word) for word in listed.split()], dtype=np.uint64))


@cache
def _classes() -> NDArray[np.uint16]:
    """Return what every code point can be to a word."""
    from rootlm.text.steps import word_kernel as is_a

    table = np.zeros(_END, dtype=np.uint16)
    table[_BASIC:0x40000] = is_a.ALPHA | is_a.HAN
    categories = {"Lu": is_a.ALPHA | is_a.UPPER, "Ll": is_a.ALPHA | is_a.LOWER, "So": is_a.ICON | is_a.EDGE}
    for code in range(_BASIC):
        category = unicodedata.category(chr(code))
        kind = categories.get(category, {"L": is_a.ALPHA, "P": is_a.MARK}.get(category[0], 0))
        if code < 0x80 and category[0] in "SC":
            kind |= is_a.MARK
        if chr(code).isspace():
            kind |= is_a.SPACE
        table[code] = kind
    table[ord("0") : ord("9") + 1] |= is_a.DIGIT
    for first, last in ((0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x3007, 0x3007)):
        table[first : last + 1] |= is_a.HAN | is_a.ALPHA
    for flag, characters in (
        (is_a.EDGE, _EDGES),
        (is_a.PREFIX, _PREFIXES),
        (is_a.STOP, _STOPS),
        (is_a.QUOTE, _QUOTES),
        (is_a.ICON, "…"),
        (is_a.APOSTROPHE, _APOSTROPHES),
        (is_a.DASH, _DASHES),
        (is_a.JOINT, _JOINTS),
        (is_a.OPERATOR, _OPERATORS),
    ):
        table[codes(characters)] |= np.uint16(flag)
    return table
