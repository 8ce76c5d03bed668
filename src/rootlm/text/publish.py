"""The second pass: the fate of each document is decided; those that are kept go to their split's shards."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from rootlm.text.corpus import DROPPED
from rootlm.text.document import SPLITS
from rootlm.text.duplicates import Duplicates, Groups
from rootlm.text.gather import Gathered
from rootlm.text.shards import ShardWriter, packed_writer, read_lines, to_document
from rootlm.text.split import Split, assign
from rootlm.text.tally import EXAMPLES, Tally

STEP = "duplicates"
_COPY, _NEAR = len(SPLITS), len(SPLITS) + 1
_REASONS = {_COPY: "exact copy", _NEAR: "near-duplicate"}

Fates = NDArray[np.int8]


def decide(gathered: Gathered, groups: Groups, duplicates: Duplicates, split: Split) -> Fates:
    """Return what becomes of each document: the index of its split, or that it is dropped as a duplicate."""
    numbers = np.arange(len(groups.cluster))
    fates = np.full(len(numbers), -1, dtype=np.int8)
    if duplicates.drop_near:
        fates[groups.cluster != groups.copy_of] = _NEAR
    if duplicates.drop_exact:
        fates[groups.copy_of != numbers] = _COPY
    kept = np.flatnonzero(fates == -1)
    fates[kept] = assign(gathered.digests[kept], groups.cluster[kept], gathered.origins[kept], split)
    return fates


def publish(
    folder: Path, spool: Path, *, fates: Fates, groups: Groups, gathered: Gathered, shard_bytes: int
) -> dict[str, list[dict[str, Any]]]:
    """Write the shards of every split from the spooled lines, order kept, and tally the duplicates.

    Returns the listing of the shards of every split that holds documents.
    """
    firsts = {_COPY: groups.copy_of, _NEAR: groups.cluster}
    sampled = {
        index: int(firsts[fate][index]) for fate in firsts for index in _sample(fates == fate, gathered)
    }
    places = dict.fromkeys(sampled.values(), "")
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(ShardWriter(folder, split, shard_bytes)) for split in SPLITS]
        for index, (fate, line) in enumerate(zip(fates.tolist(), read_lines(spool), strict=True)):
            if fate < len(writers):
                writers[fate].write(line)
            if index in places:
                places[index] = to_document(line).source
            if index in sampled:
                same = places[sampled[index]]
                gathered.tally.example(STEP, _REASONS[fate], to_document(line), duplicate_of=same)
    for fate, reason in _REASONS.items():
        gathered.tally.count(STEP, reason, int((fates == fate).sum()))
    return {
        split: writer.listing() for split, writer in zip(SPLITS, writers, strict=True) if writer.listing()
    }


def write_dropped(folder: Path, tally: Tally) -> None:
    """Write the examples of every reason."""
    with packed_writer(folder / DROPPED, 3) as stream:
        for example in tally.examples():
            stream.write(orjson.dumps(example, option=orjson.OPT_APPEND_NEWLINE))


def _sample(mask: NDArray[np.bool_], gathered: Gathered) -> list[int]:
    """Return some of the documents in `mask`: those with the smallest digests."""
    numbers = np.flatnonzero(mask)
    return [
        int(index) for index in numbers[np.argsort(gathered.digests[numbers, 0], kind="stable")][:EXAMPLES]
    ]
