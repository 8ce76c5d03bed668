"""What became of one piece: a folder that is whole or absent, so that an interrupted preparation goes on from it.

`lines.jsonl.zst` holds the kept documents, `records.bin` a `RECORD` each, `signatures.bin` their MinHash
signatures, `bands.bin` the keys of these, band after band, and `summary.json` what was counted.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rootlm.core.files import read_json, write_json
from rootlm.text.raw.faults import Faults
from rootlm.text.shards import packed_writer, read_lines
from rootlm.text.signature import band_keys
from rootlm.text.tally import Tally
from rootlm.text.treatment import RECORD, Treated

_LINES, _RECORDS, _SIGNATURES, _BANDS = "lines.jsonl.zst", "records.bin", "signatures.bin", "bands.bin"
_SUMMARY = "summary.json"
_LEVEL = 1


class Banding(Protocol):
    """How a signature is cut into bands."""

    @property
    def bands(self) -> int: ...
    @property
    def rows(self) -> int: ...


@dataclass(frozen=True)
class Leaf:
    """A leaf on disk."""

    folder: Path

    @property
    def is_there(self) -> bool:
        """Whether it was finished."""
        return self.folder.is_dir()

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What was counted: `documents`, `languages`, `strata`, `tally`, `encodings`, `faults`, `notices`."""
        return dict(read_json(self.folder / _SUMMARY))

    @property
    def documents(self) -> int:
        """How many documents were kept."""
        return int(self.summary["documents"])

    @property
    def tally(self) -> Tally:
        """The counts of reading and treating."""
        return Tally.from_plain(self.summary["tally"])

    def records(self) -> NDArray[np.void]:
        """Return what is known of each document."""
        return np.fromfile(self.folder / _RECORDS, dtype=RECORD)

    def lines(self) -> Iterator[bytes]:
        """Yield the documents as JSON lines, in order."""
        return read_lines(self.folder / _LINES)

    def band(self, band: int) -> NDArray[np.uint64]:
        """Return one band's key of every document."""
        count = self.documents
        return np.fromfile(self.folder / _BANDS, dtype="<u8", count=count, offset=band * count * 8)

    def signatures(self, rows: NDArray[np.int64], hashes: int) -> NDArray[np.uint32]:
        """Return the signatures of some documents, (rows, hashes)."""
        shape = (self.documents, hashes)
        held = np.memmap(self.folder / _SIGNATURES, dtype="<u4", mode="r", shape=shape)
        return np.asarray(held[rows])

    def __len__(self) -> int:
        return self.documents


def write_leaf(
    folder: Path, parts: Iterable[Treated], faults: Faults, notices: Sequence[str], banding: Banding
) -> None:
    """Write a leaf from its treated documents; `parts` is consumed one at a time."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    tally, names = Tally(), {"language": dict[str, int](), "stratum": dict[str, int]()}
    records: list[NDArray[np.void]] = [np.empty(0, dtype=RECORD)]
    keys: list[NDArray[np.uint64]] = [np.empty((banding.bands, 0), dtype=np.uint64)]
    with packed_writer(partial / _LINES, _LEVEL) as lines, (partial / _SIGNATURES).open("wb") as signatures:
        for part in parts:
            lines.write(part.lines)
            signatures.write(part.signatures.astype("<u4").tobytes())
            keys.append(band_keys(part.signatures, banding.bands))
            for column, given in (("language", part.languages), ("stratum", part.strata)):
                known = names[column]
                codes = np.array([known.setdefault(name, len(known)) for name in given], dtype=np.uint32)
                part.records[column] = codes[part.records[column]] if len(codes) else 0
            records.append(part.records)
            tally.add(part.tally)
    joined = np.concatenate(records)
    joined.tofile(partial / _RECORDS)
    np.concatenate(keys, axis=1).astype("<u8").tofile(partial / _BANDS)
    summary = {
        "documents": len(joined),
        "languages": list(names["language"]),
        "strata": list(names["stratum"]),
        "tally": tally.to_plain(),
        "encodings": dict(faults.encodings),
        "faults": {reason: [count, faults.examples[reason]] for reason, count in faults.counts.items()},
        "notices": list(notices),
    }
    write_json(partial / _SUMMARY, summary)
    partial.rename(folder)


def merged_faults(leaves: Iterable[Leaf]) -> tuple[Counter[str], dict[str, tuple[int, list[str]]]]:
    """Return how many files were in which encoding, and every fault with its count and places, over leaves."""
    encodings: Counter[str] = Counter()
    faults: dict[str, tuple[int, list[str]]] = {}
    for leaf in leaves:
        encodings.update(leaf.summary["encodings"])
        for reason, (count, examples) in leaf.summary["faults"].items():
            before = faults.get(reason, (0, []))
            faults[reason] = (before[0] + count, before[1] + examples)
    return encodings, faults
