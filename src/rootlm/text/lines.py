"""A file as a stream of decoded lines, strictly: a broken byte is named by its line."""

from __future__ import annotations

import codecs
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import zstandard

from rootlm.text import encoding as encodings
from rootlm.text.faults import Faults, shown
from rootlm.text.rawfile import open_raw

FRAGMENT_BYTES = 1 << 20
LONGEST_RECORD = 1 << 30

# Elsewhere a byte 10 is always a line end, so that a broken line cannot hide the next one.
_WIDE = ("utf_16", "utf_32")
_REMEDY = "mend the line, set read.encoding if the file is in another one"


class Line(NamedTuple):
    """A line without its end, or a fragment of one that is longer than a megabyte."""

    number: int
    text: str
    ends: bool


def lines(path: Path, encoding: str | None, faults: Faults) -> Iterator[Line]:
    """Yield the lines of a file; memory stays small even when the file is a single line.

    `encoding` None means: find out. A torn archive, a binary file and a line that does not decode are
    reported to `faults`.
    """
    place = shown(path)
    try:
        with open_raw(path) as stream:
            sample = stream.read(encodings.SAMPLE_BYTES)
        chosen = encoding or encodings.detect(sample)
        if not sample:
            faults.report(place, "empty file", "the file is empty", "remove it")
        elif chosen is None:
            remedy = "leave it out of the paths, set read.encoding=utf-16-le if it is text"
            faults.report(place, "binary file", "holds NUL bytes, so it is not text", remedy)
        else:
            faults.encodings[chosen] += 1
            if chosen != "utf-8" and encoding is None and faults.encodings[chosen] == 1:
                faults.notice(f"{place}: not UTF-8; read as {chosen} (set read.encoding if that is wrong)")
            with open_raw(path) as stream:
                yield from _decode(stream, chosen, place, faults)
    except (EOFError, zlib.error, zstandard.ZstdError, OSError) as error:
        words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        faults.report(
            place, "unreadable file", f"cannot be read to its end ({words})", "mend or replace the file"
        )


def records(path: Path, encoding: str | None, faults: Faults) -> Iterator[tuple[int, str]]:
    """Yield number and text of whole lines; raises ValueError for a line of more than a gigabyte."""
    parts: list[str] = []
    for line in lines(path, encoding, faults):
        if line.ends and not parts:
            yield line.number, line.text
            continue
        parts.append(line.text)
        if sum(map(len, parts)) > LONGEST_RECORD:
            raise ValueError(
                f"{shown(path)}:{line.number}: longer than a gigabyte; is this one record per line?"
            )
        if line.ends:
            yield line.number, "".join(parts)
            parts = []


def _decode(stream: BinaryIO, encoding: str, place: str, faults: Faults) -> Iterator[Line]:
    if codecs.lookup(encoding).name.replace("-", "_").startswith(_WIDE):
        yield from _decode_wide(stream, encoding, place, faults)
        return
    decoder = codecs.getincrementaldecoder(encoding)()
    number, begun, broken = 1, False, False
    while (raw := stream.readline(FRAGMENT_BYTES)) or begun:
        ends = raw.endswith(b"\n") or not raw
        if number == 1 and not begun:
            raw = raw.removeprefix(codecs.BOM_UTF8)
        text = ""
        if not broken:
            try:
                text = decoder.decode(raw, ends)
                if b"\0" in raw:
                    raise ValueError("holds a NUL byte")
            except ValueError as error:
                broken, text = True, ""
                faults.report(f"{place}:{number}", "undecodable line", _explain(error, encoding), _REMEDY)
        yield Line(number, text.rstrip("\r\n") if ends else text, ends)
        begun = not ends
        if ends:
            number, broken = number + 1, False
            decoder.reset()


def _decode_wide(stream: BinaryIO, encoding: str, place: str, faults: Faults) -> Iterator[Line]:
    number = 1
    with io.TextIOWrapper(stream, encoding=encoding, newline="\n") as text:
        try:
            while line := text.readline(FRAGMENT_BYTES):
                ends = line.endswith("\n")
                yield Line(number, line.rstrip("\r\n") if ends else line, ends)
                number += ends
            yield Line(number, "", True)
        except UnicodeError as error:
            faults.report(f"{place}:{number}", "undecodable line", _explain(error, encoding), _REMEDY)


def _explain(error: ValueError, encoding: str) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"byte 0x{error.object[error.start]:02x} is not {encoding.upper()} ({error.reason})"
    return str(error)
