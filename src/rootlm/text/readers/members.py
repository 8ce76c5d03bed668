"""The members of an archive as it lists them, and which of them are refused."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, BinaryIO, NamedTuple, cast

from rootlm.text.raw.rawfile import BLOCK, RawFile, unpacked
from rootlm.text.readers.bounds import Allowance


@dataclass(frozen=True)
class Member(RawFile):
    """A file in an archive; what it unpacks to counts for the outermost one."""

    allowance: Allowance = field(kw_only=True)

    def open(self) -> BinaryIO:
        """Return the unpacked bytes, for a member may be packed once more; raises `Refused` for a bomb."""
        stored = self.raw()
        stream = unpacked(stored)
        if stream is stored:
            return stream
        return cast(BinaryIO, io.BufferedReader(_Counted(stream, self.allowance), BLOCK))


class _Counted(io.RawIOBase):
    """A stream whose bytes are taken from an allowance."""

    def __init__(self, stream: BinaryIO, allowance: Allowance) -> None:
        self._stream, self._allowance = stream, allowance

    def readable(self) -> bool:
        return True

    def readinto(self, target: bytearray | memoryview) -> int:  # type: ignore[override]
        block = self._stream.read(len(target))
        self._allowance.spend(len(block))
        target[: len(block)] = block
        return len(block)

    def close(self) -> None:
        self._stream.close()
        super().close()


class Wrong(NamedTuple):
    """Why a member is not even unpacked: the kind of fault, the problem and the remedy."""

    reason: str
    problem: str
    remedy: str


class Entry(NamedTuple):
    """A member as the archive lists it."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]
    wrong: Wrong | None
    alone: bool
    """Whether those after it can be read when it is broken."""


class Bytes(NamedTuple):
    """An archive that was opened."""

    stream: BinaryIO
    plain: bool
    """Whether nothing packs it, so that seeking costs nothing."""
    allowance: Allowance


def decoded_name(name: bytes) -> str:
    for encoding in ("utf-8", "gb18030"):
        with suppress(UnicodeDecodeError):
            return name.decode(encoding)
    return name.decode("cp437")


def printable(name: str) -> str:
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name
    )


def outside(name: str, kind: str) -> Wrong | None:
    """Refuse what is no plain file, and what would lie outside if it were unpacked to a folder."""
    path = name.replace("\\", "/")
    if not kind and (path.startswith("/") or path[1:2] == ":" or ".." in path.split("/")):
        kind = "has a name that leads out of the archive"
    return (
        Wrong("refused member", kind, "pack it again as a plain file with a relative name") if kind else None
    )
