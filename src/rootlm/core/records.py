"""The metrics of a run: one JSON object per line, appended; a kill costs at most the line being written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import orjson

from rootlm.core import files

Record = dict[str, Any]


class Records:
    """An open metrics file; every record is with the system when `write` returns.

    Opening cuts a torn last line, so that what follows stands on a line of its own.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _cut_torn_line(path)
            self._stream = path.open("ab", buffering=0)
        except OSError as error:
            raise files.explain(error, path) from error

    def write(self, record: Mapping[str, object]) -> None:
        """Append one record; not-a-number and infinity become null, as JSON has neither."""
        line = orjson.dumps(dict(record), option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)
        try:
            self._stream.write(line)
        except OSError as error:
            raise files.explain(error, self.path) from error

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def reopen(path: Path, step: int) -> Records:
    """Open the metrics of a run that goes on from `step`: what was recorded after that step is dropped.

    A record without a step belongs to the step recorded before it. So a resumed run holds every step once.
    """
    if path.exists():
        kept: list[Record] = []
        for record in read(path):
            if record.get("step", 0) > step:
                break
            kept.append(record)
        files.write_bytes(path, b"".join(orjson.dumps(r, option=orjson.OPT_APPEND_NEWLINE) for r in kept))
    return Records(path)


def read(path: Path) -> list[Record]:
    """Return all whole records; a torn last line is left out.

    Raises ValueError naming file and line when a line before the last is no JSON object.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    *lines, _torn = content.split(b"\n")
    records: list[Record] = []
    for number, line in enumerate(lines, 1):
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise ValueError(f"{path}:{number}: not a JSON record ({error}); remove the line") from error
        if not isinstance(record, dict):
            raise ValueError(f"{path}:{number}: expected a JSON object; remove the line")
        records.append(record)
    return records


def of_kind(records: list[Record], kind: str) -> list[Record]:
    """Return the records whose `kind` is the given one, in order."""
    return [record for record in records if record.get("kind") == kind]


def _cut_torn_line(path: Path) -> None:
    """Cut what stands after the last newline."""
    if not path.exists():
        return
    with path.open("r+b") as stream:
        position = stream.seek(0, 2)
        while position:
            start = max(0, position - 65536)
            stream.seek(start)
            newline = stream.read(position - start).rfind(b"\n")
            if newline >= 0:
                stream.truncate(start + newline + 1)
                return
            position = start
        stream.truncate(0)
