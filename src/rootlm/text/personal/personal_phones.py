"""Recognises telephone numbers: Chinese mobile and fixed, North American, international with a + or 00."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rootlm.text.personal.personal_values import Finding, is_amount, is_other_number, matches

_ENDS = r"(?![0-9A-Za-z_]|[.-][0-9])"
_BEGINS = r"(?<![0-9A-Za-z_])(?<![0-9][.-])"
_CHINA = r"(?:\(?(?:\+|00)86\)?[ -]?)?"
# Words that people write right before their number, without a space.
_GLUED = (
    r"(?=[+(01])(?:(?<=tel)|(?<=phone)|(?<=mobile)|(?<=mob)|(?<=cell)|(?<=wechat)|(?<=whatsapp)|(?<=[^A-Za-z0-9]vx)|"
    + (r"(?<=[^A-Za-z0-9]wx)|(?<=[^A-Za-z0-9][vtm])|(?<=[^A-Za-z0-9]qq)|(?<![0-9A-Za-z_]))(?<![0-9][.-])")
)
_MOBILE = re.compile(
    _GLUED + _CHINA + r"\(?(1(?:3[0-9]|4[0-9]|5[0-35-9]|6[2567]|7[0-8]|8[0-9]|9[0-35-9]))\)?"
    r"([ .-]?)([0-9]{4})\2([0-9]{4})" + _ENDS,
    re.IGNORECASE,
)
_FIGURE_BEFORE = re.compile("[0-9] $")
# Area codes of China: three digits for ten cities, with eight digits after; four elsewhere.
_FIXED = re.compile(
    _BEGINS + r"\(?(?:(?:\+|00)86\)?[ -]?\(?0?|0)(10|2[0-57-9]|[3-9][1-9][0-9]|[4-9]0[1-9])\)?[ -]{0,2}"
    r"([2-9][0-9]{2,3})[ -]?([0-9]{4})(?:(?:-|转| ?ext\.? ?)[0-9]{1,6})?" + _ENDS
)
_CHINESE_WORD = r"(?:电话|座机|固话|传真|热线|话机|Tel|TEL|Phone|Fax)"
_LOCAL = re.compile(
    _CHINESE_WORD + r"(?:号码|号)?[ ]?(?:[:：.]|是|为)?[ ]?((?!19|20)[2-8][0-9]{2,3}[ -]?[0-9]{4})" + _ENDS
)
_AREA, _EXCHANGE = r"[2-9](?!11)[0-9]{2}", r"[2-9](?!11)[0-9]{2}"
_EXTENSION = r"(?:,? ?(?:x|ext\.?|extension|#) ?[0-9]{1,6})?"
_AMERICAN = re.compile(
    _BEGINS + r"\(?(?:(\+|00)?1[ .-]?)?(?:\((" + _AREA + r")\)[ .-]?|(" + _AREA + r")([ .-]?))"
    r"(" + _EXCHANGE + r")([ .-]?)([0-9]{4})" + _EXTENSION + _ENDS,
    re.IGNORECASE,
)
_CALL = re.compile(
    r"(?:\b(?:phones?|calls?|called|tel|telephone|cell|mobile|fax|dial|text|sms|ring|whatsapp|contact|reach)\b|"
    r"\b(?:my|his|her|your|our|their) (?:new |old )?(?:number|line)\b|"
    r"电话|手机|致电|拨打|联系|传真|短信)[^.。;；!?！？\n0-9\"]{0,24}$",
    re.IGNORECASE,
)
_RIGHT_AFTER_CALL = re.compile(
    r"(?:\b(?:phone|tel|telephone|call|cell|mobile|fax|dial)\b(?: number)?|电话|手机|传真)"
    r"\W{0,3}(?:(?:is|at|me at|号码?|是)\W)?$",
    re.IGNORECASE,
)
_SEVEN = re.compile(_BEGINS + r"([2-9][0-9]{2})[ .-]([0-9]{4})" + _ENDS)
# Calling codes in use (ITU E.164), without 1 and 86, which have patterns of their own.
_CODES = (
    r"(?:7|2(?:0|7|1[1-368]|[2-46]\d|5[0-8]|9[01789])|3(?:[0-469]|5\d|7[0-8]|8[0-25-79])|"
    r"4(?:[013-9]|2[013])|5(?:[1-8]|0\d|9\d)|6(?:[0-6]|7[02-9]|8[0-35-9]|9[0-2])|"
    r"8(?:[124]|5[02356]|8[0268])|9(?:[0-58]|6[0-8]|7[0-7]|9[2-68]))"
)
_WORLD = re.compile(
    r"(?<![0-9A-Za-z_)])(\+|(?<![0-9A-Za-z_.,-])00(?=[0-9]{2,3}[ -(]))(" + _CODES + r")"
    r"([ .-]?(?:\(0?[0-9]{0,4}\)[ .-]?)?[0-9](?:[ .-]?[0-9]){5,12})" + _EXTENSION + _ENDS
)
_MOST_DIGITS = 15


def phones(text: str, first: int, last: int) -> Iterator[Finding]:
    """Yield telephone numbers; short and unmarked ones only after a word such as `call` or 电话."""
    for match in matches(_MOBILE, text, first, last):
        # Three groups in a row of figures are figures: 28 133 8232 8233.
        among_figures = match[2] == " " and _FIGURE_BEFORE.search(
            text, max(match.start() - 3, 0), match.start()
        )
        if not among_figures and not _is_none(text, match):
            yield _finding(text, match, "+86" + match[1] + match[3] + match[4])
    for match in matches(_FIXED, text, first, last):
        area, local = match[1], match[2] + match[3]
        whole = len(local) == 8 or (len(local) == 7 and len(area) == 3)
        if whole and not _is_none(text, match):
            yield _finding(text, match, "+860" + area + local)
    yield from _american(text, first, last)
    for match in matches(_WORLD, text, first, last):
        digits = match[2] + re.sub(r"\(0\)|[^0-9]", "", match[3])
        if len(digits) <= _MOST_DIGITS and not is_amount(text, *match.span()):
            yield _finding(text, match, "+" + digits)
    for match in matches(_LOCAL, text, max(first - 4, 0), last):
        digits = re.sub("[ -]", "", match[1])
        if not _is_fiction(digits[:3], digits[3:]):
            yield Finding(match.start(1), match.end(1), "phone", digits)


def _american(text: str, first: int, last: int) -> Iterator[Finding]:
    for match in matches(_AMERICAN, text, first, last):
        area, exchange, line = match[2] or match[3], match[5], match[7]
        if _is_fiction(exchange, line) or _is_none(text, match) or match[0].startswith(f"1{area}{exchange}"):
            continue
        # Ten bare digits, or groups apart in two ways, are a number like any other.
        apart = bool(match[2]) or (bool(match[4]) and match[4] == match[6])
        if apart or match[1] or _called(text, match.start()):
            yield _finding(text, match, "+1" + area + exchange + line)
    for match in matches(_SEVEN, text, first, last):
        before = text[max(match.start() - 24, 0) : match.start()]
        if not _is_fiction(match[1], match[2]) and _RIGHT_AFTER_CALL.search(before):
            yield _finding(text, match, match[1] + match[2])


def _is_fiction(exchange: str, line: str) -> bool:
    """555-0100 to 555-0199 belong to nobody; films use them, and so do pseudonyms."""
    return exchange == "555" and line.startswith("01")


def _called(text: str, start: int) -> bool:
    return _CALL.search(text[max(start - 40, 0) : start]) is not None


def _finding(text: str, match: re.Match[str], value: str) -> Finding:
    """Leave out an opening bracket that the number does not close."""
    start = match.start()
    if match[0].startswith("(") and match[0].count("(") > match[0].count(")"):
        start += 1
    return Finding(start, match.end(), "phone", value)


def _is_none(text: str, match: re.Match[str]) -> bool:
    return is_other_number(text, match.start()) or is_amount(text, *match.span())
