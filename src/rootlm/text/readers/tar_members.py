"""The members of a tar archive, packed or not."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from tarfile import BLOCKSIZE as TAR_BLOCK
from tarfile import ReadError, TarFile, TarInfo
from typing import IO, BinaryIO, cast

from rootlm.text.raw.rawfile import BLOCK
from rootlm.text.readers import bounds
from rootlm.text.readers.bounds import Broken, explained
from rootlm.text.readers.members import Bytes, Entry, decoded_name, outside, printable


def tar_entries(archive: Bytes) -> Iterator[Entry]:
    forward = _Forward(archive)
    with explained():
        opened = TarFile(fileobj=cast(BinaryIO, forward), mode="r")
    with opened:
        while True:
            with explained():
                info = opened.next()
            if info is None:
                break
            opened.members = []  # type: ignore[attr-defined]  # it would remember them all
            if info.isdir():
                continue
            name = decoded_name(info.name.encode("utf-8", "surrogateescape"))
            plain = info.isreg() and not info.issparse()
            wrong = outside(name, "" if plain else "is a link or a device")
            yield Entry(printable(name), info.size, partial(_tar_member, opened, info), wrong, alone=False)
    if forward.head.strip(b"\0"):
        raise Broken("cannot be read to its end (what follows the last member is none)")


def _tar_member(archive: TarFile, info: TarInfo) -> IO[bytes]:
    stream = archive.extractfile(info)
    if stream is None:
        raise ReadError("it is no file")
    return stream


class _Forward:
    """What a tar is read from: never backwards, and no record about a member is taken that fills the memory."""

    def __init__(self, archive: Bytes) -> None:
        self._archive = archive
        self._at = 0
        self.head = b""
        """What was read last as the head of a member."""

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        return self._at

    def read(self, size: int) -> bytes:
        if size > bounds.LIMITS.record:
            raise ReadError(f"says {size:,} bytes about one member")
        block = self._archive.stream.read(size)
        self._at += len(block)
        if size == TAR_BLOCK:
            self.head = block
        return block

    def seek(self, target: int) -> None:
        if self._archive.plain and target != self._at:
            self._at = self._archive.stream.seek(target)
        while self._at < target and (block := self._archive.stream.read(min(BLOCK, target - self._at))):
            self._archive.allowance.spend(len(block))
            self._at += len(block)
