"""Count n-grams: sorted runs, on disk when they do not fit in memory, and the tree that they make."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rootlm.training.ngram_count_kernel import build_levels, fill_keys, merge_equal, size_levels

Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]

THREADS = 2
_BYTES_PER_TOKEN = 40
"""What sorting one token's n-gram takes: its id, its key, the sorted copy, the tree."""
_MERGED_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Run:
    """The distinct n-grams of some text: for each last word, the words before it packed in a key, sorted."""

    offsets: Ints
    """(vocabulary + 1,): where the n-grams of each last word begin."""
    keys: Keys
    """(n-grams, groups): the words before the last, nearest first, each + 1; 0 where the document begins."""
    counts: NDArray[np.uint32]


@dataclass(frozen=True)
class Counted:
    """The tree of all n-grams with how often each occurs; the arrays are those of the model's tables."""

    sizes: Ints
    words: NDArray[np.int32]
    starts: NDArray[np.int32]
    counts: NDArray[np.uint32]
    """(nodes,): how often the n-gram occurs."""
    bos_id: int

    @property
    def order(self) -> int:
        """The most words an n-gram has."""
        return len(self.sizes)

    def span(self, order: int) -> slice:
        """Return where the nodes of an order stand."""
        begin = int(self.sizes[: order - 1].sum())
        return slice(begin, begin + int(self.sizes[order - 1]))

    def continuations(self, order: int) -> NDArray[np.uint32]:
        """Return for each n-gram of an order how many words stand before it, or how often it begins a document.

        The top order has nothing before it: its own counts. (Kneser and Ney 1995, as KenLM counts.)
        """
        span = self.span(order)
        if order == self.order:
            return self.counts[span]
        before = np.diff(self.starts[span.start : span.stop + 1]).astype(np.uint32)
        if order == 1:
            # A begin mark that ends documents too is a word like any other here: nothing begins with it alone.
            return before
        begins = self.words[span] == self.bos_id
        before[begins] = self.counts[span][begins]
        return before


@dataclass(frozen=True)
class Packing:
    """How the words before the last are packed in keys of 64 bits."""

    order: int
    vocab_size: int

    @property
    def bits(self) -> int:
        """Bits of a word; words are written + 1."""
        return int(self.vocab_size).bit_length()

    @property
    def per_key(self) -> int:
        """Words in one key."""
        return 64 // self.bits

    @property
    def groups(self) -> int:
        """Keys of one n-gram."""
        return max(1, -(-(self.order - 1) // self.per_key))


def count(
    pieces: Iterable[tuple[NDArray[np.integer], Ints]],
    order: int,
    vocab_size: int,
    bos_id: int,
    memory_mb: int = 2000,
) -> Counted:
    """Count every n-gram of documents, each read after a begin mark, which is only a context.

    A piece is (ids, offsets): whole documents end to end, end marks included, and where each begins. What
    does not fit in `memory_mb` is sorted in runs on disk; the tree of distinct n-grams is held in memory.
    """
    packing = Packing(order, vocab_size)
    most = max(1, memory_mb * 1_000_000 // _BYTES_PER_TOKEN)
    with tempfile.TemporaryDirectory(prefix="rootlm-ngrams-") as place:
        runs = _runs(_cut(pieces, most), most, packing, bos_id, Path(place))
        run = runs[0] if len(runs) == 1 else _merge(runs, packing)
        return _tree(run, packing, bos_id)


def _runs(
    pieces: Iterable[tuple[NDArray[np.integer], Ints]], most: int, packing: Packing, bos_id: int, folder: Path
) -> list[Run]:
    """Sort about `most` tokens at a time; all but the last run are on disk, and no piece is held any more."""
    stored: list[Run] = []
    waiting: list[tuple[NDArray[np.integer], Ints]] = []
    held = 0
    for ids, offsets in pieces:
        if waiting and held + len(ids) > most:
            stored.append(_on_disk(_sorted_run(waiting, packing, bos_id), folder, len(stored)))
            waiting, held = [], 0
        waiting.append((ids, offsets))
        held += len(ids)
    return [*stored, _sorted_run(waiting, packing, bos_id)]


def _cut(
    pieces: Iterable[tuple[NDArray[np.integer], Ints]], most: int
) -> Iterator[tuple[NDArray[np.integer], Ints]]:
    """Cut pieces between documents so that each has about `most` tokens at most."""
    for ids, offsets in pieces:
        begin = 0
        while begin < len(offsets) - 1:
            end = int(np.searchsorted(offsets, offsets[begin] + most, side="right")) - 1
            end = min(max(end, begin + 1), len(offsets) - 1)
            low, high = int(offsets[begin]), int(offsets[end])
            yield ids[low:high], offsets[begin : end + 1] - low
            begin = end


def _sorted_run(pieces: list[tuple[NDArray[np.integer], Ints]], packing: Packing, bos_id: int) -> Run:
    offsets = np.zeros(packing.vocab_size + 1, np.int64)
    for ids, _ in pieces:
        offsets[1:] += np.bincount(ids, minlength=packing.vocab_size)
    np.cumsum(offsets, out=offsets)
    keys = np.empty((int(offsets[-1]), packing.groups), np.uint64)
    free = offsets[:-1].copy()
    for ids, borders in pieces:
        fill_keys(ids, borders, bos_id, packing.order, packing.bits, packing.per_key, free, keys)
    _sort(keys, offsets)
    return Run(*merge_equal(keys, np.ones(len(keys), np.uint32), offsets))


def _sort(keys: Keys, offsets: Ints) -> None:
    """Sort the keys of each last word, words shared among threads."""
    middle = np.searchsorted(offsets, np.linspace(0, offsets[-1], THREADS + 1)[1:-1])
    borders = [0, *map(int, middle), len(offsets) - 1]

    def work(low: int, high: int) -> None:
        filled = np.flatnonzero(np.diff(offsets[low : high + 1]) > 1) + low
        for begin, end in zip(offsets[filled].tolist(), offsets[filled + 1].tolist(), strict=True):
            if keys.shape[1] == 1:
                keys[begin:end, 0].sort()
            else:
                part = keys[begin:end]
                keys[begin:end] = part[np.lexsort(part.T[::-1])]

    with ThreadPoolExecutor(THREADS) as threads:
        for done in [threads.submit(work, *pair) for pair in itertools.pairwise(borders)]:
            done.result()


def _on_disk(run: Run, folder: Path, number: int) -> Run:
    np.save(folder / f"{number}.keys.npy", run.keys)
    np.save(folder / f"{number}.counts.npy", run.counts)
    keys = np.load(folder / f"{number}.keys.npy", mmap_mode="r")
    return Run(run.offsets, keys, np.load(folder / f"{number}.counts.npy", mmap_mode="r"))


def _merge(runs: list[Run], packing: Packing) -> Run:
    """Add up runs, some last words at a time."""
    totals = np.sum([run.offsets for run in runs], axis=0)
    merged: list[Run] = []
    low = 0
    while low < packing.vocab_size:
        high = int(np.searchsorted(totals, totals[low] + _MERGED_AT_ONCE, side="right")) - 1
        high = min(max(high, low + 1), packing.vocab_size)
        merged.append(_merge_words(runs, low, high))
        low = high
    sizes = np.concatenate([np.diff(part.offsets) for part in merged])
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return Run(
        offsets,
        np.concatenate([part.keys for part in merged]),
        np.concatenate([part.counts for part in merged]),
    )


def _merge_words(runs: list[Run], low: int, high: int) -> Run:
    places = [slice(int(run.offsets[low]), int(run.offsets[high])) for run in runs]
    keys = np.concatenate([run.keys[place] for run, place in zip(runs, places, strict=True)])
    counts = np.concatenate([run.counts[place] for run, place in zip(runs, places, strict=True)])
    words = np.concatenate(
        [np.repeat(np.arange(high - low), np.diff(run.offsets[low : high + 1])) for run in runs]
    )
    order = np.lexsort((*keys.T[::-1], words))
    offsets = np.sum([run.offsets[low : high + 1] - run.offsets[low] for run in runs], axis=0)
    return Run(*merge_equal(keys[order], counts[order], offsets))


def _tree(run: Run, packing: Packing, bos_id: int) -> Counted:
    layout = (packing.order, packing.bits, packing.per_key)
    sizes = size_levels(run.keys, run.offsets, *layout)
    below = int(sizes[:-1].sum())
    words = np.empty(int(sizes.sum()), np.int32)
    counts = np.zeros(len(words), np.uint32)
    assert len(words) < 2**31
    starts = np.empty(below + 1, np.int32)
    build_levels(run.keys, run.counts, run.offsets, *layout, sizes, words, starts, counts)
    return Counted(sizes, words, starts, counts, bos_id)
