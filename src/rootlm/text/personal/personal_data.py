"""Finds personal data in Chinese and English text: where it stands, of which kind it is, what it says.

A value always holds a digit or an @, so whatever holds neither is passed over. Numbers are looked for only
around runs of seven digits and more, so that years and prices cost next to nothing. Full-width digits and
letters count as ASCII ones, and Han characters may stand right beside a number.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from rootlm.text.personal import personal_network, personal_numbers, personal_places
from rootlm.text.personal.personal_values import KINDS, Finding

_SEEN = re.compile("[0-9@０-９＠]")
_WIDE = re.compile("[０-９Ａ-Ｚａ-ｚ＠\u00a0\u2010-\u2013\u2212]")
_NARROW: dict[int, int | str] = {
    **{code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)},
    0x3000: " ",
    0x00A0: " ",
    **dict.fromkeys((*range(0x2010, 0x2014), 0x2212), "-"),
}
# One pass finds every place where a number worth a look begins: seven digits and more with single signs
# between them, or a house number.
_SEED = re.compile(
    r"[0-9](?:(?:[ ().-]{0,3}[0-9]){6,44}|[0-9]{0,2}(?:\.[0-9]{1,3}){3}|[0-9-]{0,7}(?P<zh>[号弄])|"
    r"[0-9]{0,4}[A-Za-z]?(?P<en> [A-Z0-9]))"
)
_BEFORE, _AFTER = 20, 24
_RANK = {kind: place for place, kind in enumerate(KINDS)}


class Finder:
    """Finds the values of the wanted kinds."""

    def __init__(self, kinds: Collection[str] = KINDS, private_ip: bool = False) -> None:
        self._kinds = frozenset(kinds)
        self._private_ip = private_ip
        numbers = personal_numbers.RECOGNISERS.items()
        self._numbers = [recogniser for kind, recogniser in numbers if kind in self._kinds]

    def find(self, text: str) -> list[Finding]:
        """Return the values in their order; where two overlap, the more certain kind stays.

        >>> [found.kind for found in Finder().find("请致电１３８００１３８０００或写信给li@foo.cn")]
        ['phone', 'email']
        """
        if _SEEN.search(text) is None:
            return []
        if not text.isascii() and _WIDE.search(text):
            text = text.translate(_NARROW)
        return _apart(self._all(text))

    def _all(self, text: str) -> Iterator[Finding]:
        kinds = self._kinds
        if "@" in text and kinds & {"email", "url"}:
            yield from (one for one in personal_network.addresses(text) if one.kind in kinds)
        if "ip" in kinds:
            yield from personal_network.ip6(text, self._private_ip)
        if "mac" in kinds:
            yield from personal_network.mac(text)
        if "plate" in kinds and not text.isascii():
            yield from personal_places.plates(text)
        yield from self._around_numbers(text)

    def _around_numbers(self, text: str) -> Iterator[Finding]:
        kinds = self._kinds
        for seed in _SEED.finditer(text):
            start, end = seed.span()
            if seed["zh"]:
                if "address" in kinds:
                    yield from personal_places.chinese_address(text, start)
            elif seed["en"]:
                if "address" in kinds:
                    yield from personal_places.english_address(text, start)
            else:
                first, last = max(start - _BEFORE, 0), min(end + _AFTER, len(text))
                if "ip" in kinds and text.count(".", start, end) >= 3:
                    yield from personal_network.ip4(text, first, last, self._private_ip)
                for recogniser in self._numbers:
                    yield from recogniser(text, first, last)
                if "address" in kinds:
                    yield from personal_places.address_at_the_end(text, start, end)


def _apart(findings: Iterator[Finding]) -> list[Finding]:
    """Return findings that do not overlap, in their order."""
    chosen: list[Finding] = []
    for one in sorted(set(findings), key=lambda one: (one.start, _RANK[one.kind], -one.end)):
        if not chosen or one.start >= chosen[-1].end:
            chosen.append(one)
        elif _RANK[one.kind] < _RANK[chosen[-1].kind]:
            chosen[-1] = one
    return chosen
