"""The second half: the fate of each document is decided; those that are kept go to their split's shards."""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import zstandard
from numpy.typing import NDArray

from rootlm.text.corpus import DROPPED
from rootlm.text.document import SPLITS
from rootlm.text.duplicates import Duplicates, Groups
from rootlm.text.leaf import Leaf
from rootlm.text.pool import Engine
from rootlm.text.shards import packed_writer, to_document
from rootlm.text.split import Split, assign
from rootlm.text.tally import EXAMPLES, Tally

STEP = "duplicates"
_COPY, _NEAR = len(SPLITS), len(SPLITS) + 1
_REASONS = {_COPY: "exact copy", _NEAR: "near-duplicate"}
_LEVEL = 3

Fates = NDArray[np.int8]


def decide(
    leaves: Sequence[Leaf], origins: Sequence[int], groups: Groups, duplicates: Duplicates, split: Split
) -> Fates:
    """Return what becomes of each document: the index of its split, or that it is dropped as a duplicate.

    `origins` has the number of each leaf's source.
    """
    fates = np.full(len(groups.cluster), -1, dtype=np.int8)
    if duplicates.drop_near:
        fates[groups.cluster != groups.copy_of] = _NEAR
    if duplicates.drop_exact:
        fates[groups.copy_of != np.arange(len(fates))] = _COPY
    kept = np.flatnonzero(fates == -1)
    sources = np.repeat(np.array(origins, dtype=np.int32), [len(leaf) for leaf in leaves])[kept]
    fates[kept] = assign(_digests(leaves)[kept], groups.cluster[kept], sources, split)
    return fates


class _Frame(NamedTuple):
    """Some lines of a split, packed."""

    split: int
    name: str
    documents: int
    bytes: int


class _Told(NamedTuple):
    """What a leaf's task gives back: its frames, in order, and the documents that were asked for."""

    frames: list[_Frame]
    documents: dict[int, bytes]


def publish(
    folders: tuple[Path, Path],
    leaves: Sequence[Leaf],
    fates: Fates,
    groups: Groups,
    tally: Tally,
    *,
    engine: Engine,
    shard_bytes: int,
) -> dict[str, list[dict[str, Any]]]:
    """Write the shards of every split, order kept, and tally the duplicates.

    `folders` are the corpus's and one to work in. Returns the listing of the shards of every split that holds
    documents. The bytes do not depend on the engine.
    """
    folder, work = folders
    samples = _samples(leaves, fates, groups)
    wanted = np.array(sorted({number for pair in samples for number in pair[1:]}), dtype=np.int64)
    frames = work / "frames"
    shutil.rmtree(frames, ignore_errors=True)
    frames.mkdir()
    fates.tofile(work / "fates.bin")
    offsets = np.cumsum([0, *map(len, leaves)]).tolist()
    tasks = [
        (number, str(leaf.folder), first, wanted[(wanted >= first) & (wanted < last)].tolist())
        for number, (leaf, first, last) in enumerate(zip(leaves, offsets, offsets[1:], strict=False))
    ]
    told = list(engine.run(partial(_split_leaf, str(work), shard_bytes), tasks))
    documents = {number: to_document(line) for part in told for number, line in part.documents.items()}
    for fate, copy, first in samples:
        tally.example(STEP, _REASONS[fate], documents[copy], duplicate_of=documents[first].source)
    for fate, reason in _REASONS.items():
        tally.count(STEP, reason, int((fates == fate).sum()))
    made = [frame for part in told for frame in part.frames]
    listings = {
        split: _join(folder, frames, split, [frame for frame in made if frame.split == place], shard_bytes)
        for place, split in enumerate(SPLITS)
    }
    return {split: listing for split, listing in listings.items() if listing}


def write_dropped(folder: Path, tally: Tally) -> None:
    """Write the examples of every reason."""
    with packed_writer(folder / DROPPED, 3) as stream:
        for example in tally.examples():
            stream.write(orjson.dumps(example, option=orjson.OPT_APPEND_NEWLINE))


def _split_leaf(work: str, limit: int, task: tuple[int, str, int, list[int]]) -> _Told:
    """Pack the kept lines of a leaf, those of each split for themselves, in frames of at most `limit` bytes."""
    number, leaf_folder, first, wanted = task
    leaf = Leaf(Path(leaf_folder))
    fates = np.fromfile(Path(work) / "fates.bin", dtype=np.int8, count=len(leaf), offset=first).tolist()
    told = _Told([], {})
    buffers = [io.BytesIO() for _ in SPLITS]
    counts = [0 for _ in SPLITS]
    packer = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)

    def close(split: int) -> None:
        if counts[split]:
            name = f"{number:08d}-{len(told.frames):08d}.zst"
            content = buffers[split].getvalue()
            (Path(work) / "frames" / name).write_bytes(packer.compress(content))
            told.frames.append(_Frame(split, name, counts[split], len(content)))
            buffers[split], counts[split] = io.BytesIO(), 0

    asked = set(wanted)
    for place, (fate, line) in enumerate(zip(fates, leaf.lines(), strict=True), first):
        if fate < len(SPLITS):
            if buffers[fate].tell() + len(line) > limit:
                close(fate)
            buffers[fate].write(line)
            counts[fate] += 1
        if place in asked:
            told.documents[place] = line
    for split in range(len(SPLITS)):
        close(split)
    return told


def _join(
    folder: Path, frames: Path, split: str, parts: Sequence[_Frame], limit: int
) -> list[dict[str, Any]]:
    """Lay the frames of a split end to end in files of at most `limit` bytes before packing."""
    listing: list[dict[str, Any]] = []
    for part in parts:
        if not listing or listing[-1]["bytes"] + part.bytes > limit:
            name = f"{split}-{len(listing):05d}.jsonl.zst"
            listing.append({"name": name, "documents": 0, "bytes": 0})
        with (folder / listing[-1]["name"]).open("ab") as shard, (frames / part.name).open("rb") as frame:
            shutil.copyfileobj(frame, shard)
        (frames / part.name).unlink()
        listing[-1]["documents"] += part.documents
        listing[-1]["bytes"] += part.bytes
    return listing


def _samples(leaves: Sequence[Leaf], fates: Fates, groups: Groups) -> list[tuple[int, int, int]]:
    """Return fate, document and what it repeats for some duplicates: those with the smallest digests."""
    digests = _digests(leaves)[:, 0]
    found = []
    for fate, firsts in ((_COPY, groups.copy_of), (_NEAR, groups.cluster)):
        numbers = np.flatnonzero(fates == fate)
        chosen = numbers[np.argsort(digests[numbers], kind="stable")][:EXAMPLES]
        found += [(fate, int(number), int(firsts[number])) for number in chosen]
    return found


def _digests(leaves: Sequence[Leaf]) -> NDArray[np.uint64]:
    return np.concatenate([np.empty((0, 2), np.uint64), *(leaf.records()["digest"] for leaf in leaves)])
