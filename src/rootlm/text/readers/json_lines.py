"""JSON lines: .jsonl."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from rootlm.text.document import Document
from rootlm.text.raw.faults import Faults
from rootlm.text.raw.lines import lines
from rootlm.text.raw.rawfile import RawFile
from rootlm.text.raw.reading import Reading, record_pieces


def read_json_lines(file: RawFile, reading: Reading, faults: Faults) -> Iterator[Document]:
    """JSON lines: an object per line; a list of strings under the text key is joined by line ends."""
    for number, line in lines(file, reading.encoding, faults):
        if not line.strip():
            continue
        place = f"{file.place}:{number}"
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            faults.report(place, "broken JSON", f"not valid JSON ({error})", "mend the line")
            continue
        if not isinstance(record, dict):
            problem = f"expected an object, found a {type(record).__name__}"
            faults.report(place, "not an object", problem, 'write {"text": …} on each line')
            continue
        yield from record_pieces(record, place, reading, faults)
