"""How far an archive from strangers is believed: what it may unpack to, and what is said when it is broken."""

from __future__ import annotations

import struct
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tarfile import TarError
from typing import IO, BinaryIO, cast

from rootlm.text.raw.rawfile import BLOCK, TORN

IN_MEMORY = 1 << 22
BROKEN = (zipfile.BadZipFile, TarError, struct.error, ValueError, RuntimeError, *TORN)
"""What the libraries raise for archives that are torn or made up."""


@dataclass(frozen=True)
class Limits:
    """How far an archive from strangers is believed."""

    depth: int = 3
    """Archives in archives in archives."""
    members: int = 1_000_000
    ratio: int = 200
    """Unpacked bytes to a packed one, counted over all that lies in the outermost archive."""
    harmless: int = 1 << 24
    """So many unpacked bytes need no excuse."""
    unpacked: int = 1 << 40
    index: int = 1 << 26
    """Bytes of a zip's list of members, which is held as a whole."""
    record: int = 1 << 20
    """Bytes of what a tar says about a member."""


LIMITS = Limits()


class Refused(Exception):
    """Why the outermost archive is not read any further."""


@dataclass
class Allowance:
    """How many bytes and members the outermost archive may still unpack to."""

    bytes: int
    members: int

    @classmethod
    def of(cls, packed: int) -> Allowance:
        """Return what a file of so many bytes may unpack to."""
        return cls(min(max(packed * LIMITS.ratio, LIMITS.harmless), LIMITS.unpacked), LIMITS.members)

    def spend(self, count: int) -> None:
        """Raise `Refused` when more bytes come out than the archive may hold."""
        self.bytes -= count
        if self.bytes < 0:
            raise Refused(
                f"unpacks to more than {LIMITS.ratio} times its size, or to more than {LIMITS.unpacked} bytes"
            )

    def enter(self) -> None:
        """Raise `Refused` when there are more members than anyone packs."""
        self.members -= 1
        if self.members < 0:
            raise Refused(f"holds more than {LIMITS.members:,} members")


class Broken(Exception):
    """The archive cannot be read any further; no ValueError, so that it is not taken for a fault's."""


class NoSpace(Exception):
    """There is no room to unpack, which is not the archive's fault."""


@contextmanager
def explained() -> Iterator[None]:
    """Turn what the libraries raise for a damaged archive into `Broken`."""
    try:
        yield
    except BROKEN as error:
        raise Broken(f"cannot be read to its end ({words(error)})") from error


def words(error: BaseException) -> str:
    """Return what an error says, in one line."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(said.split()) or type(error).__name__


@contextmanager
def spooled(stream: BinaryIO, allowance: Allowance) -> Iterator[BinaryIO]:
    """Copy a stream to where it can be sought in: into memory while it is small, else on disk."""
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as spool:
        seekable = cast(BinaryIO, spool)
        with explained():
            copy_within(stream, seekable, allowance)
        seekable.seek(0)
        yield seekable


def copy_within(source: IO[bytes], target: BinaryIO, allowance: Allowance) -> int:
    """Copy a stream and return its size; what comes out is taken from the allowance."""
    size = 0
    while block := source.read(BLOCK):
        allowance.spend(len(block))
        size += len(block)
        try:
            target.write(block)
        except OSError as error:
            folder = tempfile.gettempdir()
            raise NoSpace(f"{folder}: {words(error)}; free space there, or set TMPDIR") from error
    return size
