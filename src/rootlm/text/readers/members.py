"""The members of an archive as it lists them, and which of them are refused."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import IO, BinaryIO, NamedTuple

from rootlm.text.readers.bounds import Allowance


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
