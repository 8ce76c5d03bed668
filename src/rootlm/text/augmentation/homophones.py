"""Chinese characters that sound alike, as people mistype them: 在 and 再, 做 and 作."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import ModuleType

# The common characters of the national standards: 3,755 simplified (GB 2312), 5,401 traditional (Big5).
_SIMPLIFIED = ("gb2312", range(0xB0, 0xD8), range(0xA1, 0xFF))
_TRADITIONAL = ("big5", range(0xA4, 0xC7), (*range(0x40, 0x7F), *range(0xA1, 0xFF)))
_STRANGE_SHARE = 0.05

Alike = Mapping[str, str]
"""A reading → the common characters that have it first."""


def readings(word: str, tones: bool) -> list[str]:
    """Return the reading of each character, told by the word it stands in; a number is the tone.

    >>> readings("银行", tones=True), readings("行走", tones=False)
    (['yin2', 'hang2'], ['xing', 'zou'])
    """
    library = _library()
    style = library.Style.TONE3 if tones else library.Style.NORMAL
    return list(library.lazy_pinyin(word, style=style, errors=list))


def alike(character: str, reading: str, tones: bool, simplified: bool = True) -> str:
    """Return the other common characters of a reading.

    >>> "再" in alike("在", "zai4", tones=True), "哉" in alike("在", "zai4", tones=True)
    (True, False)
    """
    return _table(simplified, tones).get(reading, "").replace(character, "")


def is_simplified(text: str) -> bool:
    """Return whether the Han characters of a text are mostly found in the simplified standard.

    >>> is_simplified("我们学习汉语"), is_simplified("我們學習漢語")
    (True, False)
    """
    han = list(filter(is_common_han, text))
    missing = sum(not character.encode(_SIMPLIFIED[0], "ignore") for character in han)
    return missing <= _STRANGE_SHARE * len(han)


def is_common_han(character: str) -> bool:
    """Return whether a character is in Unicode's first block of Han characters."""
    return "\u4e00" <= character <= "\u9fff"


@cache
def _table(simplified: bool, tones: bool) -> Alike:
    table: dict[str, str] = {}
    for character in _common(*(_SIMPLIFIED if simplified else _TRADITIONAL)):
        (reading,) = readings(character, tones)
        table[reading] = table.get(reading, "") + character
    return table


def _common(encoding: str, leads: range, trails: range | tuple[int, ...]) -> str:
    raw = (bytes((lead, trail)) for lead in leads for trail in trails)
    characters = (pair.decode(encoding, "ignore") for pair in raw)
    return "".join(filter(is_common_han, characters))


@cache
def _library() -> ModuleType:
    try:
        import pypinyin
    except ImportError as error:
        raise ValueError('homophones need pypinyin; install it with pip install "rootlm[words]"') from error
    return pypinyin
