"""A text as a bag of rows: its words, their character n-grams and its word n-grams, numbered as fastText has them.

A word n-gram's row is h mod buckets, with h ← 116049371 h + hash of the next word in 64 bits, each hash a signed
number of 32 bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rootlm.core.compiled import compiled

Ints = NDArray[np.int64]
Rows = NDArray[np.int32]

_FNV_START, _FNV_PRIME = np.uint32(2166136261), np.uint32(16777619)
_STEP = np.uint64(116049371)


@compiled
def hash_words(letters: NDArray[np.uint8], borders: Ints) -> Rows:
    """Return the hash of each word of bytes: FNV-1a, every byte taken for a signed number."""
    hashes = np.empty(len(borders) - 1, np.int32)
    for word in range(len(hashes)):
        value = _FNV_START
        for place in range(borders[word], borders[word + 1]):
            value = np.uint32((value ^ np.uint32(np.int32(np.int8(letters[place])))) * _FNV_PRIME)
        hashes[word] = np.int32(value)
    return hashes


@compiled
def put_bag(
    words: Rows,
    begin: int,
    end: int,
    own: Rows,
    hashes: Rows,
    starts: Ints,
    parts: Rows,
    n_words: int,
    ngrams: int,
    buckets: int,
    bag: Ints,
) -> int:
    """Write the rows of a text's words; returns how many, and only counts where `bag` has no room.

    `own` is each word's row, −1 for none; `parts` from `starts[w]` on are the buckets of its characters. Bucket b
    is row n_words + b.
    """
    count = 0
    room = len(bag) > 0
    for place in range(begin, end):
        word = words[place]
        if own[word] >= 0:
            if room:
                bag[count] = own[word]
            count += 1
        for part in range(starts[word], starts[word + 1]):
            if room:
                bag[count] = n_words + parts[part]
            count += 1
    for place in range(begin, end):
        value = np.uint64(np.int64(hashes[words[place]]))
        for other in range(place + 1, min(end, place + ngrams)):
            value = value * _STEP + np.uint64(np.int64(hashes[words[other]]))
            if room:
                bag[count] = n_words + np.int64(value % np.uint64(buckets))
            count += 1
    return count


@compiled
def mean_of_bags(
    words: Rows,
    borders: Ints,
    own: Rows,
    hashes: Rows,
    starts: Ints,
    parts: Rows,
    word_rows: NDArray[np.float32],
    ngram_rows: NDArray[np.float32],
    ngrams: int,
    buckets: int,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the mean of each text's rows (texts, size), 0 for a text without any, and which texts have some."""
    texts, size, n_words = len(borders) - 1, word_rows.shape[1], len(word_rows)
    means, known = np.zeros((texts, size), np.float32), np.zeros(texts, np.bool_)
    bag = np.empty(0, np.int64)
    for text in range(texts):
        begin, end = borders[text], borders[text + 1]
        count = put_bag(words, begin, end, own, hashes, starts, parts, n_words, ngrams, buckets, bag[:0])
        if count > len(bag):
            bag = np.empty(2 * count, np.int64)
        put_bag(words, begin, end, own, hashes, starts, parts, n_words, ngrams, buckets, bag)
        for place in range(count):
            row = bag[place]
            known[text] = True
            if row < n_words:
                for number in range(size):
                    means[text, number] += word_rows[row, number]
            else:
                for number in range(size):
                    means[text, number] += ngram_rows[row - n_words, number]
        for number in range(size):
            means[text, number] /= max(1, count)
    return means, known
