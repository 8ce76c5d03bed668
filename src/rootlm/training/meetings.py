"""How often each two words meet: counted in memory as far as it goes, sorted on disk beyond."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rootlm.training.meeting_kernel import FREE, add_meetings, sum_equal

Ints = NDArray[np.int64]
Reals = NDArray[np.float64]

PAIR = np.dtype([("first", np.int32), ("second", np.int32), ("times", np.float32)])
"""Two words, the more frequent first, and how often they meet; 12 bytes."""
_SLOT_BYTES = 16
_SORTING = 3
"""A table is sorted beside itself, and its keys' order takes as much again."""
_BLOCK = 4_000_000


@dataclass(frozen=True)
class Meetings:
    """All pairs of words that meet, each once, sorted."""

    pairs: NDArray[np.void]
    """(pairs,) of `PAIR`, in memory or mapped."""
    place: TemporaryDirectory[str] | None = None
    """The folder they are mapped from; it vanishes with this."""


class _Run(NamedTuple):
    keys: Ints
    sums: Reals


def meetings(
    text: tuple[NDArray[np.int32], Ints], words: int, window: int, *, threads: int, memory_bytes: int
) -> Meetings:
    """Count how often each two words meet within `window` words of a line; d words apart they meet 1/d times.

    `text` is tokens and the borders of lines. A word next to itself meets itself once, not twice.
    """
    tokens, borders = text
    slots = 1 << max(10, int(memory_bytes // (threads * _SLOT_BYTES * _SORTING)).bit_length() - 1)
    # No more slots than there can be pairs, for a small text; and room for the longest line.
    slots = min(slots, _power_above(2 * len(tokens) * window))
    slots = max(slots, _power_above(2 * int(np.diff(borders).max(initial=0)) * window))
    place = tempfile.TemporaryDirectory(prefix="rootlm-meetings-")
    cuts = np.searchsorted(borders, np.linspace(0, len(tokens), threads + 1))
    cuts[0], cuts[-1] = 0, len(borders) - 1

    def count(worker: int) -> list[_Run]:
        folder = Path(place.name) / str(worker)
        folder.mkdir()
        return list(_runs(text, (int(cuts[worker]), int(cuts[worker + 1])), (words, window, slots), folder))

    with ThreadPoolExecutor(threads) as pool:
        runs = [run for found in pool.map(count, range(threads)) for run in found]
    return _merged(runs, words, memory_bytes, place)


def _power_above(number: int) -> int:
    return 1 << max(10, number.bit_length())


def _runs(
    text: tuple[NDArray[np.int32], Ints], lines: tuple[int, int], shape: tuple[int, int, int], folder: Path
) -> Iterator[_Run]:
    """Yield sorted runs; all but the last are on disk. `shape` is words, window and slots."""
    (first, end), (words, window, slots) = lines, shape
    while first < end:
        keys, sums = np.full(slots, FREE, np.int64), np.zeros(slots)
        before, (first, held) = first, add_meetings(*text, (first, end), window, words, keys, sums)
        assert first > before
        kept = np.flatnonzero(keys != FREE)
        kept = kept[np.argsort(keys[kept], kind="stable")]
        assert len(kept) == held
        run = _Run(keys[kept], sums[kept])
        yield run if first == end else _on_disk(run, folder / str(first))


def _on_disk(run: _Run, name: Path) -> _Run:
    for array, suffix in zip(run, (".keys", ".sums"), strict=True):
        array.tofile(name.with_suffix(suffix))
    return _Run(
        np.memmap(name.with_suffix(".keys"), np.int64, "r"),
        np.memmap(name.with_suffix(".sums"), np.float64, "r"),
    )


def _merged(runs: list[_Run], words: int, memory_bytes: int, place: TemporaryDirectory[str]) -> Meetings:
    """Lay the runs together, a range of keys at a time, on disk where they would not fit into memory."""
    most = sum(len(run.keys) for run in runs)
    if most * PAIR.itemsize <= memory_bytes:
        parts = list(_blocks(runs, words))
        place.cleanup()
        return Meetings(np.concatenate(parts) if parts else np.empty(0, PAIR))
    file = Path(place.name) / "pairs"
    with file.open("wb") as stream:
        for part in _blocks(runs, words):
            part.tofile(stream)
    return Meetings(np.memmap(file, PAIR, "r"), place)


def _blocks(runs: list[_Run], words: int) -> Iterator[NDArray[np.void]]:
    # Between two of these keys no run has more than its share of a block.
    share = max(1, _BLOCK // max(1, len(runs)))
    cuts = np.sort(np.concatenate([run.keys[share::share] for run in runs] or [np.empty(0, np.int64)]))
    places = [np.append(np.searchsorted(run.keys, cuts), len(run.keys)) for run in runs]
    begins = [0] * len(runs)
    for number in range(len(cuts) + 1):
        spans = [slice(begin, int(ends[number])) for begin, ends in zip(begins, places, strict=True)]
        begins = [span.stop for span in spans]
        keys = np.concatenate([run.keys[span] for run, span in zip(runs, spans, strict=True)])
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        sums = np.concatenate([run.sums[span] for run, span in zip(runs, spans, strict=True)])[order]
        left = sum_equal(keys, sums)
        part = np.empty(left, PAIR)
        part["first"], part["second"], part["times"] = *divmod(keys[:left], words), sums[:left]
        yield part
