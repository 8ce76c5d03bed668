"""Consistent pseudonyms: the same value always becomes the same made-up one, given a secret key.

Every made-up value is reserved, impossible or fails its check on purpose, so it is nobody's, and reading it
again finds nothing: mail at example.com (RFC 2606), numbers 555-01xx, addresses of the benchmarking network
198.18.0.0/15 (RFC 2544) and the documentation network 2001:db8::/32 (RFC 3849), issuers and regions that do
not exist. A value is kept by no one: the fake is computed from it with HMAC-SHA256 (RFC 2104), so only who
has the key can tell which value a fake stands for, by trying.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Literal

from rootlm.core.config import Config
from rootlm.text.personal.checksums import credit_check, id_check, luhn
from rootlm.text.personal.personal_places import is_chinese
from rootlm.text.personal.personal_values import Finding

_FEWEST_KEY_BYTES = 16
_LETTERS = "abcdefghijkmnopqrstuvwxyz"
_PLATES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
_BORN, _DAYS = date(1950, 1, 1), 20_000


class Pseudonyms(Config):
    """Replace a value by a made-up one of the same kind, the same one wherever it stands."""

    kind: Literal["pseudonyms"] = "pseudonyms"
    key_file: Path | None = None
    """File with the secret key, 16 bytes or more; null: the environment variable has it."""
    key_variable: str = "ROOTLM_REDACTION_KEY"
    """Environment variable with the secret key, when no file is given. A key never stands in a recipe."""

    def build(self) -> Callable[[Finding], str]:
        """Return what gives each value its pseudonym. Raises ValueError when there is no good key."""
        key = self._key()

        def pseudonym(found: Finding) -> str:
            seed = hmac.digest(key, f"{found.kind}\0{found.value}".encode(), "sha256")
            return FAKES[found.kind](found.value, Draw(seed))

        return pseudonym

    def sign(self) -> str:
        """Return four bytes that tell two keys apart; raises ValueError when there is no good key."""
        return hmac.digest(self._key(), b"which key", "sha256")[:4].hex()

    def _key(self) -> bytes:
        if self.key_file is not None:
            place = str(self.key_file)
            try:
                key = self.key_file.read_bytes().strip()
            except OSError as error:
                problem = f"cannot read the key of the pseudonyms: {error.strerror}"
                raise ValueError(f"{place}: {problem}; set key_file to a file that holds it") from None
        else:
            place = f"environment variable {self.key_variable}"
            key = os.environ.get(self.key_variable, "").strip().encode()
            if not key:
                raise ValueError(
                    f"{place}: no key for pseudonyms; set it or key_file, or replace by marks "
                    "(replacement.kind=marks)"
                )
        if len(key) < _FEWEST_KEY_BYTES:
            raise ValueError(
                f"{place}: the key for pseudonyms has fewer than {_FEWEST_KEY_BYTES} bytes; make one with "
                "`openssl rand -hex 32`"
            )
        return key


class Draw:
    """Numbers drawn from a seed; the same seed draws the same."""

    def __init__(self, seed: bytes) -> None:
        self._number = int.from_bytes(hashlib.shake_256(seed).digest(64), "big")

    def below(self, limit: int) -> int:
        """Return the next number from 0 to `limit` - 1."""
        self._number, drawn = divmod(self._number, limit)
        return drawn

    def digits(self, count: int) -> str:
        """Return the next digits."""
        return "".join(str(self.below(10)) for _ in range(count))

    def letters(self, count: int) -> str:
        """Return the next letters."""
        return "".join(_LETTERS[self.below(len(_LETTERS))] for _ in range(count))


def _email(_: str, draw: Draw) -> str:
    return f"{draw.letters(10)}@example.com"


def _url(value: str, draw: Draw) -> str:
    scheme = value.partition("://")[0]
    return f"{scheme}://user:{draw.letters(10)}@example.com"


def _phone(value: str, draw: Draw) -> str:
    if value.startswith("+860"):
        return f"010-0{draw.digits(7)}"
    if value.startswith("+86"):
        return f"100{draw.digits(8)}"
    if value.startswith("+1"):
        return f"{200 + draw.below(800)}-555-01{draw.digits(2)}"
    if value.startswith("+"):
        return f"+999 {draw.digits(9)}"
    return f"555-01{draw.digits(2)}"


def _id_card(_: str, draw: Draw) -> str:
    # No region has the code 999999.
    born = _BORN + timedelta(days=draw.below(_DAYS))
    number = f"999999{born:%Y%m%d}{draw.digits(3)}"
    return number + _other(id_check(number))


def _credit_code(_: str, draw: Draw) -> str:
    code = f"91000000{draw.digits(9)}"
    return code + _other(credit_check(code))


def _bank_card(_: str, draw: Draw) -> str:
    number = f"9999{draw.digits(11)}"
    return number + next(str(last) for last in range(10) if not luhn(f"{number}{last}"))


def _ip(value: str, draw: Draw) -> str:
    if ":" in value:
        groups = ":".join(f"{draw.below(1 << 16):x}" for _ in range(6))
        return f"2001:db8:{groups}"
    return f"198.{18 + draw.below(2)}.{draw.below(256)}.{draw.below(256)}"


def _mac(_: str, draw: Draw) -> str:
    return ":".join(["02:00:00", *(f"{draw.below(256):02x}" for _ in range(3))])


def _address(value: str, draw: Draw) -> str:
    number = 1 + draw.below(9999)
    return f"示例省示例市示例路{number}号" if is_chinese(value) else f"{number} Example Street"


def _other(check: str) -> str:
    """Return a wrong check digit."""
    return "0" if check == "9" or not check.isdigit() else str(int(check) + 1)


FAKES: Mapping[str, Callable[[str, Draw], str]] = {
    "email": _email,
    "url": _url,
    "phone": _phone,
    "id_card": _id_card,
    "credit_code": _credit_code,
    "bank_card": _bank_card,
    "ip": _ip,
    "mac": _mac,
    "address": _address,
    # No country is XX, and no plate has an I.
    "iban": lambda _, draw: f"XX00{draw.digits(16)}",
    "passport": lambda _, draw: f"XX{draw.digits(7)}",
    "ssn": lambda _, draw: f"000-{draw.digits(2)}-{draw.digits(4)}",
    "plate": lambda _, draw: f"{_PLATES[draw.below(len(_PLATES))]}I{draw.digits(5)}",
}
"""What makes up a value of each kind, from the real one's form and a draw."""
