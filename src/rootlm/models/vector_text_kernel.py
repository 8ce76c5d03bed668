"""Compiled: lines of a word and its numbers, read into a matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rootlm.core.compiled import compiled

FINE, FEW, NO_NUMBER = 0, 1, 2
"""What a line was: whole, of fewer numbers than the others, or with something that is none."""
_SPACE, _TAB, _RETURN, _LINE = 32, 9, 13, 10
_POWERS = np.array([10.0**power for power in range(23)])
_MOST_DIGITS = 18


@compiled
def is_gap(byte: int) -> bool:
    """Tell whether a byte stands between numbers."""
    return byte in (_SPACE, _TAB)


@compiled
def number_at(text: NDArray[np.uint8], place: int, end: int) -> tuple[float, int]:
    """Return the number at a place and where it ends, −1 if there is none; 18 digits are read, others only counted.

    Up to 15 digits with an exponent of at most 22 the result is the nearest double (Clinger 1990).
    """
    negative = False
    if place < end and (text[place] == 45 or text[place] == 43):
        negative = text[place] == 45
        place += 1
    digits, power, seen, pointed = np.int64(0), 0, 0, False
    any_digit = False
    while place < end:
        byte = np.int64(text[place])
        if 48 <= byte <= 57:
            any_digit = True
            if seen < _MOST_DIGITS:
                digits = digits * 10 + (byte - 48)
                seen += 1 if digits else 0
                power -= 1 if pointed else 0
            else:
                power += 0 if pointed else 1
        elif byte == 46 and not pointed:
            pointed = True
        else:
            break
        place += 1
    if not any_digit:
        return 0.0, -1
    if place < end and (text[place] == 101 or text[place] == 69):
        place += 1
        below = False
        if place < end and (text[place] == 45 or text[place] == 43):
            below = text[place] == 45
            place += 1
        if place >= end or not 48 <= text[place] <= 57:
            return 0.0, -1
        exponent = 0
        while place < end and 48 <= text[place] <= 57:
            if exponent < 9999:
                exponent = exponent * 10 + int(text[place]) - 48
            place += 1
        power += -exponent if below else exponent
    value = float(digits)
    while power > 22 and value != 0 and value < 1e300:
        value *= _POWERS[22]
        power -= 22
    while power < -22 and value != 0:
        value /= _POWERS[22]
        power += 22
    if value != 0:
        value = value * _POWERS[min(power, 22)] if power >= 0 else value / _POWERS[-power]
    return -value if negative else value, place


@compiled
def put_numbers(text: NDArray[np.uint8], place: int, end: int, out: NDArray[np.float32]) -> bool:
    """Put the numbers from a place to the line's end; tell whether there were just as many as asked."""
    for at in range(len(out)):
        while place < end and is_gap(text[place]):
            place += 1
        value, place = number_at(text, place, end)
        if place < 0 or (place < end and not is_gap(text[place])):
            return False
        out[at] = value
    return place == end


@compiled
def word_end(text: NDArray[np.uint8], begin: int, end: int, size: int) -> int:
    """Return where the word of a line ends when its last `size` parts are numbers; −1 when it has fewer parts."""
    place = end
    for _ in range(size):
        while place > begin and not is_gap(text[place - 1]):
            place -= 1
        if place <= begin:
            return -1
        while place > begin and is_gap(text[place - 1]):
            place -= 1
    return place


@compiled
def put_lines(
    text: NDArray[np.uint8], place: int, borders: NDArray[np.int64], out: NDArray[np.float32]
) -> tuple[int, int, int, int]:
    """Read whole lines from `place` on, as long as there is room.

    Puts where each line's word begins and ends into `borders` (rows, 2) and its numbers into `out` (rows, size).
    Returns the rows, where the next line begins, how many lines were empty and what the last line was; one that is
    not fine is not counted, and is the next line.
    """
    rows, empty, size = 0, 0, out.shape[1]
    while place < len(text) and rows < len(out):
        begin = place
        while text[place] != _LINE:
            place += 1
        end, following = place, place + 1
        while end > begin and (is_gap(text[end - 1]) or text[end - 1] == _RETURN):
            end -= 1
        place = following
        if end == begin:
            empty += 1
            continue
        first = begin
        while first < end and not is_gap(text[first]):
            first += 1
        if not put_numbers(text, first, end, out[rows]):
            first = word_end(text, begin, end, size)
            if first < 0:
                return rows, begin, empty, FEW
            if not put_numbers(text, first, end, out[rows]):
                return rows, begin, empty, NO_NUMBER
        borders[rows, 0], borders[rows, 1] = begin, first
        rows += 1
    return rows, place, empty, FINE


@compiled
def put_binary(
    held: NDArray[np.uint8], place: int, borders: NDArray[np.int64], out: NDArray[np.uint8]
) -> tuple[int, int]:
    """Read whole records from `place` on: a word, a space, its numbers as bytes, perhaps a line's end.

    Puts words' borders as `put_lines` does, and the bytes into `out` (rows, bytes). Returns the rows and where the
    next record begins.
    """
    rows, size = 0, out.shape[1]
    while place < len(held) and rows < len(out):
        begin = place
        while begin < len(held) and held[begin] == _LINE:
            begin += 1
        end = begin
        while end < len(held) and held[end] != _SPACE:
            end += 1
        if end + 1 + size > len(held):
            break
        borders[rows, 0], borders[rows, 1] = begin, end
        out[rows] = held[end + 1 : end + 1 + size]
        rows += 1
        place = end + 1 + size
    return rows, place
