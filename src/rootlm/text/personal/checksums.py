"""The check characters that numbers of people, cards, accounts and firms carry."""

from __future__ import annotations

import calendar

_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ID_CHECKS = "10X98765432"
_CREDIT_DIGITS = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_CREDIT_WEIGHTS = tuple(pow(3, place, 31) for place in range(17))
# Two digits of a Chinese region: provinces, Hong Kong, Macau and Taiwan (also on residence permits), abroad.
PROVINCES = frozenset(
    str(code)
    for first, last in (
        (11, 15),
        (21, 23),
        (31, 37),
        (41, 46),
        (50, 54),
        (61, 65),
        (71, 71),
        (81, 83),
        (91, 91),
    )
    for code in range(first, last + 1)
)


def luhn(digits: str) -> bool:
    """Say whether the last digit is the right one for a bank card (ISO/IEC 7812-1, annex B).

    >>> luhn("4111111111111111"), luhn("4111111111111112")
    (True, False)
    """
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


def id_check(digits: str) -> str:
    """Return the check character for the first 17 digits of a Chinese ID card (ISO 7064 MOD 11-2, GB 11643).

    >>> id_check("11010519491231002")
    'X'
    """
    return _ID_CHECKS[sum(int(d) * w for d, w in zip(digits, _ID_WEIGHTS, strict=True)) % 11]


def credit_check(code: str) -> str:
    """Return the check character for the first 17 of a unified social credit code (GB 32100, MOD 31-3).

    >>> credit_check("91350100M000100Y4")
    '3'
    """
    total = sum(_CREDIT_DIGITS.index(one) * weight for one, weight in zip(code, _CREDIT_WEIGHTS, strict=True))
    return _CREDIT_DIGITS[-total % 31]


def iban_remainder(code: str) -> int:
    """Return the remainder of an IBAN by 97, which is 1 when its check digits are right (ISO 13616).

    >>> iban_remainder("GB29NWBK60161331926819")
    1
    """
    return int("".join(str(int(one, 36)) for one in code[4:] + code[:4])) % 97


def is_date(year: int, month: int, day: int) -> bool:
    """Say whether there is such a day.

    >>> is_date(2000, 2, 29), is_date(1900, 2, 29)
    (True, False)
    """
    return 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]
