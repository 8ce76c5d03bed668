"""The second half: the fate of each document is decided; those that are kept go to their split's shards."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import zstandard
from numpy.typing import NDArray

from rootlm.text.augmentation.augmented_copies import Augment, Augmentation, copied_lines
from rootlm.text.copies.duplicates import Duplicates, Groups, Indices, united
from rootlm.text.corpus import DROPPED
from rootlm.text.document import SPLITS
from rootlm.text.pipeline.leaf import Leaf
from rootlm.text.pipeline.pool import Engine
from rootlm.text.shards import packed_writer, to_document
from rootlm.text.signature import DIGEST_BYTES
from rootlm.text.sources import Source
from rootlm.text.split import Split, assign, times
from rootlm.text.steps.language import UNKNOWN
from rootlm.text.tally import EXAMPLES, Tally

STEP = "duplicates"
SAMPLING = "sample"
_COPY, _NEAR, _LEFT = range(len(SPLITS), len(SPLITS) + 3)
_REASONS = {_COPY: "exact copy", _NEAR: "near-duplicate"}
_NOT_TAKEN = "left out by the source's sample"
_TRAIN = 0
_LEVEL = 3

Fates = NDArray[np.int8]


class Decided(NamedTuple):
    """What becomes of each document, and how often it is taken when it is one of the training split."""

    fates: Fates
    times: NDArray[np.uint8]


def decide(
    leaves: Sequence[Leaf],
    owners: Sequence[int],
    groups: Groups,
    rules: tuple[Duplicates, Split],
    origins: Sequence[Source],
) -> Decided:
    """Decide on every document: the index of its split, dropped as a duplicate, or left out by sampling.

    `owners` has the number of each leaf's source in `origins`; a source may name the split of its documents, and
    how often those for training are taken.
    """
    duplicates, split = rules
    fates = np.full(len(groups.cluster), -1, dtype=np.int8)
    if duplicates.drop_near:
        fates[groups.cluster != groups.copy_of] = _NEAR
    if duplicates.drop_exact:
        fates[groups.copy_of != np.arange(len(fates))] = _COPY
    sources = np.repeat(np.array(owners, dtype=np.int32), [len(leaf) for leaf in leaves])
    digests = _digests(leaves)
    for number, source in enumerate(origins):
        if source.split is not None:
            fates[(sources == number) & (fates == -1)] = SPLITS.index(source.split)
    undecided = np.flatnonzero(fates == -1)
    if len(undecided) or not len(fates):
        strata = _strata(leaves)[undecided] if split.stratify else None
        clusters = groups.cluster[undecided]
        if split.together:
            clusters = united(clusters, _column(leaves, "together")[undecided])
        fates[undecided] = assign(digests[undecided], clusters, sources[undecided], split, strata)
    taken = np.ones(len(fates), dtype=np.uint8)
    for number, source in enumerate(origins):
        if source.sample != 1:
            own = np.flatnonzero((sources == number) & (fates == _TRAIN))
            taken[own] = times(digests[own], source.sample, split.seed)
    fates[(fates == _TRAIN) & (taken == 0)] = _LEFT
    if not (fates == _TRAIN).any():
        raise ValueError(
            "sources.sample and sources.split leave no training document; take more of some source"
        )
    return Decided(fates, taken)


def leaks(groups: Groups, fates: Fates) -> Indices:
    """Return the documents that are in another split than the first of their cluster that is in one."""
    kept = np.flatnonzero(fates < len(SPLITS))
    clusters = groups.cluster[kept]
    _, firsts, inverse = np.unique(clusters, return_index=True, return_inverse=True)
    found: Indices = kept[fates[kept] != fates[kept[firsts]][inverse]]
    return found


class _Frame(NamedTuple):
    """Some lines of a split, packed."""

    split: int
    round: int
    """0, or how often its documents were written before."""
    name: str
    documents: int
    bytes: int


class _Told(NamedTuple):
    """What a leaf's task gives back: its frames, in order, and the documents that were asked for."""

    frames: list[_Frame]
    documents: dict[int, bytes]
    copies: dict[str, tuple[int, int, int]]
    """Augmented copies by language: documents, bytes, characters."""


class Published(NamedTuple):
    """The shards of every split that holds documents, and the augmented copies of each leaf by language."""

    shards: dict[str, list[dict[str, Any]]]
    copies: list[dict[str, tuple[int, int, int]]]


def publish(
    folders: tuple[Path, Path],
    leaves: Sequence[Leaf],
    decided: Decided,
    groups: Groups,
    tally: Tally,
    *,
    engine: Engine,
    shard_bytes: int,
    augment: Augment | None = None,
) -> Published:
    """Write the shards of every split, order kept, and tally the duplicates.

    `folders` are the corpus's and one to work in. The bytes do not depend on the engine.
    """
    folder, work = folders
    fates = decided.fates
    samples = _samples(leaves, fates, groups)
    wanted = np.array(sorted({number for pair in samples for number in pair[1:]}), dtype=np.int64)
    frames = work / "frames"
    shutil.rmtree(frames, ignore_errors=True)
    frames.mkdir()
    fates.tofile(work / "fates.bin")
    decided.times.tofile(work / "times.bin")
    held_out = (fates > _TRAIN) & (fates < len(SPLITS))
    _digests(leaves)[held_out].tofile(work / "held_out.bin")
    changed = augment.model_dump_json() if augment else None
    offsets = np.cumsum([0, *map(len, leaves)]).tolist()
    tasks = [
        (number, str(leaf.folder), first, wanted[(wanted >= first) & (wanted < last)].tolist())
        for number, (leaf, first, last) in enumerate(zip(leaves, offsets, offsets[1:], strict=False))
    ]
    told = list(engine.run(partial(_split_leaf, str(work), shard_bytes, changed), tasks))
    documents = {number: to_document(line) for part in told for number, line in part.documents.items()}
    for fate, copy, first in samples:
        tally.example(STEP, _REASONS[fate], documents[copy], duplicate_of=documents[first].source)
    for fate, reason in _REASONS.items():
        tally.count(STEP, reason, int((fates == fate).sum()))
    tally.count(SAMPLING, _NOT_TAKEN, int((fates == _LEFT).sum()))
    # What is taken again comes after all that is taken once, so that no text stands beside itself.
    made = sorted((frame for part in told for frame in part.frames), key=lambda frame: frame.round)
    listings = {
        split: _join(folder, frames, split, [frame for frame in made if frame.split == place], shard_bytes)
        for place, split in enumerate(SPLITS)
    }
    found = {split: listing for split, listing in listings.items() if listing}
    return Published(found, [part.copies for part in told])


def write_dropped(folder: Path, tally: Tally) -> None:
    """Write the examples of every reason."""
    with packed_writer(folder / DROPPED, 3) as stream:
        for example in tally.examples():
            stream.write(orjson.dumps(example, option=orjson.OPT_APPEND_NEWLINE))


def _split_leaf(work: str, limit: int, augment: str | None, task: tuple[int, str, int, list[int]]) -> _Told:
    """Pack the kept lines of a leaf, those of each split for themselves, in frames of at most `limit` bytes."""
    number, leaf_folder, first, wanted = task
    leaf = Leaf(Path(leaf_folder))
    fates = np.fromfile(Path(work) / "fates.bin", dtype=np.int8, count=len(leaf), offset=first)
    taken = np.fromfile(Path(work) / "times.bin", dtype=np.uint8, count=len(leaf), offset=first)
    told = _Told([], {}, {})
    again = int(taken[fates == _TRAIN].max(initial=1))
    packer = _Packer(Path(work) / "frames", number, limit, told.frames)
    asked = set(wanted)
    for turn in range(again):
        rows = zip(fates.tolist(), taken.tolist(), leaf.lines(), strict=True)
        for place, (fate, count, line) in enumerate(rows, first):
            if fate < len(SPLITS) and (turn == 0 or (fate == _TRAIN and turn < count)):
                packer.add(fate, turn, line)
            if place in asked:
                told.documents[place] = line
        packer.close(turn)
    if augment:
        augmentation, held_out = _augmentation(augment, work)
        for fate, line in zip(fates.tolist(), leaf.lines(), strict=True):
            for copy in copied_lines(line, augmentation, held_out) if fate == _TRAIN else ():
                packer.add(_TRAIN, again, copy)
                _count(told.copies, copy)
        packer.close(again)
    return told


class _Packer:
    """Packs lines of several splits into frames of at most `limit` bytes each."""

    def __init__(self, folder: Path, number: int, limit: int, frames: list[_Frame]) -> None:
        self._folder, self._number, self._limit, self._frames = folder, number, limit, frames
        self._held: dict[int, list[bytes]] = {}
        self._sizes: Counter[int] = Counter()
        self._packer = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)

    def add(self, split: int, turn: int, line: bytes) -> None:
        """Take a line."""
        if split in self._held and self._sizes[split] + len(line) > self._limit:
            self._write(split, turn)
        self._held.setdefault(split, []).append(line)
        self._sizes[split] += len(line)

    def close(self, turn: int) -> None:
        """Write what is held."""
        for split in sorted(self._held):
            self._write(split, turn)

    def _write(self, split: int, turn: int) -> None:
        lines = self._held.pop(split)
        self._sizes[split] = 0
        name, content = f"{self._number:08d}-{len(self._frames):08d}.zst", b"".join(lines)
        (self._folder / name).write_bytes(self._packer.compress(content))
        self._frames.append(_Frame(split, turn, name, len(lines), len(content)))


@cache
def _augmentation(settings: str, work: str) -> tuple[Augmentation, frozenset[bytes]]:
    """Return what makes copies, and the digests of what is held out; made once in every process."""
    raw = (Path(work) / "held_out.bin").read_bytes()
    held_out = frozenset(raw[at : at + DIGEST_BYTES] for at in range(0, len(raw), DIGEST_BYTES))
    return Augment.model_validate_json(settings).build(), held_out


def _count(copies: dict[str, tuple[int, int, int]], line: bytes) -> None:
    document = to_document(line)
    language = str(document.meta.get("language", UNKNOWN))
    documents, size, characters = copies.get(language, (0, 0, 0))
    copies[language] = (documents + 1, size + len(document.text.encode()), characters + len(document.text))


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


def _strata(leaves: Sequence[Leaf]) -> NDArray[np.int64]:
    """Return the number of each document's stratum, the same for the same name in all leaves."""
    names: dict[str, int] = {}
    found = [np.empty(0, dtype=np.int64)]
    for leaf in leaves:
        codes = np.array(
            [names.setdefault(name, len(names)) for name in leaf.summary["strata"]], dtype=np.int64
        )
        found.append(codes[leaf.records()["stratum"]] if len(codes) else np.empty(0, dtype=np.int64))
    return np.concatenate(found)


def _digests(leaves: Sequence[Leaf]) -> NDArray[np.uint64]:
    return _column(leaves, "digest").reshape(-1, 2)


def _column(leaves: Sequence[Leaf], name: str) -> NDArray[np.uint64]:
    """Return one of the numbers that are known of every document."""
    return np.concatenate([leaf.records()[name] for leaf in leaves]) if leaves else np.empty(0, np.uint64)
