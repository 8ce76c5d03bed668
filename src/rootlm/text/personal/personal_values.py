"""What the recognisers of personal data share: the kinds, a finding, and the words around a number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

KINDS = (
    "url",
    "email",
    "iban",
    "id_card",
    "credit_code",
    "bank_card",
    "ssn",
    "mac",
    "ip",
    "phone",
    "passport",
    "plate",
    "address",
)
"""Every kind of personal data; the surer one comes first and wins where two overlap."""


class Finding(NamedTuple):
    """A value in a text: from `start` to `end`, its kind, and one way to write it, for pseudonyms."""

    start: int
    end: int
    kind: str
    value: str


_NUMBER_WORDS = r"(?:号码|编码|号|码|no\b\.?|num(?:ber)?\b|id\b|code\b|[#:：=\s-]|是|为|is\b|was\b)*$"
_OTHER_NUMBER = re.compile(
    r"(?:订单|定单|单号|快递|运单|编号|序列|流水|货号|款号|型号|条形?码|条码|书号|文号|发票|合同|批次|批号|库存|"
    r"\b(?:orders?|invoice|serial|tracking|shipment|sku|part|item|model|isbn|issn|ean|upc|imei|ref(?:erence)?|"
    r"ticket|case|batch|lot|transaction|build|commit|doi|barcode))[ ]{0,2}"
    + _NUMBER_WORDS
    + r"|\b10\.[0-9]{4,9}/\S{0,16}$",
    re.IGNORECASE,
)
_MONEY_BEFORE = re.compile(r"(?:[¥￥$€£]|\b(?:RMB|CNY|USD|EUR|GBP|HKD))\s?$", re.IGNORECASE)
_UNIT_AFTER = re.compile(
    r"\s?(?:万|亿|元|块|美元|欧元|日元|人次|人|次|米|公里|吨|字节|公斤|千克|股|票|%|％|"
    r"(?:bytes|dollars|yuan|people|votes|shares|tons|km|kg)\b)"
)
_BACK = 32


def is_other_number(text: str, start: int) -> bool:
    """Say whether the words before a number make it an order, a serial or the like.

    >>> is_other_number("订单号：13800138000", 4), is_other_number("call 13800138000", 5)
    (True, False)
    """
    return _OTHER_NUMBER.search(text[max(start - _BACK, 0) : start]) is not None


def is_amount(text: str, start: int, end: int) -> bool:
    """Say whether a number is counted or paid: a currency before it, a unit after it.

    >>> is_amount("￥13800138000", 1, 12), is_amount("13800138000元", 0, 11), is_amount("13800138000", 0, 11)
    (True, True, False)
    """
    before = text[max(start - 4, 0) : start]
    return _MONEY_BEFORE.search(before) is not None or _UNIT_AFTER.match(text, end) is not None


def matches(pattern: re.Pattern[str], text: str, first: int, last: int) -> Iterator[re.Match[str]]:
    """Yield the matches in a part of a text, but none that may only end because the part does."""
    for match in pattern.finditer(text, first, last):
        if match.end() < last or last == len(text):
            yield match
