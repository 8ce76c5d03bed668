"""The fields of a protocol buffer message, read by the wire format alone: nothing is executed."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_VARINT, _EIGHT_BYTES, _MEASURED, _FOUR_BYTES = 0, 1, 2, 5
_LONGEST_VARINT = 10


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the number of each field with its value: an int, or the bytes of a string, message or fixed number.

    Raises ValueError where the message ends inside a field or is no message at all.

    >>> list(fields(bytes([0x08, 0x96, 0x01, 0x12, 0x02, 0x68, 0x69])))
    [(1, 150), (2, b'hi')]
    """
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, place = _varint(message, place)
            yield number, value
            continue
        if kind == _MEASURED:
            size, place = _varint(message, place)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            size = 8 if kind == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"byte {place}: no field of a protocol buffer begins so")
        if number == 0:
            raise ValueError(f"byte {place}: a field has the number 0, which none may have")
        if place + size > len(message):
            raise ValueError(f"byte {place}: a field of {size} bytes, but only {len(message) - place} follow")
        yield number, message[place : place + size]
        place += size


def single(value: int | bytes) -> float:
    """Return a four-byte field as a number."""
    if not isinstance(value, bytes) or len(value) != 4:
        raise ValueError("a score is not a number of four bytes")
    return float(struct.unpack("<f", value)[0])


def signed(value: int | bytes) -> int:
    """Return an int32 field, which is written as 64 bits of two's complement when negative."""
    if not isinstance(value, int):
        raise ValueError("a whole number was expected, but other bytes stand there")
    return value - 2**64 if value >= 2**63 else value


def text(value: int | bytes) -> str:
    """Return a string field."""
    return contents(value).decode("utf-8")


def contents(value: int | bytes) -> bytes:
    """Return the bytes of a string or message field."""
    if not isinstance(value, bytes):
        raise ValueError("a string was expected, but a number stands there")
    return value


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = 0
    for count, byte in enumerate(message[place : place + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value & (2**64 - 1), place + count + 1
    raise ValueError(f"byte {place}: the message ends, or a number does not")
