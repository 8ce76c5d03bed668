"""A file that can only be read as a whole: its bytes, or a stream that can be sought in."""

from __future__ import annotations

import io
from typing import BinaryIO

from rootlm.text.raw.faults import Faults
from rootlm.text.raw.rawfile import TORN, RawFile, unpacked

LARGEST = 1 << 28
_EXTRA = 'needs an extra: pip install "rootlm[documents]"'


def needs_extra(file: RawFile) -> ValueError:
    """Return the error for a reader whose library is not installed."""
    return ValueError(f"{file.place}: reading {file.suffix} {_EXTRA}")


def whole(file: RawFile, faults: Faults, largest: int = LARGEST) -> bytes | None:
    """Return the unpacked bytes of a file; what is empty, torn or too large goes to the faults."""
    try:
        with file.open() as stream:
            return _checked(stream.read(largest + 1), file, faults, largest)
    except TORN as error:
        report_torn(file, error, faults)
        return None


def seekable(file: RawFile, faults: Faults, largest: int = LARGEST) -> BinaryIO | None:
    """Return a stream to seek in: the stored bytes where nothing packs them, else a copy in memory."""
    try:
        stored = file.raw()
        stream = unpacked(stored)
        if stream is stored and stored.seek(0, io.SEEK_END):
            stored.seek(0)
            return stored
        with stream:
            content = _checked(stream.read(largest + 1), file, faults, largest)
            return None if content is None else io.BytesIO(content)
    except TORN as error:
        report_torn(file, error, faults)
        return None


def report_torn(file: RawFile, error: Exception, faults: Faults) -> None:
    """Report a file that cannot be read to its end."""
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    problem = f"cannot be read to its end ({words})"
    faults.report(file.place, "unreadable file", problem, "mend or replace the file")


def _checked(content: bytes, file: RawFile, faults: Faults, largest: int) -> bytes | None:
    if not content:
        faults.report(file.place, "empty file", "the file is empty", "remove it")
        return None
    if len(content) > largest:
        problem = f"more than {largest >> 20} MiB, too much for one {file.suffix or 'document'}"
        faults.report(file.place, "too large", problem, "split it")
        return None
    return content
