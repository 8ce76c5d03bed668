"""The members of a zip archive."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

from rootlm.text.readers import bounds
from rootlm.text.readers.bounds import Refused, explained
from rootlm.text.readers.members import Bytes, Entry, Wrong, decoded_name, outside, printable

_IS_UTF8 = 1 << 11
# The record that ends a zip, with the longest comment, and the two that go before it when it is large.
_END_BYTES = (1 << 16) + 22 + 20 + 56
_ENCRYPTED = Wrong("encrypted member", "is encrypted", "pack it again without a password")


def zip_entries(archive: Bytes) -> Iterator[Entry]:
    with explained():
        _check_index(archive.stream)
        opened = zipfile.ZipFile(archive.stream)
    with opened:
        for info in opened.infolist():
            if info.is_dir():
                continue
            kind = stat.S_IFMT(info.external_attr >> 16)
            name = _zip_name(info)
            wrong = outside(name, "" if kind in (0, stat.S_IFREG) else "is a link or a device")
            if info.flag_bits & 1:
                wrong = wrong or _ENCRYPTED
            yield Entry(printable(name), info.file_size, partial(opened.open, info), wrong, alone=True)


def _check_index(stream: BinaryIO) -> None:
    """Refuse a list of members that would fill the memory; the library reads it as a whole."""
    size = stream.seek(0, io.SEEK_END)
    stream.seek(max(size - _END_BYTES, 0))
    tail = stream.read()
    stream.seek(0)
    end = tail.rfind(b"PK\5\6")
    if end < 0 or len(tail) < end + 16:
        return
    (listed,) = struct.unpack_from("<I", tail, end + 12)
    large = end - 20 - 56
    if large >= 0 and tail.startswith(b"PK\6\7", end - 20):
        (listed,) = struct.unpack_from("<Q", tail, large + 40)
    if listed > bounds.LIMITS.index:
        raise Refused(f"lists its members in {listed:,} bytes")


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Return the name of a member; where nothing says that it is UTF-8 it may be what Windows writes in China.

    >>> info = zipfile.ZipInfo("静夜.txt".encode("gb18030").decode("cp437"))
    >>> _zip_name(info)
    '静夜.txt'
    """
    name = info.orig_filename
    if info.flag_bits & _IS_UTF8:
        return name
    try:
        return decoded_name(name.encode("cp437"))
    except UnicodeEncodeError:
        return name
