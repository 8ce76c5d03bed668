"""A file's bytes under a name, whatever they are packed with and wherever they stand."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

import zstandard

BLOCK = 1 << 17
PACKED = (".gz", ".bz2", ".xz", ".zst")
TORN = (EOFError, OSError, zlib.error, lzma.LZMAError, zstandard.ZstdError)
"""What reading raises when a packed file is torn, or any file cannot be read."""

_GZIP, _BZIP, _XZ, _ZSTD = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True)
class RawFile:
    """The bytes of a file on disk, of some of its lines, or of a member of an archive."""

    place: str
    """What documents and errors call it; a member of an archive is `archive!member`."""
    raw: Callable[[], BinaryIO]
    """Opens the bytes as they are stored, seekable."""
    line: int = 1
    """The number of the first line."""
    depth: int = 0
    """How many archives it lies in."""

    @classmethod
    def on_disk(cls, path: Path, root: Path = Path()) -> RawFile:
        """Return the whole of a file; the path is seen from `root`."""
        return cls(shown(path), partial(_opened, root / path))

    @classmethod
    def lines_of(cls, path: Path, root: Path, begin: int, end: int, line: int) -> RawFile:
        """Return the bytes of a file that is not packed from `begin` to `end`; line `line` begins there."""
        return cls(shown(path), partial(_slice_opened, root / path, begin, end), line)

    @property
    def suffix(self) -> str:
        """What tells the reader, without the suffix of the packing: `.jsonl` for `a.jsonl.zst`."""
        return suffix(self.place)

    def open(self) -> BinaryIO:
        """Return the unpacked bytes as a buffered stream; raises one of `TORN`, as reading it does."""
        return unpacked(self.raw())


def suffix(name: str | Path) -> str:
    """Return the last suffix of a name in lower case, that of a packing left out.

    >>> suffix("news/2024.JSONL.zst"), suffix("notes"), suffix("book.zip!a/b.md")
    ('.jsonl', '', '.md')
    """
    last = PurePosixPath(str(name)).name
    for packing in PACKED:
        last = last[: -len(packing)] if last.lower().endswith(packing) else last
    return PurePosixPath(last).suffix.lower()


def shown(path: Path | str) -> str:
    """Return a path as text that can always be printed and written to JSON."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _opened(path: Path) -> BinaryIO:
    return path.open("rb")


def _slice_opened(path: Path, begin: int, end: int) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(_Slice(path.open("rb"), begin, end), BLOCK))


def open_raw(path: Path) -> BinaryIO:
    """Return the unpacked bytes of a file on disk."""
    return unpacked(path.open("rb"))


def unpacked(stream: BinaryIO) -> BinaryIO:
    """Return what a stream holds, unpacked; its first bytes decide, not its name."""
    head = stream.read(6)
    stream.seek(0)
    if head.startswith(_GZIP):
        return _buffered(gzip.GzipFile(fileobj=stream), stream)
    if head.startswith(_BZIP):
        return _buffered(bz2.BZ2File(stream), stream)
    if head.startswith(_XZ):
        return _buffered(lzma.LZMAFile(stream), stream)
    if head.startswith(_ZSTD):
        return cast(BinaryIO, io.BufferedReader(_Zstandard(stream), BLOCK))
    return stream


def _buffered(unpacking: object, stream: BinaryIO) -> BinaryIO:
    """Buffer an unpacking stream; closing it closes the packed one too."""
    buffered = _Buffered(cast(io.RawIOBase, unpacking), BLOCK)
    buffered.packed = stream
    return cast(BinaryIO, buffered)


class _Buffered(io.BufferedReader):
    packed: BinaryIO

    def close(self) -> None:
        super().close()
        self.packed.close()


class _Slice(io.RawIOBase):
    """Some bytes of a file as if they were all of it."""

    def __init__(self, stream: BinaryIO, begin: int, end: int) -> None:
        self._stream, self._begin, self._end = stream, begin, end
        self.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        starts = {io.SEEK_SET: self._begin, io.SEEK_CUR: self._stream.tell(), io.SEEK_END: self._end}
        return self._stream.seek(starts[whence] + offset) - self._begin

    def readinto(self, target: bytearray | memoryview) -> int:  # type: ignore[override]
        left = max(0, self._end - self._stream.tell())
        block = self._stream.read(min(len(target), left))
        target[: len(block)] = block
        return len(block)

    def close(self) -> None:
        self._stream.close()
        super().close()


class _Zstandard(io.RawIOBase):
    """Unpacks frame after frame, and notices an unfinished one: the library's own stream passes over it."""

    def __init__(self, packed: BinaryIO) -> None:
        self._packed = packed
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._started = False
        self._ready = b""
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, target: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._ready:
            block = self._rest or self._packed.read(BLOCK)
            self._rest = b""
            if not block:
                if self._started:
                    raise EOFError("the Zstandard stream ends in the middle of a frame")
                return 0
            self._started = True
            self._ready = self._frame.decompress(block)
            if self._frame.eof:
                self._rest = self._frame.unused_data
                self._frame = zstandard.ZstdDecompressor().decompressobj()
                self._started = False
        count = min(len(target), len(self._ready))
        target[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def close(self) -> None:
        self._packed.close()
        super().close()
