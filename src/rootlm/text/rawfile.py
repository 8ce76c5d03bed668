"""Open a file's bytes, whatever it is packed with: plain, gzip or Zstandard."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
BLOCK = 1 << 17


def open_raw(path: Path) -> BinaryIO:
    """Return the unpacked bytes as a buffered stream; the first bytes decide, not the name.

    Reading raises OSError, EOFError or `zstandard.ZstdError` when the file is torn.
    """
    stream = path.open("rb")
    head = stream.read(4)
    stream.seek(0)
    if head.startswith(GZIP):
        return cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=stream)), BLOCK))
    if head.startswith(ZSTD):
        return cast(BinaryIO, io.BufferedReader(_Zstandard(stream), BLOCK))
    return stream


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
