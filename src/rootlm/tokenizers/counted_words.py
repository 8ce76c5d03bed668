"""A text of words apart as ranks: every word counted, rare ones left out, the most frequent word first.

The text comes in pieces that end with a line. Each piece is cut by itself, several at a time, and its words get the
numbers of the whole text when it is done; so a text may be larger than the memory, and no result depends on threads.
"""

from __future__ import annotations

import mmap
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rootlm.tokenizers.phrases import JOINT, Phrases, find, join

Ints = NDArray[np.int64]
Tokens = NDArray[np.int32]

PIECE_BYTES = 8 << 20
LONGEST_LINE = 10_000
"""Words of a line that are read together; word2vec and gensim cut longer ones at the same place."""
# Ids 0 and 1 are taken, and 1 ends a line. No text in UTF-8 holds these bytes.
_HEAD = b"\xff\xfe \xff\xff\n"
_LINE_END = 1


@dataclass(frozen=True)
class CountedWords:
    """A text as ranks, line by line."""

    words: list[str]
    """The words that are kept, the most frequent first, equals by their bytes."""
    counts: Ints
    """How often each occurs."""
    tokens: Tokens
    """The rank of every word of the text, those left out skipped."""
    borders: Ints
    """(lines + 1,): where each line begins."""
    read: int
    """Words read, those left out too."""
    distinct: int
    """Different words read."""
    phrases: list[str]
    """The words that were joined of others, the most frequent pair first; rare ones may be left out of `words`."""
    held: list[BinaryIO] = field(default_factory=list)
    """The unnamed files that `tokens` lies in, if any; they vanish with this."""


class _Cut(NamedTuple):
    ids: Tokens
    words: list[bytes]
    counts: Ints


def pieces_of(path: Path, piece_bytes: int = PIECE_BYTES) -> Iterator[bytes]:
    """Yield a file in pieces that end with a line, or with a word where a line is longer than a piece.

    Raises ValueError for a file that is missing or empty.
    """
    try:
        with path.open("rb") as stream:
            if not stream.seek(0, 2):
                raise ValueError(f"{path}: is empty; give a text of words apart")
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as text:
                begin = 0
                while begin < len(text):
                    end = _end(text, begin, begin + piece_bytes)
                    yield text[begin:end]
                    begin = end
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error


def _end(text: mmap.mmap, begin: int, most: int) -> int:
    if most >= len(text):
        return len(text)
    for mark in (b"\n", b" "):
        end = text.rfind(mark, begin, most) + 1
        if end > begin:
            return end
    end = text.find(b"\n", most) + 1
    return end if end else len(text)


def count_words(
    pieces: Iterable[bytes],
    *,
    min_count: int = 5,
    threads: int = 1,
    memory_bytes: int = 4 << 30,
    longest_line: int = LONGEST_LINE,
    phrases: Phrases | None = None,
) -> CountedWords:
    """Count and rank the words of pieces of text; what does not fit in `memory_bytes` lies in unnamed files.

    `phrases` joins words that stand together, before any is left out. A line of more words than `longest_line`
    becomes several. Raises ValueError when no word is left.

    >>> counted = count_words([b"a b a\\nc a b\\n"], min_count=2)
    >>> counted.words, counted.counts.tolist(), counted.tokens.tolist(), counted.borders.tolist()
    (['a', 'b'], [3, 2], [0, 1, 0, 0, 1], [0, 3, 5])
    """
    numbers: dict[bytes, int] = {}
    counts = np.zeros(1 << 16, np.int64)
    store = _Store(memory_bytes)
    with ThreadPoolExecutor(threads) as pool:
        for cut in _in_order(pool, pieces, threads):
            whole = np.array([numbers.setdefault(word, len(numbers)) for word in cut.words], np.int32)
            if len(numbers) > len(counts):
                counts = np.concatenate((counts, np.zeros(max(len(counts), len(numbers)), np.int64)))
            counts[whole] += cut.counts
            # The first two ids are no words.
            store.add(np.concatenate((np.array([0, _LINE_END], np.int32), whole + 2))[cut.ids])
    read = _Read(list(numbers), counts[: len(numbers)], store)
    total, distinct, joined = int(counts.sum()), len(numbers), []
    if phrases:
        for _ in range(phrases.passes):
            read = _joined(read, phrases)
        # What was joined has got its number after all words, unless the text had the word already.
        order = np.argsort(-read.counts[distinct:], kind="stable") + distinct
        joined = [
            read.words[number].decode(errors="backslashreplace") for number in order[read.counts[order] > 0]
        ]
    ranked = _ranked(read, min_count, longest_line)
    return CountedWords(*ranked, total, distinct, joined, read.store.files)


def _joined(read: _Read, settings: Phrases) -> _Read:
    """Return the text with its phrases as words of their own."""
    words, counts, store = read
    # As in the store, the first two ids are no words.
    found = find(store.parts(keep=True), np.concatenate((np.zeros(2, np.int64), counts)), settings, words=2)
    numbers = {word: number for number, word in enumerate(words)}
    names = [
        JOINT.join((words[first], words[second]))
        for first, second in zip((found.first - 2).tolist(), (found.second - 2).tolist(), strict=True)
    ]
    ids = np.array([numbers.setdefault(name, len(numbers)) + 2 for name in names], np.int32)
    joined, left = _Store(store.memory_bytes), np.zeros(len(numbers) + 2, np.int64)
    for part in join(store.parts(), found, ids, len(words) + 2):
        left += np.bincount(part, minlength=len(left))
        joined.add(part.copy())
    return _Read(list(numbers), left[2:], joined)


def _in_order(pool: ThreadPoolExecutor, pieces: Iterable[bytes], threads: int) -> Iterator[_Cut]:
    waiting = deque()  # type: ignore[var-annotated]
    for piece in pieces:
        waiting.append(pool.submit(_cut, piece))
        if len(waiting) > threads:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _cut(piece: bytes) -> _Cut:
    from rootlm.tokenizers.spaced_kernel import cut_words

    text = _HEAD + piece
    ids, _, begins, ends = cut_words(np.frombuffer(text, np.uint8))
    # The head is two words and a line's end.
    ids = ids[3:]
    words = [text[begin:end] for begin, end in zip(begins[2:].tolist(), ends[2:].tolist(), strict=True)]
    return _Cut(ids, words, np.bincount(ids, minlength=len(begins))[2:])


def _ranked(read: _Read, min_count: int, longest: int) -> tuple[list[str], Ints, Tokens, Ints]:
    """Return the words that are kept, their counts, the text as their ranks, and where its lines end."""
    from rootlm.tokenizers.counted_kernel import LINE, rank

    words, counts, store = read
    frequent = np.flatnonzero(counts >= min_count)
    if not len(frequent):
        most = int(counts.max(initial=0))
        what = f"the most frequent word occurs {most:,} times" if most else "the text holds no word"
        remedy = f"set min_count={most} or less" if most else "give a text of words apart"
        raise ValueError(f"min_count={min_count}: no word is left, {what}; {remedy}")
    order = sorted(frequent.tolist(), key=lambda number: (-counts[number], words[number]))
    ranks = np.full(len(words) + 2, -1, np.int32)
    ranks[_LINE_END] = LINE
    ranks[np.array(order) + 2] = np.arange(len(order))
    # Every word has a line at the most, and so a border.
    tokens, count = store.room(int(counts[order].sum())), 0
    borders = [np.zeros(1, np.int64)]
    for ids in store.parts():
        ends = np.empty(len(ids) + 1, np.int64)
        more, lines = rank(ids, ranks, longest, tokens[count:], ends)
        borders.append(ends[:lines] + count)
        count += more
    # Bytes that are no UTF-8 are written out, so that different words stay different.
    kept = [words[number].decode(errors="backslashreplace") for number in order]
    return kept, counts[order], tokens, np.concatenate(borders)


class _Read(NamedTuple):
    """Words in the order they were met, how often each occurs, and the text as their numbers and two."""

    words: list[bytes]
    counts: Ints
    store: _Store


class _Store:
    """Arrays of ids one after another, in memory or, when they are many, in a file without a name."""

    def __init__(self, memory_bytes: int) -> None:
        self.files: list[BinaryIO] = []
        self.memory_bytes = memory_bytes
        self._arrays: list[Tokens] = []
        self._sizes: list[int] = []

    def add(self, ids: Tokens) -> None:
        """Keep an array."""
        self._sizes.append(len(ids))
        if not self.files:
            self._arrays.append(ids)
            # The ranks take as much again.
            if 8 * sum(self._sizes) > self.memory_bytes:
                self.files.append(_unnamed())
                for array in self._arrays:
                    array.tofile(self.files[0])
                self._arrays = []
        else:
            ids.tofile(self.files[0])

    def parts(self, keep: bool = False) -> Iterator[Tokens]:
        """Yield the arrays again, for the last time unless `keep` is set."""
        if not self.files:
            for place in range(len(self._arrays)):
                yield self._arrays[place] if keep else self._arrays.pop(0)
            return
        self.files[0].seek(0)
        for size in self._sizes:
            yield np.fromfile(self.files[0], np.int32, size)

    def room(self, count: int) -> Tokens:
        """Return an array to write so many ranks to."""
        if not self.files:
            return np.empty(count, np.int32)
        self.files.append(_unnamed())
        self.files[-1].truncate(4 * max(1, count))
        return np.memmap(self.files[-1], np.int32, "r+", shape=(count,))


def _unnamed() -> BinaryIO:
    return tempfile.TemporaryFile(prefix="rootlm-words-")
