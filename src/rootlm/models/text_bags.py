"""The words of many texts as what makes a bag of rows: each different word once, with its row, hash and n-grams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rootlm.models.subwords import rows_of


class Lexicon(NamedTuple):
    """Different words, in the order of `text_bag_kernel.put_bag`."""

    own: NDArray[np.int32]
    """The row of each word, −1 for none."""
    hashes: NDArray[np.int32]
    starts: NDArray[np.int64]
    """Where the buckets of each word's characters begin."""
    parts: NDArray[np.int32]


def lexicon(words: Sequence[str], own: NDArray[np.int32], shape: tuple[int, int, int]) -> Lexicon:
    """Return what is known of words; `shape` is the least and most characters of an n-gram, and the buckets."""
    from rootlm.models.text_bag_kernel import hash_words

    encoded = [word.encode() for word in words]
    borders = np.zeros(len(words) + 1, np.int64)
    np.cumsum([len(word) for word in encoded], out=borders[1:])
    hashes = hash_words(np.frombuffer(b"".join(encoded), np.uint8), borders)
    if not shape[1]:
        return Lexicon(own, hashes, np.zeros(len(words) + 1, np.int64), np.empty(0, np.int32))
    spans = rows_of(words, *shape)
    return Lexicon(own, hashes, spans.starts, spans.rows)
