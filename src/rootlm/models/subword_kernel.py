"""Compiled: the rows of words' n-grams, and the means of those rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rootlm.core.compiled import compiled

_LESS, _MORE = np.uint8(60), np.uint8(62)
_FNV_START, _FNV_PRIME = np.uint32(2166136261), np.uint32(16777619)


@compiled
def is_inner(byte: int) -> bool:
    """Tell whether a byte of UTF-8 goes on with a character."""
    return (byte & 0xC0) == 0x80


@compiled
def put_word(
    marked: NDArray[np.uint8], shape: tuple[int, int, int], rows: NDArray[np.int32], place: int
) -> int:
    """Put the rows of a marked word's n-grams from `place` on, if `rows` has room at all; return where they end."""
    minimum, maximum, buckets = shape
    last = len(marked)
    for begin in range(last):
        if is_inner(marked[begin]):
            continue
        hashed = _FNV_START
        end, size = begin, 0
        while end < last and size < maximum:
            size += 1
            first = True
            while end < last and (first or is_inner(marked[end])):
                # A byte of 128 or more is negative, and its sign fills the word.
                signed = np.uint32(np.int32(np.int8(marked[end])))
                hashed = np.uint32((hashed ^ signed) * _FNV_PRIME)
                end += 1
                first = False
            if size >= minimum and not (size == 1 and (begin == 0 or end == last)):
                if len(rows):
                    rows[place] = hashed % np.uint32(buckets)
                place += 1
    return place


@compiled
def put_rows(
    letters: NDArray[np.uint8],
    borders: NDArray[np.int64],
    shape: tuple[int, int, int],
    starts: NDArray[np.int64],
    rows: NDArray[np.int32],
) -> None:
    """Put where each word's rows start and, if `rows` has room, the rows; `</s>` has none."""
    longest = 0
    for word in range(len(borders) - 1):
        longest = max(longest, borders[word + 1] - borders[word])
    marked = np.empty(longest + 2, np.uint8)
    for word in range(len(borders) - 1):
        begin, size = borders[word], borders[word + 1] - borders[word]
        marked[0] = _LESS
        marked[1 : size + 1] = letters[begin : begin + size]
        marked[size + 1] = _MORE
        is_end = (
            size == 4 and marked[1] == _LESS and marked[2] == 47 and marked[3] == 115 and marked[4] == _MORE
        )
        place = starts[word]
        starts[word + 1] = place if is_end else put_word(marked[: size + 2], shape, rows, place)


@compiled
def average(
    own: NDArray[np.float32],
    matrix: NDArray[np.float32],
    rows: NDArray[np.int32],
    starts: NDArray[np.int64],
    out: NDArray[np.float32],
) -> None:
    """Put into each row of `out` the mean of the word's own row, if there is one, and of its n-grams' rows."""
    size = out.shape[1]
    for word in range(len(out)):
        terms = starts[word + 1] - starts[word]
        for at in range(size):
            out[word, at] = own[word, at] if len(own) else np.float32(0)
        terms += 1 if len(own) else 0
        for place in range(starts[word], starts[word + 1]):
            row = rows[place]
            for at in range(size):
                out[word, at] += matrix[row, at]
        if terms:
            scale = np.float32(1.0 / terms)
            for at in range(size):
                out[word, at] *= scale
