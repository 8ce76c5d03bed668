"""Recognises the numbers of papers, cards and accounts: ID card, passport, bank card, IBAN, SSN, credit code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from rootlm.text.personal.checksums import PROVINCES, credit_check, iban_remainder, id_check, is_date, luhn
from rootlm.text.personal.personal_phones import phones
from rootlm.text.personal.personal_values import Finding, is_amount, is_other_number, matches

_ALONE = r"(?<![0-9A-Za-z_])(?<![0-9]\.)"
_ENDS = r"(?![0-9A-Za-z_]|\.[0-9])"

_ID = re.compile(_ALONE + r"([1-9][0-9]{5})([ -]?)((?:18|19|20)[0-9]{6})\2([0-9]{3}[0-9Xx])" + _ENDS)
_OLD_ID = re.compile(_ALONE + r"[1-9][0-9]{5}([0-9]{2})([01][0-9])([0-3][0-9])[0-9]{3}" + _ENDS)

_CREDIT_CODE = re.compile(
    _ALONE + r"(?:1[1239]|2[19]|3[1-579]|4[19]|5[1-49]|6[129]|7[129]|8[19]|9[123]|A[19]|N[1239]|Y1)"
    r"(?:[0-9]{6})[0-9A-HJ-NPQRTUWXY]{10}" + _ENDS
)

_CARD = re.compile(
    r"(?<![0-9A-Za-z_])(?<![0-9][.-])"
    r"(?:[0-9]{13,19}|[0-9]{4}([ -])[0-9]{4}\1[0-9]{4}\1(?:[0-9]{1,4}(?:\1[0-9]{1,3})?|[0-9]{5,7})|"
    r"3[0-9]{3}([ -])[0-9]{6}\2[0-9]{4,5}|[0-9]{6}[ -][0-9]{13})" + _ENDS.replace("|", "|-[0-9]|", 1)
)
# Issuers by the first digits, with the lengths their numbers have: Visa, Mastercard, American Express,
# Discover, JCB, Diners Club, Maestro, UnionPay, and Chinese debit cards older than UnionPay's 62.
_ISSUERS = re.compile(
    r"4(?:.{12}|.{15}|.{18})|(?:5[1-5]|222[1-9]|22[3-9].|2[3-6]..|27[01].|2720)(?:.{12}|.{14})|3[47].{13}|"
    r"(?:6011|64[4-9].|65..)(?:.{12}|.{15})|35(?:2[89]|[3-8].).{12}|(?:30[0-5].|36..|3[89]..)(?:.{10}|.{12})|"
    r"(?:50(?:18|20|38)|5[6-8]..|5893|6304|67(?:59|6[1-3])).{9,15}|(?:62|81).{14,17}|"
    r"(?:955[5-9]|9510|6013|6014|6029|603[0-9]|6907|9666|9843|9111|9988|940.|4367|4055|4336|5451).{12,15}"
)

_PASSPORT = re.compile(
    r"(?<![0-9A-Za-z_])(?:[EG][0-9]{8}|E[A-HJ-NP-Z][0-9]{7}|[DSP]E[0-9]{7}|([A-Z][0-9]{8}|[A-Z][0-9]{7}|"
    r"1[45][0-9]{7}|[0-9]{9}))(?![0-9A-Za-z_-])"
)
_PASSPORT_WORD = re.compile(
    r"(?:passport|护照|通行证|旅行证)(?:['’]s)?[ ]?(?:\((?:no|number)\.?\)|号码|证号|编号|号|book|card)?[ ]?"
    r"(?:no\.?|number|num\.?|#|is|was|为|是|[:：])*[ ]?(?:is|was|为|是|[:：#])?[ ]?$",
    re.IGNORECASE,
)

_SSN = re.compile(
    r"(?<![0-9A-Za-z_-])(?!000|666|9)[0-9]{3}([- ]?)(?!00)[0-9]{2}\1(?!0000)[0-9]{4}(?![0-9A-Za-z_-])"
)
_SSN_WORD = re.compile(
    r"(?:\bssn\b|social security|社会安全号|社安号)[码]?(?:[ ]?(?:no\.?|number|num\.?|#|is|was|为|是|[:：]))*[ ]?$",
    re.IGNORECASE,
)
# Printed on sample cards and in advertisements, so nobody's.
_NOBODYS_SSN = frozenset(("078051120", "219099999", "123456789"))

_IBAN = re.compile(r"(?<![0-9A-Za-z_])[A-Z]{2}[0-9]{2}(?=[ -]?[A-Z0-9])")
_IBAN_LENGTHS: Mapping[str, int] = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FK FO GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}


def id_cards(text: str, first: int, last: int) -> Iterator[Finding]:
    """Yield Chinese ID cards: 18 characters with a right check, or the 15 digits issued until 1999."""
    for match in matches(_ID, text, first, last):
        value = (match[1] + match[3] + match[4]).upper()
        year, month, day = int(match[3][:4]), int(match[3][4:6]), int(match[3][6:])
        if value[:2] in PROVINCES and is_date(year, month, day) and id_check(value[:17]) == value[17]:
            yield Finding(match.start(), match.end(), "id_card", value)
    for match in matches(_OLD_ID, text, first, last):
        born = is_date(1900 + int(match[1]), int(match[2]), int(match[3]))
        if match[0][:2] in PROVINCES and born and not _is_none(text, match):
            yield Finding(match.start(), match.end(), "id_card", match[0])


def credit_codes(text: str, first: int, last: int) -> Iterator[Finding]:
    """Yield unified social credit codes of Chinese firms and traders, with a right check."""
    for match in matches(_CREDIT_CODE, text, first, last):
        code = match[0]
        # The state's own offices have the region 100000.
        if (code[2:4] in PROVINCES or code[2:8] == "100000") and credit_check(code[:17]) == code[17]:
            yield Finding(match.start(), match.end(), "credit_code", code)


def bank_cards(text: str, first: int, last: int) -> Iterator[Finding]:
    """Yield bank cards: a known issuer, a length it uses, and a right last digit."""
    for match in matches(_CARD, text, first, last):
        digits = re.sub("[ -]", "", match[0])
        if _ISSUERS.fullmatch(digits) and luhn(digits) and not _is_none(text, match):
            yield Finding(match.start(), match.end(), "bank_card", digits)


def passports(text: str, first: int, last: int) -> Iterator[Finding]:
    """Yield Chinese passports by their form, others only right after a word for passport."""
    for match in matches(_PASSPORT, text, first, last):
        named = _PASSPORT_WORD.search(text[max(match.start() - 40, 0) : match.start()])
        if named or (match[1] is None and not is_other_number(text, match.start())):
            yield Finding(match.start(), match.end(), "passport", match[0])


def social_security(text: str, first: int, last: int) -> Iterator[Finding]:
    """Yield US social security numbers: with hyphens, or right after their name."""
    for match in matches(_SSN, text, first, last):
        digits = re.sub("[ -]", "", match[0])
        if digits in _NOBODYS_SSN:
            continue
        named = _SSN_WORD.search(text[max(match.start() - 40, 0) : match.start()])
        if named or (match[1] == "-" and not is_other_number(text, match.start())):
            yield Finding(match.start(), match.end(), "ssn", digits)


def ibans(text: str, first: int, last: int) -> Iterator[Finding]:
    """Yield international bank account numbers, in one piece or in groups, with right check digits."""
    for match in _IBAN.finditer(text, first, last):
        length = _IBAN_LENGTHS.get(match[0][:2])
        code, end = match[0], match.end()
        while length and len(code) < length and end < len(text):
            if text[end].isascii() and (text[end].isdigit() or text[end].isupper()):
                code += text[end]
            elif text[end] not in " -" or text[end - 1] in " -":
                break
            end += 1
        after = text[end : end + 1]
        if len(code) == length and not (after.isascii() and after.isalnum()) and iban_remainder(code) == 1:
            yield Finding(match.start(), end, "iban", code)


def _is_none(text: str, match: re.Match[str]) -> bool:
    return is_other_number(text, match.start()) or is_amount(text, *match.span())


RECOGNISERS: Mapping[str, Callable[[str, int, int], Iterator[Finding]]] = {
    "iban": ibans,
    "id_card": id_cards,
    "credit_code": credit_codes,
    "bank_card": bank_cards,
    "ssn": social_security,
    "phone": phones,
    "passport": passports,
}
"""Each reads (text, first, last) and yields what begins in that part."""
