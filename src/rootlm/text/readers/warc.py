"""Crawled pages: .warc, whose records are web pages (WARC) or their text (WET)."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import BinaryIO, NamedTuple

from rootlm.text.document import Document
from rootlm.text.raw.encoding import detect
from rootlm.text.raw.faults import Faults
from rootlm.text.raw.rawfile import BLOCK, TORN, RawFile
from rootlm.text.raw.reading import Reading, pieces
from rootlm.text.readers.bounds import words
from rootlm.text.readers.http_response import BrokenBody, Response, charset, response

LARGEST_RECORD = 1 << 26
_LONGEST_LINE, _MOST_HEADERS = 1 << 16, 1000
_PAGES = ("text/html", "application/xhtml+xml")
_PLAIN = "text/plain"
_MEND = "fetch the file again"


class Record(NamedTuple):
    """A record and its number, from 1."""

    number: int
    headers: Mapping[str, str]
    """By their names in lower case."""
    block: bytes | None
    """Its bytes; None for one that is too large."""


def read_warc(file: RawFile, reading: Reading, faults: Faults) -> Iterator[Document]:
    """Web archives: the main text of pages, plain text as it is; address and date go to the meta.

    Pages are what was answered with success (or stored as resources); text is what WET files hold.
    """
    try:
        with file.open() as stream:
            for record in _records(stream, file, faults):
                yield from _documents(record, f"{file.place}:record {record.number}", reading, faults)
    except TORN as error:
        problem = f"cannot be read to its end ({words(error)})"
        faults.report(file.place, "unreadable file", problem, _MEND)


def _records(stream: BinaryIO, file: RawFile, faults: Faults) -> Iterator[Record]:
    """Yield the records whose lengths are true; what lies between them is reported and passed over."""
    number = 0
    line, strange = _start(stream)
    while line or strange:
        if strange:
            place = f"{file.place}:record {number}" if number else file.place
            problem = "is no WARC file" if number == 0 else "is followed by bytes that are no record"
            faults.report(place, "broken record", problem, _MEND)
        if not line:
            return
        number += 1
        place = f"{file.place}:record {number}"
        headers = _headers(stream)
        length = headers.get("content-length", "")
        if not (length.isascii() and length.isdigit()):
            faults.report(place, "broken record", "does not say how long it is", _MEND)
            line, strange = _start(stream)[0], False
            continue
        else:
            record, whole = _record(stream, number, headers, int(length))
            if not whole:
                faults.report(place, "truncated record", "ends before its length", _MEND)
            elif (end := stream.readline(_LONGEST_LINE)).strip():
                faults.report(place, "broken record", "is longer than it says", _MEND)
                line, strange = end if end.startswith(b"WARC/") else _start(stream)[0], False
                continue
            else:
                yield record
        line, strange = _start(stream)


def _start(stream: BinaryIO) -> tuple[bytes, bool]:
    """Pass over lines up to the first of a record; tell whether there was more than blank ones."""
    strange = False
    while line := stream.readline(_LONGEST_LINE):
        if line.startswith(b"WARC/"):
            break
        strange = strange or bool(line.strip())
    return line, strange


def _headers(stream: BinaryIO) -> dict[str, str]:
    headers: dict[str, str] = {}
    name = ""
    for _ in range(_MOST_HEADERS):
        line = stream.readline(_LONGEST_LINE)
        if not line.strip():
            break
        text = line.decode("utf-8", "replace")
        if text[0] in " \t" and name:
            headers[name] += f" {text.strip()}"
        else:
            name, _, value = text.partition(":")
            name = name.strip().lower()
            headers[name] = value.strip()
    return headers


def _record(stream: BinaryIO, number: int, headers: Mapping[str, str], length: int) -> tuple[Record, bool]:
    """Read the block of a record, and tell whether it is whole; one that nobody reads is passed over."""
    if length <= LARGEST_RECORD and headers.get("warc-type") in _READ:
        block = stream.read(length)
        return Record(number, headers, block), len(block) == length
    left = length
    while left and (part := stream.read(min(BLOCK, left))):
        left -= len(part)
    return Record(number, headers, None), left == 0


_READ = ("response", "resource", "conversion")


def _documents(record: Record, place: str, reading: Reading, faults: Faults) -> Iterator[Document]:
    headers = record.headers
    if headers.get("warc-type") not in _READ:
        return
    if record.block is None:
        problem = f"more than {LARGEST_RECORD >> 20} MiB, too much for one page"
        faults.report(place, "too large", problem, "leave it out")
        return
    try:
        answer = _answer(headers, record.block)
    except BrokenBody as error:
        faults.report(place, "broken body", f"{error}", "leave the record out")
        return
    kind = answer.kind or headers.get("warc-identified-payload-type", "")
    if not 200 <= answer.status < 300 or kind not in (*_PAGES, _PLAIN):
        return
    try:
        body = answer.body(LARGEST_RECORD)
    except BrokenBody as error:
        faults.report(place, "broken body", f"{error}", "leave the record out")
        return
    meta = {"url": headers.get("warc-target-uri", "").strip("<>"), "date": headers.get("warc-date", "")}
    meta = {name: value for name, value in meta.items() if value}
    read = _page if kind in _PAGES else _text
    for document in read(body, answer.charset, place, reading, faults):
        yield replace(document, meta={**document.meta, **meta})


def _answer(headers: Mapping[str, str], block: bytes) -> Response:
    """Return what a record holds as if it came by HTTP."""
    declared = headers.get("content-type", "")
    if declared.lower().startswith("application/http"):
        return response(block)
    kind = declared.partition(";")[0].strip().lower()
    # A conversion is UTF-8 where it does not say otherwise.
    named = charset(declared) or ("utf-8" if headers.get("warc-type") == "conversion" else None)
    return Response(200, kind, named, {}, block)


def _page(body: bytes, named: str | None, place: str, reading: Reading, faults: Faults) -> Iterator[Document]:
    """Read a page: what it says about its encoding goes before what the server said."""
    from rootlm.text.readers.html import declared, read_html

    if not body.strip():
        return
    if reading.encoding is None and declared(body) is None and named and _decodes(body, named):
        reading = reading.model_copy(update={"encoding": named})
    yield from read_html(RawFile(place, partial(io.BytesIO, body)), reading, faults)


def _text(body: bytes, named: str | None, place: str, reading: Reading, faults: Faults) -> Iterator[Document]:
    encoding = reading.encoding or (named if named and _decodes(body, named) else detect(body))
    try:
        text = body.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        problem = f"byte 0x{body[error.start]:02x} is not {error.encoding.upper()} ({error.reason})"
        faults.report(place, "undecodable record", problem, "leave the record out")
        return
    yield from pieces(text.removeprefix("\ufeff").replace("\r\n", "\n"), place, meta={}, reading=reading)


def _decodes(body: bytes, encoding: str) -> bool:
    try:
        body.decode(encoding)
    except ValueError:
        return False
    return True
