"""A file as decoded text, strictly and in blocks: a broken byte is named by its line."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from rootlm.text.raw import encoding as encodings
from rootlm.text.raw.faults import Faults
from rootlm.text.raw.rawfile import TORN, RawFile

BLOCK_BYTES = 1 << 18
LONGEST_RECORD = 1 << 30

# Elsewhere a byte 10 is always a line end, so that a broken line cannot hide the next one.
_WIDE = ("utf_16", "utf_32")
_REMEDY = "mend the line, set read.encoding if the file is in another one"


class Block(NamedTuple):
    """The next part of a file, line ends as `\\n`; all parts joined are the file without its broken lines."""

    number: int
    """The line in which the block begins, from 1."""
    text: str
    is_broken: bool = False
    """What came of the line in which the block begins must be forgotten: more of it does not decode."""


def blocks(file: RawFile, encoding: str | None, faults: Faults) -> Iterator[Block]:
    """Yield the text of a file in blocks; memory stays small even when the file is a single line.

    `encoding` None means: find out. A torn archive, a binary file and a line that does not decode are
    reported to `faults`.
    """
    place = file.place
    try:
        with file.open() as stream:
            sample = stream.read(encodings.SAMPLE_BYTES)
        chosen = encoding or encodings.detect(sample)
        if not sample:
            faults.report(place, "empty file", "the file is empty", "remove it")
        elif chosen is None:
            remedy = "leave it out of the paths, set read.encoding=utf-16-le if it is text"
            faults.report(place, "binary file", "holds NUL bytes, so it is not text", remedy)
        else:
            faults.encodings[chosen] += file.line == 1  # a file that was cut counts once
            if chosen != "utf-8" and encoding is None and faults.encodings[chosen] == 1:
                faults.notice(f"{place}: not UTF-8; read as {chosen} (set read.encoding if that is wrong)")
            decode = (
                _decode_wide if codecs.lookup(chosen).name.replace("-", "_").startswith(_WIDE) else _decode
            )
            with file.open() as stream:
                yield from decode(stream, chosen, file, faults)
    except TORN as error:
        words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        faults.report(
            place, "unreadable file", f"cannot be read to its end ({words})", "mend or replace the file"
        )


def lines(file: RawFile, encoding: str | None, faults: Faults) -> Iterator[tuple[int, str]]:
    """Yield number and text of every line, without its end; a broken line that is skipped is blank.

    Raises ValueError for a line of more than a gigabyte.
    """
    number, begun, size = file.line, list[str](), 0
    for block in blocks(file, encoding, faults):
        if block.is_broken:
            begun, size = [], 0
        first, *others = block.text.split("\n")
        begun.append(first)
        size += len(first)
        if size > LONGEST_RECORD:
            raise ValueError(f"{file.place}:{number}: longer than a gigabyte; is this one record per line?")
        for other in others:
            yield number, "".join(begun) if len(begun) > 1 else begun[0]
            number += 1
            begun, size = [other], len(other)
    if size:
        yield number, "".join(begun)


def _decode(stream: BinaryIO, encoding: str, file: RawFile, faults: Faults) -> Iterator[Block]:
    decoder = codecs.getincrementaldecoder(encoding)()
    number, broken = file.line, False
    parts = _parts(stream)
    if parts:
        parts[0] = parts[0].removeprefix(codecs.BOM_UTF8)
    while parts:
        state = decoder.getstate()
        texts: list[str] = []
        spoilt = False
        try:
            texts.append("" if broken else _strict(decoder, b"".join(parts)))
        except ValueError:
            decoder.setstate(state)
        if broken or not texts:
            texts = []
            for part in parts:
                try:
                    texts.append("" if broken else _strict(decoder, part))
                except ValueError as error:
                    broken = True
                    line = number + sum(text.count("\n") for text in texts)
                    spoilt = spoilt or line == number
                    faults.report(
                        f"{file.place}:{line}", "undecodable line", _explain(error, encoding), _REMEDY
                    )
                if broken and part.endswith(b"\n"):
                    texts.append("\n")
                    broken = False
                    decoder.reset()
        yield Block(number, text := "".join(texts), spoilt)
        number += text.count("\n")
        parts = _parts(stream)
    try:
        decoder.decode(b"", True)
    except ValueError as error:
        faults.report(f"{file.place}:{number}", "undecodable line", _explain(error, encoding), _REMEDY)
        yield Block(number, "", True)


def _parts(stream: BinaryIO) -> list[bytes]:
    """Read lines up to the size of a block; a line that is longer comes in several parts."""
    read: list[bytes] = []
    size = 0
    while size < BLOCK_BYTES and (line := stream.readline(BLOCK_BYTES)):
        read.append(line)
        size += len(line)
    return read


def _strict(decoder: codecs.IncrementalDecoder, raw: bytes) -> str:
    text = decoder.decode(raw, raw.endswith(b"\n"))
    if "\0" in text:
        raise ValueError("holds a NUL byte")
    return text.replace("\r\n", "\n")


def _decode_wide(stream: BinaryIO, encoding: str, file: RawFile, faults: Faults) -> Iterator[Block]:
    number = file.line
    with io.TextIOWrapper(stream, encoding=encoding, newline="") as text:
        try:
            while block := text.read(BLOCK_BYTES):
                yield Block(number, block.replace("\r\n", "\n"))
                number += block.count("\n")
        except UnicodeError as error:
            faults.report(f"{file.place}:{number}", "undecodable line", _explain(error, encoding), _REMEDY)
            yield Block(number, "", True)


def _explain(error: ValueError, encoding: str) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"byte 0x{error.object[error.start]:02x} is not {encoding.upper()} ({error.reason})"
    return str(error)
