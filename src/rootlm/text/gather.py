"""The first pass: documents are read, treated and laid down in order; little of each is remembered."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rootlm.text.document import Document
from rootlm.text.duplicates import DuplicateFinder, Indices
from rootlm.text.faults import Faults, Notice
from rootlm.text.read import read
from rootlm.text.reading import Reading
from rootlm.text.sources import Origin
from rootlm.text.tally import Tally
from rootlm.text.treatment import Treated

_PART_CHARACTERS = 1 << 19
_PART_DOCUMENTS = 2000
_NOTICE_SECONDS = 10.0


class Part(NamedTuple):
    """Some documents of one source, few enough to hand to a process."""

    origin: int
    collection: str
    documents: Sequence[Document]


@dataclass(frozen=True)
class Gathered:
    """What is remembered of the documents that passed, in order; about 50 bytes each."""

    tally: Tally
    read: Counter[int]
    """Documents read from each source."""
    origins: Indices
    languages: Indices
    language_names: list[str]
    bytes: Indices
    characters: Indices
    digests: NDArray[np.uint64]


def parts(origins: Sequence[Origin], reading: Reading, faults: Sequence[Faults]) -> Iterator[Part]:
    """Read all sources in order and yield their documents in parts; `faults` has one entry per source."""
    for index, origin in enumerate(origins):
        documents: list[Document] = []
        size = 0
        for file in origin.files:
            for document in read(file, origin.source.read or reading, faults[index]):
                documents.append(document)
                size += len(document.text)
                if size >= _PART_CHARACTERS or len(documents) >= _PART_DOCUMENTS:
                    yield Part(index, origin.name, documents)
                    documents, size = [], 0
        if documents:
            yield Part(index, origin.name, documents)


def gather(
    treated: Iterable[tuple[int, Treated]], spool: BinaryIO, finder: DuplicateFinder, notice: Notice
) -> Gathered:
    """Write the lines of the treated parts to `spool` and their signatures to `finder`; remember the rest."""
    tally = Tally()
    read: Counter[int] = Counter()
    names: dict[str, int] = {}
    columns: list[list[Indices]] = [[_numbers([])] for _ in range(4)]
    digests: list[bytes] = []
    spoke = time.monotonic()
    for origin, part in treated:
        spool.write(part.lines)
        finder.add(part.digests, part.signatures)
        tally.add(part.tally)
        read[origin] += part.tally.read
        languages = [names.setdefault(name, len(names)) for name in part.languages]
        values: tuple[Sequence[int] | Indices, ...] = (
            [origin] * len(languages),
            languages,
            part.text_bytes,
            part.characters,
        )
        for column, value in zip(columns, values, strict=True):
            column.append(_numbers(value))
        digests.append(part.digests)
        if time.monotonic() - spoke > _NOTICE_SECONDS:
            spoke = time.monotonic()
            notice(f"read {tally.read:,} documents so far")
    joined = [np.concatenate(column) for column in columns]
    pairs = np.frombuffer(b"".join(digests), dtype=np.uint64).reshape(-1, 2)
    return Gathered(tally, read, joined[0], joined[1], list(names), joined[2], joined[3], pairs)


def _numbers(values: Sequence[int] | Indices) -> Indices:
    return np.asarray(values, dtype=np.int64)
