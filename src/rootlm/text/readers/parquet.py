"""Tables in columns: .parquet, and what they have in common with .arrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, BinaryIO

from rootlm.core.mistakes import nearest
from rootlm.text.document import Document
from rootlm.text.raw.faults import Faults
from rootlm.text.raw.rawfile import TORN, RawFile, unpacked
from rootlm.text.raw.reading import Reading, record_pieces
from rootlm.text.readers.bounds import Allowance, Broken, NoSpace, Refused, spooled, words
from rootlm.text.readers.members import Member

if TYPE_CHECKING:
    import pyarrow

_EXTRA = 'needs an extra: pip install "rootlm[parquet]"'
_MEND = "mend or replace the file"
BATCH_BYTES, _MOST_ROWS = 1 << 21, 4096
_BUFFER = 1 << 20


def read_parquet(file: RawFile, reading: Reading, faults: Faults) -> Iterator[Document]:
    """A table in columns: one holds the text, the others that are no lists and no records go to meta."""
    parquet = library(file, "parquet")
    failures = failing()
    try:
        with _seekable(file) as stream:
            try:
                checks = {"pre_buffer": False, "page_checksum_verification": True}
                opened = parquet.ParquetFile(stream, buffer_size=_BUFFER, **checks)
            except failures as error:
                faults.report(file.place, "broken parquet", f"cannot be opened ({words(error)})", _MEND)
                return
            columns = wanted(opened.schema_arrow, file, reading)
            row = 1
            for group in range(opened.num_row_groups):
                about = opened.metadata.row_group(group)
                size = max(about.total_byte_size // max(about.num_rows, 1), 1)
                options = {"row_groups": [group], "columns": columns, "use_threads": False}
                options["batch_size"] = min(max(BATCH_BYTES // size, 1), _MOST_ROWS)
                yield from documents(opened.iter_batches(**options), row, file, reading, faults)
                row += about.num_rows
    except Broken as error:
        faults.report(file.place, "unreadable file", f"{error}", _MEND)
    except Refused as refusal:
        if isinstance(file, Member):
            raise
        faults.report(file.place, "refused archive", f"{refusal}", "unpack it yourself if you trust it")
    except NoSpace as error:
        raise ValueError(f"{error}") from error


def failing() -> tuple[type[Exception], ...]:
    """Return what the library raises for files that are torn or made up."""
    import pyarrow

    return (pyarrow.ArrowException, ValueError, RuntimeError, *TORN)


def wanted(schema: pyarrow.Schema, file: RawFile, reading: Reading) -> list[str]:
    """Return the columns to read, that of the text among them; raises ValueError when there is none."""
    missing = [name for name in reading.keys if name not in schema.names]
    if missing:
        hint = nearest(missing[0], schema.names)
        setting = "pair=[NAME,NAME]" if reading.pair else "text_key=NAME"
        raise ValueError(f'{file.place}: no column "{missing[0]}"; {hint}; set read.{setting}')
    return [part.name for part in schema if part.name in reading.keys or _is_scalar(part.type)]


def documents(
    batches: Iterator[pyarrow.RecordBatch], row: int, file: RawFile, reading: Reading, faults: Faults
) -> Iterator[Document]:
    """Yield the documents of batches of rows, the first of which is `row`; damage ends them."""
    failures = failing()
    while True:
        try:
            batch = next(batches, None)
        except failures as error:
            problem = f"cannot be read from here ({words(error)})"
            faults.report(f"{file.place}:{row}", "broken rows", problem, _MEND)
            return
        if batch is None:
            return
        for number, record in enumerate(_records(batch), row):
            place = f"{file.place}:{number}"
            if record is None:
                problem = "holds bytes that are not UTF-8, or a date that no calendar has"
                faults.report(place, "undecodable row", problem, "mend the row")
            else:
                yield from record_pieces(record, place, reading, faults)
        row += batch.num_rows


def _records(batch: pyarrow.RecordBatch) -> Iterator[dict[str, object] | None]:
    """Yield the rows as they can be written to JSON; one that is no text at all is None."""
    batch = _in_microseconds(batch)
    try:
        rows: Sequence[dict[str, Any]] | None = batch.to_pylist()
    except (ValueError, ArithmeticError):
        rows = None
    for index in range(batch.num_rows):
        try:
            row = rows[index] if rows is not None else batch.slice(index, 1).to_pylist()[0]
        except (ValueError, ArithmeticError):
            yield None
        else:
            yield {name: _plain(value) for name, value in row.items()}


def _in_microseconds(batch: pyarrow.RecordBatch) -> pyarrow.RecordBatch:
    """Return the rows with times as Python knows them: no nanoseconds, UTC in place of a named zone."""
    import pyarrow

    for index, part in enumerate(batch.schema):
        if pyarrow.types.is_timestamp(part.type):
            kind = pyarrow.timestamp("us", part.type.tz and "UTC")
        elif pyarrow.types.is_time64(part.type):
            kind = pyarrow.time64("us")
        else:
            continue
        batch = batch.set_column(index, part.name, batch.column(index).cast(kind, safe=False))
    return batch


def _plain(value: object) -> object:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value


def _is_scalar(kind: pyarrow.DataType) -> bool:
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    known = [types.is_integer, types.is_floating, types.is_boolean, types.is_string, types.is_large_string]
    known += [types.is_string_view, types.is_temporal, types.is_decimal, types.is_null]
    return any(test(kind) for test in known) and not types.is_duration(kind) and not types.is_interval(kind)


@contextmanager
def _seekable(file: RawFile) -> Iterator[BinaryIO]:
    """Open the bytes so that they can be sought in: those stored, or a copy of what they unpack to."""
    try:
        stored = file.raw()
    except OSError as error:
        raise Broken(f"cannot be read ({words(error)})") from error
    with stored, ExitStack() as stack:
        try:
            allowance = file.allowance if isinstance(file, Member) else Allowance.of(stored.seek(0, 2))
            stored.seek(0)
            stream = unpacked(stored)
        except TORN as error:
            raise Broken(f"cannot be read ({words(error)})") from error
        yield stream if stream is stored else stack.enter_context(spooled(stream, allowance))


def library(file: RawFile, module: str) -> Any:
    """Return a module of pyarrow, or name the extra that brings it."""
    import importlib

    try:
        return importlib.import_module(f"pyarrow.{module}")
    except ImportError as error:
        raise ValueError(f"{file.place}: reading {file.suffix} {_EXTRA}") from error
