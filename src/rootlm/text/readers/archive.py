"""Archives: .zip and .tar, each member through its own reader, within bounds on what they unpack to."""

from __future__ import annotations

import io
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import BinaryIO, cast

from rootlm.text.document import Document
from rootlm.text.raw.faults import Faults
from rootlm.text.raw.rawfile import BLOCK, RawFile, suffix, unpacked
from rootlm.text.raw.reading import Reading
from rootlm.text.readers import bounds
from rootlm.text.readers.bounds import (
    BROKEN,
    IN_MEMORY,
    Allowance,
    Broken,
    NoSpace,
    Refused,
    copy_within,
    explained,
    spooled,
    words,
)
from rootlm.text.readers.members import Bytes, Entry, Member
from rootlm.text.readers.tar_members import tar_entries
from rootlm.text.readers.zip_members import zip_entries

Entries = Callable[[Bytes], Iterator[Entry]]


def read_zip(file: RawFile, reading: Reading, faults: Faults) -> Iterator[Document]:
    """A zip archive: the documents of every member that has a reader, in the order of its list."""
    yield from _read(file, reading, faults, zip_entries)


def read_tar(file: RawFile, reading: Reading, faults: Faults) -> Iterator[Document]:
    """A tar archive, packed or not: the documents of every member that has a reader, in order."""
    yield from _read(file, reading, faults, tar_entries)


def _read(file: RawFile, reading: Reading, faults: Faults, entries: Entries) -> Iterator[Document]:
    """Read the members one by one; the outermost archive reports that its allowance is spent."""
    if file.depth >= bounds.LIMITS.depth:
        problem = f"lies in {file.depth} archives"
        faults.report(file.place, "nested archive", problem, "unpack the outer one and name its folder")
        return
    others: Counter[str] = Counter()
    count = 0
    try:
        with _opened(file, seeks=entries is zip_entries) as archive:
            for entry in entries(archive):
                count += 1
                archive.allowance.enter()
                if _has_reader(entry.name):
                    yield from _read_member(entry, file, archive.allowance, reading, faults)
                else:
                    others[suffix(entry.name) or "no suffix"] += 1
    except Refused as refusal:
        if isinstance(file, Member):
            raise
        faults.report(file.place, "refused archive", f"{refusal}", "unpack it yourself if you trust it")
    except Broken as error:
        faults.report(file.place, "broken archive", f"{error}", "mend or replace the file")
    except NoSpace as error:
        raise ValueError(f"{error}") from error
    else:
        if count == 0:
            faults.report(file.place, "empty archive", "the archive holds no file", "remove it")
    if others:
        kinds = ", ".join(f"{number} × {kind}" for kind, number in sorted(others.items()))
        faults.notice(f"{file.place}: passed over {others.total()} members that have no reader ({kinds})")


def _has_reader(name: str) -> bool:
    from rootlm.text.readers.read import READERS

    hidden = any(part.startswith((".", "__MACOSX")) and part.strip(".") for part in re.split(r"[/\\]", name))
    return suffix(name) in READERS and not hidden


def _read_member(
    entry: Entry, file: RawFile, allowance: Allowance, reading: Reading, faults: Faults
) -> Iterator[Document]:
    from rootlm.text.readers.read import read

    place = f"{file.place}!{entry.name}"
    if entry.wrong:
        faults.report(place, *entry.wrong)
        return
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as spool:
        unpacked_bytes = cast(BinaryIO, spool)
        if _unpack(entry, place, unpacked_bytes, allowance, faults):
            opened = partial(_view, unpacked_bytes)
            yield from read(Member(place, opened, depth=file.depth + 1, allowance=allowance), reading, faults)


def _unpack(entry: Entry, place: str, spool: BinaryIO, allowance: Allowance, faults: Faults) -> bool:
    """Copy a member to the spool and tell whether it is whole; raises `Broken` when nothing can follow it."""
    if entry.size > allowance.bytes:
        allowance.spend(entry.size)
    try:
        with entry.open() as stream:
            size = copy_within(stream, spool, allowance)
    except BROKEN as error:
        problem = f"cannot be unpacked ({words(error)})"
        if not entry.alone:
            raise Broken(f"{entry.name} {problem}, nor what follows it") from error
    else:
        if size == entry.size:
            return True
        problem = f"holds {size:,} bytes, but the archive says {entry.size:,}"
    faults.report(place, "broken member", problem, "pack it again")
    return False


@contextmanager
def _opened(file: RawFile, seeks: bool) -> Iterator[Bytes]:
    """Open an archive and find its allowance; a packed zip is unpacked first, for it is read from its end."""
    with explained():
        stored = file.raw()
    with stored, ExitStack() as stack:
        with explained():
            allowance = (
                file.allowance if isinstance(file, Member) else Allowance.of(stored.seek(0, io.SEEK_END))
            )
            stored.seek(0)
            stream = unpacked(stored)
        plain = stream is stored
        if seeks and not plain:
            stream = stack.enter_context(spooled(stream, allowance))
        yield Bytes(stream, plain, allowance)


def _view(spool: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(_View(spool), BLOCK))


class _View(io.RawIOBase):
    """The unpacked bytes of a member, with a position of their own; closing it leaves them there."""

    def __init__(self, spool: BinaryIO) -> None:
        self._spool = spool
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            offset += self._spool.seek(0, io.SEEK_END)
        elif whence == io.SEEK_CUR:
            offset += self._at
        self._at = max(offset, 0)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, target: bytearray | memoryview) -> int:  # type: ignore[override]
        self._spool.seek(self._at)
        block = self._spool.read(len(target))
        target[: len(block)] = block
        self._at += len(block)
        return len(block)
