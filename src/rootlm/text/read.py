"""Files become documents: the suffix of a file's name tells its reader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from rootlm.text.document import Document
from rootlm.text.faults import Faults
from rootlm.text.rawfile import RawFile
from rootlm.text.readers.json_lines import read_json_lines
from rootlm.text.readers.plain import read_text
from rootlm.text.readers.table import read_table
from rootlm.text.reading import Reader, Reading

READERS: Mapping[str, Reader] = {
    ".txt": read_text,
    ".jsonl": read_json_lines,
    ".csv": read_table,
    ".tsv": read_table,
}


def read(file: Path | RawFile, reading: Reading, faults: Faults) -> Iterator[Document]:
    """Yield the documents of one file, in order; raises ValueError for a kind of file that has no reader."""
    file = RawFile.on_disk(file) if isinstance(file, Path) else file
    reader = READERS.get(file.suffix)
    if reader is None:
        kinds = ", ".join(READERS)
        raise ValueError(
            f"{file.place}: no reader for {file.suffix or 'a file without suffix'}; known: {kinds}"
        )
    return reader(file, reading, faults)
