"""How often keys stand in a corpus that is larger than memory: parts sorted on disk, compared a range at a time.

A part of the corpus gives its keys once each, sorted, with how often it holds them. Parts are compared for one
range of keys after another, so that memory is bounded by the size of a range, and no key costs more than one
entry a part, however often it stands there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rootlm.text.pipeline.pool import Engine

OFTEN, EARLIER = np.uint8(1), np.uint8(2)
"""What is told of a key of a part: that the corpus holds it often enough, that an earlier part holds it."""
_ENTRY_BYTES = 16
_COMPARED_BYTES = 96
_RANGE = 1 << 64
_FIRST_PARTS = "first_parts.bin"

Hashes = NDArray[np.uint64]
Told = NDArray[np.uint8]


class Keys(NamedTuple):
    """The different keys of a part, sorted; a key is 64 bits and, where these are too few, 32 more."""

    hashes: Hashes
    checks: NDArray[np.uint32]
    counts: NDArray[np.uint32]


class Counted(NamedTuple):
    """The keys of something, and which of them each of its members has."""

    keys: Keys
    members: NDArray[np.int64]


def count(hashes: Hashes, checks: NDArray[np.uint32] | None = None) -> Counted:
    """Return the different keys, and for every given one its place among them."""
    checks = np.zeros(len(hashes), np.uint32) if checks is None else checks
    order = np.argsort(hashes)
    same = hashes[order][1:] == hashes[order][:-1]
    if (same & (checks[order][1:] != checks[order][:-1])).any():
        order = np.lexsort((checks, hashes))
    sorted_hashes, sorted_checks = hashes[order], checks[order]
    begins = np.ones(len(order), dtype=bool)
    begins[1:] = (sorted_hashes[1:] != sorted_hashes[:-1]) | (sorted_checks[1:] != sorted_checks[:-1])
    members = np.empty(len(order), np.int64)
    members[order] = np.cumsum(begins) - 1
    counts = np.bincount(members).astype(np.uint32)
    return Counted(Keys(sorted_hashes[begins], sorted_checks[begins], counts), members)


def write_parts(file: Path, parts: Iterable[Keys]) -> None:
    """Write the keys of parts, one after the other; the file is whole or absent."""
    partial_file = file.with_name(f"{file.name}.partial")
    sizes: list[int] = []
    with partial_file.open("wb") as stream:
        for part in parts:
            for column in part:
                stream.write(np.ascontiguousarray(column).astype(column.dtype.newbyteorder("<")).tobytes())
            sizes.append(len(part.hashes))
    np.array(sizes, dtype="<u8").tofile(_sizes_file(file))
    partial_file.rename(file)


def compare(files: Sequence[Path], often: int, engine: Engine, folder: Path, memory: int) -> int:
    """Tell of every key of every part what `told` reads from `folder`; returns in how many ranges that was done.

    `memory` is what one worker may take, in bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sizes = [_sizes(file) for file in files]
    np.cumsum([0, *map(len, sizes)]).astype("<i8").tofile(folder / _FIRST_PARTS)
    ranges = max(1, -(-sum(int(own.sum()) for own in sizes) * _COMPARED_BYTES // memory))
    listing = folder / "files.txt"
    listing.write_text("\n".join(map(str, files)), encoding="utf-8")
    work = partial(_compare_range, str(listing), often, ranges)
    for _ in engine.run(work, range(ranges)):
        pass
    return ranges


def told(file: Path, folder: Path, index: int, ranges: int) -> list[Told]:
    """Return what was told of the keys of each part of the file that was the `index`th of those compared."""
    before = int(np.fromfile(folder / _FIRST_PARTS, "<i8", count=1, offset=8 * index)[0])
    sizes = _sizes(file)
    found: list[list[Told]] = [[] for _ in sizes]
    for number in range(ranges):
        bounds = np.fromfile(_bounds_file(folder, number, ranges), "<i8")
        with _told_file(folder, number, ranges).open("rb") as stream:
            stream.seek(int(bounds[before]))
            for place, own in enumerate(found, before):
                own.append(np.frombuffer(stream.read(int(bounds[place + 1] - bounds[place])), np.uint8))
    joined = [np.concatenate(own) for own in found]
    assert [len(own) for own in joined] == sizes.tolist()
    return joined


def _compare_range(listing: str, often: int, ranges: int, number: int) -> None:
    folder = Path(listing).parent
    file = _told_file(folder, number, ranges)
    if file.is_file():
        return
    names = Path(listing).read_text(encoding="utf-8").split("\n")
    low, high = _RANGE * number // ranges, _RANGE * (number + 1) // ranges
    parts = [part for name in names for part in _held(Path(name), low, high)]
    bounds = np.cumsum([0, *(len(part.hashes) for part in parts)])
    result = np.zeros(int(bounds[-1]), np.uint8)
    if len(result):
        joined = Keys(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
        keys, members = count(joined.hashes, joined.checks)
        totals = np.bincount(members, weights=joined.counts)
        result |= np.where(totals[members] >= often, OFTEN, np.uint8(0))
        # Entries stand in the order of the corpus, so the first of a key is the one in the earliest part.
        firsts = np.full(len(keys.hashes), len(members), np.int64)
        np.minimum.at(firsts, members, np.arange(len(members)))
        result |= np.where(firsts[members] < np.arange(len(members)), EARLIER, np.uint8(0))
    bounds.astype("<i8").tofile(_bounds_file(folder, number, ranges))
    partial_file = file.with_name(f"{file.name}.partial")
    result.tofile(partial_file)
    partial_file.rename(file)


def _held(file: Path, low: int, high: int) -> Iterator[Keys]:
    """Yield the keys from `low` and below `high` of every part of a file."""
    sizes = _sizes(file).tolist()
    raw = np.memmap(file, dtype=np.uint8, mode="r") if any(sizes) else np.empty(0, np.uint8)
    begin = 0
    for size in sizes:
        columns = [
            raw[begin + start * size : begin + end * size].view(kind)
            for start, end, kind in ((0, 8, "<u8"), (8, 12, "<u4"), (12, 16, "<u4"))
        ]
        first = int(np.searchsorted(columns[0], np.uint64(low)))
        last = size if high == _RANGE else int(np.searchsorted(columns[0], np.uint64(high)))
        yield Keys(*(np.array(column[first:last]) for column in columns))
        begin += size * _ENTRY_BYTES


def _sizes(file: Path) -> NDArray[np.int64]:
    return np.fromfile(_sizes_file(file), "<u8").astype(np.int64)


def _sizes_file(file: Path) -> Path:
    return file.with_name(f"{file.name}.sizes")


def _told_file(folder: Path, number: int, ranges: int) -> Path:
    return folder / f"{number:06d}-of-{ranges:06d}.told"


def _bounds_file(folder: Path, number: int, ranges: int) -> Path:
    return folder / f"{number:06d}-of-{ranges:06d}.bounds"
