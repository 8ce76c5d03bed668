"""Tables: .csv and .tsv."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from rootlm.core.mistakes import nearest
from rootlm.text.document import Document
from rootlm.text.raw.faults import Faults
from rootlm.text.raw.lines import lines
from rootlm.text.raw.rawfile import RawFile
from rootlm.text.raw.reading import Reading, record_pieces


def read_table(file: RawFile, reading: Reading, faults: Faults) -> Iterator[Document]:
    """A table with a header row: .csv and .tsv."""
    place = file.place
    delimiter = reading.delimiter or ("\t" if file.suffix == ".tsv" else ",")
    csv.field_size_limit((1 << 31) - 1)
    ended = (text + "\n" for _, text in lines(file, reading.encoding, faults))
    rows = csv.reader(ended, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        start = f"{place}:{rows.line_num + 1}"
        try:
            row = next(rows, None)
        except csv.Error as error:
            faults.report(
                start, "broken row", f"not a table row ({error})", "mend the quotes, set read.delimiter"
            )
            continue
        if row is None:
            return
        if header is None:
            header = row
            _check_header(header, place, delimiter, reading)
        elif row and len(row) != len(header):
            problem = f"{len(row)} fields, but the header has {len(header)}"
            faults.report(
                start, "ragged row", problem, "quote fields that hold the delimiter, set read.delimiter"
            )
        elif row:
            yield from record_pieces(dict(zip(header, row, strict=True)), start, reading, faults)


def _check_header(header: list[str], place: str, delimiter: str, reading: Reading) -> None:
    missing = [name for name in reading.keys if name not in header]
    if not missing:
        return
    others = [mark for mark in ",;\t|" if mark != delimiter and any(mark in name for name in header)]
    if len(header) == 1 and others:
        raise ValueError(f"{place}:1: one column only, named {header[0]!r}; set read.delimiter={others[0]!r}")
    hint, setting = nearest(missing[0], header), "pair=[NAME,NAME]" if reading.pair else "text_key=NAME"
    raise ValueError(f'{place}:1: no column "{missing[0]}" in the header; {hint}; set read.{setting}')
