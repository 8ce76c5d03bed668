"""A document that is a zip archive of parts (.epub, .docx), opened with bounds on what it unpacks to."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, BinaryIO

MOST_PARTS = 20_000
LARGEST_PART = 1 << 27
# Text packs to a tenth, tables of zeros to a thousandth; small packages may do as they like.
_RATIO, _HARMLESS = 200, 1 << 24
_OLD_WORD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

# All that the library raises for archives that are torn or made up.
_DAMAGE = (
    *(zipfile.BadZipFile, struct.error, zlib.error, lzma.LZMAError, EOFError, OSError),
    *(NotImplementedError, RuntimeError, ValueError, LookupError),
)


class BrokenPackage(ValueError):
    """Why a package cannot be read: the kind of fault, the problem and the remedy."""

    def __init__(self, reason: str, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.reason, self.problem, self.remedy = reason, problem, remedy


class Package:
    """The parts of a package by name; every fault is a `BrokenPackage`."""

    def __init__(self, stream: BinaryIO) -> None:
        head = stream.read(8)
        size = stream.seek(0, 2)
        if head == _OLD_WORD:
            problem = "is encrypted, or an old .doc under a new name"
            raise BrokenPackage("encrypted", problem, "save it without a password, as .docx")
        with _explained():
            self._archive = zipfile.ZipFile(stream)
        parts = self._archive.infolist()
        total = sum(part.file_size for part in parts)
        if len(parts) > MOST_PARTS or total > max(_HARMLESS, _RATIO * size):
            problem = f"{len(parts)} parts of {total >> 20} MiB in a file of {size >> 10} KiB"
            raise BrokenPackage("lying archive", f"unpacks to {problem}", "leave it out")
        if any(part.flag_bits & 1 for part in parts):
            raise BrokenPackage("encrypted", "is encrypted", "save it without a password")
        self.names = frozenset(part.filename for part in parts)

    def read(self, name: str) -> bytes:
        """Return a part as a whole."""
        with self.open(name) as stream:
            return stream.read()

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Open a part as a stream; what reading it raises is explained."""
        if name not in self.names:
            raise BrokenPackage("damaged file", f"has no part {name}", "mend or replace the file")
        if self._archive.getinfo(name).file_size > LARGEST_PART:
            problem = f"{name} unpacks to more than {LARGEST_PART >> 20} MiB"
            raise BrokenPackage("too large", problem, "split it")
        with _explained(), self._archive.open(name) as stream:
            yield stream


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except BrokenPackage:
        raise
    except _DAMAGE as error:
        problem = f"is damaged ({' '.join(str(error).split()) or type(error).__name__})"
        raise BrokenPackage("damaged file", problem, "mend or replace the file") from error
