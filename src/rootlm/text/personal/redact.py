"""Redaction: personal data is replaced by typed marks or by consistent pseudonyms, and counted, never kept."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from rootlm.core.config import Config
from rootlm.core.mistakes import nearest
from rootlm.text.personal.personal_data import Finder
from rootlm.text.personal.personal_values import KINDS, Finding
from rootlm.text.personal.pseudonyms import Pseudonyms

_NAMES: Mapping[str, Mapping[str, str]] = {
    "en": {kind: kind.upper() for kind in KINDS},
    "zh": {
        "url": "网址",
        "email": "邮箱",
        "iban": "国际账号",
        "id_card": "身份证",
        "credit_code": "信用代码",
        "bank_card": "银行卡",
        "ssn": "社会安全号",
        "mac": "网卡地址",
        "ip": "网络地址",
        "phone": "电话",
        "passport": "护照",
        "plate": "车牌",
        "address": "地址",
    },
}
_PLAIN_EDGE = re.compile("[A-Za-z_]")
_COUNTED = re.compile("[0-9０-９@＠]")


class Marks(Config):
    """Replace a value by the name of its kind: [EMAIL], or [邮箱] with language=zh."""

    kind: Literal["marks"] = "marks"
    template: str = "[{name}]"
    """What a mark looks like; `{name}` stands for the kind's name."""
    language: Literal["en", "zh"] = "en"
    """Language of the names: EMAIL, PHONE, ID_CARD … or 邮箱, 电话, 身份证 …"""
    names: Mapping[str, str] = Field(default_factory=dict)
    """Other names by kind: {phone: TEL, id_card: 证件}."""

    @field_validator("names")
    @classmethod
    def _known(cls, names: Mapping[str, str]) -> Mapping[str, str]:
        for kind in names:
            if kind not in KINDS:
                raise ValueError(f"no kind of personal data is called {kind}; {nearest(kind, KINDS)}")
        return names

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if "{name}" not in self.template:
            raise ValueError("template has no {name}; write it like [{name}]")
        for mark in self._marks().values():
            if _COUNTED.search(mark) or _PLAIN_EDGE.match(mark[-1]) or _PLAIN_EDGE.match(mark[0]):
                raise ValueError(
                    f"the mark {mark} could be read as data again; it may hold no digit and no @, and no letter "
                    "at its ends: write it like [{name}]"
                )
        return self

    def build(self) -> Callable[[Finding], str]:
        """Return what gives each value its mark."""
        marks = self._marks()
        return lambda found: marks[found.kind]

    def _marks(self) -> dict[str, str]:
        names = {**_NAMES[self.language], **self.names}
        return {kind: self.template.replace("{name}", name) for kind, name in names.items()}


_LOOKS = 4
_PLAIN = Marks().build()


class Redact(Config):
    """Which personal data is replaced, and by what."""

    email: bool = True
    """E-mail addresses."""
    url: bool = True
    """URLs that hold a password or a token: https://user:password@host."""
    phone: bool = True
    """Telephone numbers: Chinese mobile and fixed, North American, international with + or 00."""
    id_card: bool = True
    """Chinese resident ID cards, 18 characters with a right check or the old 15 digits."""
    passport: bool = True
    """Passports: Chinese by form, others after a word for passport."""
    bank_card: bool = True
    """Bank and credit cards: known issuer, right length, right Luhn digit."""
    iban: bool = True
    """International bank account numbers with right check digits."""
    ssn: bool = True
    """US social security numbers."""
    credit_code: bool = True
    """Unified social credit codes of Chinese firms and traders, with a right check."""
    plate: bool = True
    """Chinese vehicle plates."""
    ip: bool = True
    """Public IPv4 and IPv6 addresses."""
    private_ip: bool = False
    """Addresses of private networks too: 192.168.1.20, fe80::1."""
    mac: bool = True
    """Hardware addresses of network cards."""
    address: bool = True
    """What looks like a postal address: a named road with a house number. A guess, unlike the others."""
    replacement: Annotated[Marks | Pseudonyms, Field(discriminator="kind")] = Marks()
    """What stands in their place: marks, or pseudonyms (which need a secret key)."""

    def build(self) -> Redaction:
        """Return the rewrite, which counts what it replaces. Raises ValueError when a key is missing."""
        kinds = [kind for kind in KINDS if getattr(self, kind)]
        return Redaction(Finder(kinds, self.private_ip), self.replacement.build())


class Redaction:
    """Replaces personal data in a text, and counts how much of each kind; it keeps no value."""

    def __init__(self, finder: Finder, replacement: Callable[[Finding], str]) -> None:
        self._finder = finder
        self._replacement = replacement
        self.counts: Counter[str] = Counter()
        """How many values of each kind were replaced so far."""

    def __call__(self, text: str) -> str:
        """Return the text without personal data; doing it twice equals doing it once.

        >>> Redact().build()("写信给li@foo.cn，或拨打13800138000。")
        '写信给[EMAIL]，或拨打[PHONE]。'
        """
        # A value may come to light only when its neighbour is gone, so look until there is none. A mark holds
        # neither digit nor @ and every value does, so the looking ends even where pseudonyms meet badly.
        looks = 0
        while findings := self._finder.find(text):
            looks += 1
            replacement = self._replacement if looks <= _LOOKS else _PLAIN
            pieces, seen = [], 0
            for found in findings:
                pieces += [text[seen : found.start], replacement(found)]
                seen = found.end
                self.counts[found.kind] += 1
            text = "".join([*pieces, text[seen:]])
        return text

    def take(self) -> Counter[str]:
        """Return the counts and begin again from zero."""
        taken, self.counts = self.counts, Counter()
        return taken

    def cleaned(self, value: object) -> object:
        """Return a document's meta, or any part of it, with every text in it redacted; keys stay.

        >>> Redact().build().cleaned({"author": {"mail": ["li@foo.cn"]}, "year": 1998})
        {'author': {'mail': ['[EMAIL]']}, 'year': 1998}
        """
        if isinstance(value, str):
            return self(value)
        if isinstance(value, Mapping):
            return {key: self.cleaned(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [self.cleaned(one) for one in value]
        return value
