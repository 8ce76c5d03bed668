"""fastText's subwords: the character n-grams of a word, each hashed to a row of one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BEGIN, END = "<", ">"
"""What stands around a word before it is cut."""
SENTENCE_END = "</s>"
"""fastText's mark of a line's end, which is never cut."""
_FNV_START, _FNV_PRIME, _WORD = 2166136261, 16777619, 0xFFFFFFFF


@dataclass(frozen=True, eq=False)
class Subwords:
    """The vectors of all n-grams of `minimum` to `maximum` characters, `buckets` rows that n-grams share by hash.

    A word's vector is the mean of its own row and those of its n-grams; that of a word without a row, the mean of
    its n-grams (Bojanowski et al. 2017). A maximum of 0 cuts no word: the rows are then those of word n-grams.
    """

    minimum: int
    maximum: int
    buckets: int
    matrix: NDArray[np.float32]
    """The n-grams' vectors (buckets, size)."""
    own: NDArray[np.float32]
    """The words' own rows (words, size), before the n-grams' were added."""


class Spans(NamedTuple):
    """The rows of many words end to end; those of word n are `rows[starts[n] : starts[n + 1]]`."""

    rows: NDArray[np.int32]
    starts: NDArray[np.int64]


def cut(word: str, minimum: int, maximum: int) -> Iterator[str]:
    """Yield the n-grams of a word between its marks, left to right, the shortest first; never a mark alone.

    >>> list(cut("ab", 2, 3)), list(cut("北京", 1, 2))
    (['<a', '<ab', 'ab', 'ab>', 'b>'], ['<北', '北', '北京', '京', '京>'])
    """
    if word == SENTENCE_END:
        return
    marked = BEGIN + word + END
    for begin in range(len(marked)):
        for size in range(1, maximum + 1):
            end = begin + size
            alone = size == 1 and (begin == 0 or end == len(marked))
            if size >= minimum and end <= len(marked) and not alone:
                yield marked[begin:end]


def bucket(ngram: str, buckets: int) -> int:
    """Return the row of an n-gram: FNV-1a over its UTF-8 bytes, each read as a signed number as fastText does.

    >>> bucket("<ab", 2_000_000), bucket("北京", 2_000_000)
    (209508, 1908609)
    """
    hashed = _FNV_START
    for byte in ngram.encode():
        signed = byte - 256 if byte > 127 else byte
        hashed = (hashed ^ (signed & _WORD)) * _FNV_PRIME & _WORD
    return hashed % buckets


def rows_of(words: Sequence[str | bytes], minimum: int, maximum: int, buckets: int) -> Spans:
    """Return the rows of every word's n-grams in the order of `cut`, by a compiled kernel.

    Words may be given as bytes, for those of a file that are no valid UTF-8.
    """
    from rootlm.models.subword_kernel import put_rows

    encoded = [word.encode() if isinstance(word, str) else word for word in words]
    letters = np.frombuffer(b"".join(encoded), np.uint8)
    borders = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(word) for word in encoded], out=borders[1:])
    starts = np.zeros(len(encoded) + 1, np.int64)
    shape = (minimum, maximum, buckets)
    put_rows(letters, borders, shape, starts, np.empty(0, np.int32))
    rows = np.empty(starts[-1], np.int32)
    put_rows(letters, borders, shape, starts, rows)
    return Spans(rows, starts)


def averaged(
    own: NDArray[np.float32] | None, matrix: NDArray[np.float32], spans: Spans
) -> NDArray[np.float32]:
    """Return the words' vectors (words, size): the mean of each one's own row, if any, and of its n-grams' rows.

    Terms are added in fastText's order. A word without any row is 0.
    """
    from rootlm.models.subword_kernel import average

    out = np.empty((len(spans.starts) - 1, matrix.shape[1]), np.float32)
    held = np.empty((0, matrix.shape[1]), np.float32) if own is None else np.ascontiguousarray(own)
    average(held, np.ascontiguousarray(matrix), spans.rows, spans.starts, out)
    return out
