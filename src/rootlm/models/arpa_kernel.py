"""The lines of an ARPA file, written and read as bytes, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rootlm.core.compiled import compiled
from rootlm.models.ngram_kernel import child
from rootlm.models.word_hash_kernel import find_word

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Words = NDArray[np.int32]
Logs = NDArray[np.float32]

NUMBER_BYTES = 13
_DIGITS = 10_000_000
_IMPOSSIBLE = -99.0
_LINE, _SPACE, _TAB, _RETURN, _BACKSLASH = ord("\n"), ord(" "), ord("\t"), ord("\r"), ord("\\")
_ZERO, _NINE, _MINUS, _PLUS, _POINT, _E, _LITTLE_E, _I = (ord(c) for c in "09-+.Eei")
NO_NUMBER, NO_WORD, TOO_FEW, UNEXPECTED = 1, 2, 3, 4


@compiled
def _put_number(value: float, out: Bytes, place: int) -> int:
    """Write a number of at most 99.9999999 with seven decimals; returns the place after it."""
    value = max(value, _IMPOSSIBLE)
    if value < 0:
        out[place] = _MINUS
        place += 1
        value = -value
    whole = np.int64(value * _DIGITS + 0.5)
    if whole == 0:
        out[place] = _ZERO
        return place + 1
    first, rest = whole // _DIGITS, whole % _DIGITS
    if first >= 10:
        out[place] = _ZERO + first // 10 % 10
        place += 1
    out[place] = _ZERO + first % 10
    out[place + 1] = _POINT
    for back in range(7):
        out[place + 8 - back] = _ZERO + rest % 10
        rest //= 10
    return place + 9


@compiled
def put_lines(
    level: int,
    begin: int,
    end: int,
    parents: Ints,
    tables: tuple[Words, Words, Logs, Logs],
    mark: int,
    letters: Bytes,
    ends: Ints,
    out: Bytes,
) -> int:
    """Write the lines of nodes `begin` … `end` of an order; returns how many bytes.

    `parents` holds, from the last word's order up, the ancestors of node `begin`, and last itself. The words are
    letters[ends[w]] … letters[ends[w + 1]], and each ends in a space. Where `mark` does not end an n-gram, it is
    written as the last of the words.
    """
    words, starts, logps, backoffs = tables
    scale = 1 / np.log(10.0)
    place = 0
    for node in range(begin, end):
        parents[level - 1] = node
        for above in range(level - 2, -1, -1):
            if parents[above + 1] < starts[parents[above] + 1]:
                break
            while parents[above + 1] >= starts[parents[above] + 1]:
                parents[above] += 1
        place = _put_number(logps[node] * scale, out, place)
        out[place] = _TAB
        place += 1
        for step in range(level - 1, -1, -1):
            word = np.int64(words[parents[step]])
            if word == mark and step > 0:
                word = np.int64(len(ends) - 2)
            for letter in range(ends[word], ends[word + 1]):
                out[place] = letters[letter]
                place += 1
        place -= 1
        if node < len(backoffs):
            out[place] = _TAB
            place = _put_number(backoffs[node] * scale, out, place + 1)
        out[place] = _LINE
        place += 1
    return place


@compiled
def most_bytes(
    level: int, begin: int, end: int, parents: Ints, tables: tuple[Words, Words, Logs, Logs], ends: Ints
) -> int:
    """Return how many bytes the lines take at most."""
    words, starts, _, _ = tables
    size = 0
    for node in range(begin, end):
        parents[level - 1] = node
        for above in range(level - 2, -1, -1):
            if parents[above + 1] < starts[parents[above] + 1]:
                break
            while parents[above + 1] >= starts[parents[above] + 1]:
                parents[above] += 1
        for step in range(level):
            word = words[parents[step]]
            size += ends[word + 1] - ends[word]
        size += 2 * NUMBER_BYTES + 3
    return size


@compiled
def _number(data: Bytes, place: int) -> tuple[float, int]:
    """Return the number that begins at `place` and where it ends; a place of −1 when there is none."""
    size = len(data)
    sign = 1.0
    if place < size and (data[place] == _MINUS or data[place] == _PLUS):
        sign = -1.0 if data[place] == _MINUS else 1.0
        place += 1
    if place + 2 < size and (data[place] | 32) == _I:
        return sign * np.inf, place + 3
    value, digits, power = 0.0, 0, 0
    while place < size and _ZERO <= data[place] <= _NINE:
        value = value * 10 + (data[place] - _ZERO)
        place += 1
        digits += 1
    if place < size and data[place] == _POINT:
        place += 1
        while place < size and _ZERO <= data[place] <= _NINE:
            value = value * 10 + (data[place] - _ZERO)
            place += 1
            digits += 1
            power -= 1
    if not digits:
        return 0.0, -1
    if place < size and (data[place] == _E or data[place] == _LITTLE_E):
        place += 1
        minus = place < size and data[place] == _MINUS
        if place < size and (data[place] == _MINUS or data[place] == _PLUS):
            place += 1
        exponent = 0
        while place < size and _ZERO <= data[place] <= _NINE:
            exponent = exponent * 10 + (data[place] - _ZERO)
            place += 1
        power += -exponent if minus else exponent
    return sign * value * 10.0**power, place


@compiled
def get_lines(
    data: Bytes, place: int, order: int, spans: Ints, holders: Words, ids: Words, logs: Logs, backoffs: Logs
) -> tuple[int, int, int]:
    """Read the lines of an order; returns (lines read, place after them, what is wrong).

    Order 1 fills `spans` and `holders`, the others look words up in them. Blank lines are passed over; a line that
    begins with a backslash, or the data's end, ends the section.
    """
    size, line = len(data), 0
    while True:
        while place < size and data[place] <= _SPACE:
            place += 1
        if place >= size or data[place] == _BACKSLASH:
            return line, place, 0
        if line == len(logs):
            return line, place, UNEXPECTED
        begin = place
        value, place = _number(data, place)
        if place < 0 or place >= size or data[place] > _SPACE:
            return line, begin, NO_NUMBER
        logs[line] = value
        for slot in range(order):
            while place < size and (data[place] == _SPACE or data[place] == _TAB):
                place += 1
            word_begin = place
            while place < size and data[place] > _SPACE:
                place += 1
            if place == word_begin:
                return line, begin, TOO_FEW
            word, free = find_word(data, spans, holders, data, word_begin, place)
            if order == 1:
                if word >= 0:
                    return line, begin, UNEXPECTED
                word = line
                spans[word, 0], spans[word, 1] = word_begin, place
                holders[free] = word
            elif word < 0:
                return line, word_begin, NO_WORD
            ids[line, slot] = word
        while place < size and (data[place] == _SPACE or data[place] == _TAB or data[place] == _RETURN):
            place += 1
        backoffs[line] = 0
        if place < size and data[place] != _LINE:
            value, place = _number(data, place)
            if place < 0:
                return line, begin, NO_NUMBER
            backoffs[line] = value
            while place < size and (data[place] == _SPACE or data[place] == _TAB or data[place] == _RETURN):
                place += 1
            if place < size and data[place] != _LINE:
                return line, begin, NO_NUMBER
        line += 1


@compiled
def find_parents(words: Words, starts: Words, ids: Words, found: Ints, contexts: Ints) -> None:
    """Write the node of each n-gram without its first word, and without its last; −1 where there is none."""
    order = ids.shape[1]
    for row in range(len(ids)):
        for which in range(2):
            last = order - 1 - which
            node = ids[row, last]
            for slot in range(last - 1, -which, -1):
                if node >= 0:
                    node = child(words, starts, node, ids[row, slot])
            if which:
                contexts[row] = node
            else:
                found[row] = node
