"""Files become documents: plain text, JSON lines and tables, one reader each."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

import orjson
from pydantic import Field, field_validator

from rootlm.core.config import Config
from rootlm.core.mistakes import nearest
from rootlm.text.cut import cut
from rootlm.text.document import Document
from rootlm.text.faults import Faults, OnError, shown
from rootlm.text.lines import blocks, lines

PACKED = (".gz", ".zst")


class Reading(Config):
    """How files become documents."""

    documents: Literal["file", "line", "paragraph"] = "file"
    """What one document of a .txt file is: the whole file, a line, or what stands between blank lines."""
    max_document_characters: Annotated[int, Field(ge=64)] | None = 20_000
    """Longer documents are cut at paragraph, line or sentence ends; null keeps them whole."""
    text_key: str = "text"
    """The key (.jsonl) or column (.csv, .tsv) that holds the text; the others go to the document's meta."""
    delimiter: str | None = None
    """What separates the columns of a table; null: a comma in .csv, a tab in .tsv."""
    encoding: str | None = None
    """The encoding of every file; null: UTF-8, else detected and reported."""
    on_error: OnError = "stop"
    """At a broken line or file: stop, or skip it, count it and go on."""

    @field_validator("encoding")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        try:
            return name and codecs.lookup(name).name
        except LookupError:
            raise ValueError(
                f"no encoding is called {name}; known: utf-8, gb18030, big5, utf-16, latin-1 …"
            ) from None

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, delimiter: str | None) -> str | None:
        if delimiter is not None and len(delimiter) != 1:
            raise ValueError("a delimiter is one character")
        return delimiter


Reader = Callable[[Path, Reading, Faults], Iterator[Document]]


def suffix(path: Path) -> str:
    """Return the suffix that tells the reader, without that of the packing: `.jsonl` for `a.jsonl.zst`."""
    return (
        Path(path.name.removesuffix(path.suffix)).suffix.lower()
        if path.suffix in PACKED
        else path.suffix.lower()
    )


def read(path: Path, reading: Reading, faults: Faults) -> Iterator[Document]:
    """Yield the documents of one file, in order; raises ValueError for a kind of file that has no reader."""
    reader = READERS.get(suffix(path))
    if reader is None:
        kinds = ", ".join(READERS)
        raise ValueError(
            f"{shown(path)}: no reader for {suffix(path) or 'a file without suffix'}; known: {kinds}"
        )
    return reader(path, reading, faults)


def read_text(path: Path, reading: Reading, faults: Faults) -> Iterator[Document]:
    """Plain text: a document per file, line or paragraph."""
    gathered = _Gathered(shown(path), reading.max_document_characters)
    if reading.documents == "file":
        for block in blocks(path, reading.encoding, faults):
            gathered.add(block.number, block.text)
            if gathered.is_long:
                yield from gathered.documents(more=True)
    else:
        for number, line in lines(path, reading.encoding, faults):
            blank = not line or line.isspace()
            if not blank:
                gathered.add(number, line + "\n")
            if blank or reading.documents == "line":
                yield from gathered.documents()
    yield from gathered.documents()


def read_json_lines(path: Path, reading: Reading, faults: Faults) -> Iterator[Document]:
    """JSON lines: an object per line; a list of strings under the text key is joined by line ends."""
    for number, line in lines(path, reading.encoding, faults):
        if not line.strip():
            continue
        place = f"{shown(path)}:{number}"
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            faults.report(place, "broken JSON", f"not valid JSON ({error})", "mend the line")
            continue
        if not isinstance(record, dict):
            problem = f"expected an object, found a {type(record).__name__}"
            faults.report(place, "not an object", problem, 'write {"text": …} on each line')
            continue
        yield from _record(record, place, reading, faults)


def read_table(path: Path, reading: Reading, faults: Faults) -> Iterator[Document]:
    """A table with a header row: .csv and .tsv."""
    place = shown(path)
    delimiter = reading.delimiter or ("\t" if suffix(path) == ".tsv" else ",")
    csv.field_size_limit((1 << 31) - 1)
    ended = (text + "\n" for _, text in lines(path, reading.encoding, faults))
    rows = csv.reader(ended, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        start = f"{place}:{rows.line_num + 1}"
        try:
            row = next(rows, None)
        except csv.Error as error:
            faults.report(
                start, "broken row", f"not a table row ({error})", "mend the quotes, set read.delimiter"
            )
            continue
        if row is None:
            return
        if header is None:
            header = row
            _check_header(header, place, delimiter, reading)
        elif row and len(row) != len(header):
            problem = f"{len(row)} fields, but the header has {len(header)}"
            faults.report(
                start, "ragged row", problem, "quote fields that hold the delimiter, set read.delimiter"
            )
        elif row:
            yield from _record(dict(zip(header, row, strict=True)), start, reading, faults)


READERS: Mapping[str, Reader] = {
    ".txt": read_text,
    ".jsonl": read_json_lines,
    ".csv": read_table,
    ".tsv": read_table,
}


class _Gathered:
    """Lines that belong to one document, and where they began."""

    def __init__(self, place: str, longest: int | None) -> None:
        self._place = place
        self._longest = longest
        self._parts: list[str] = []
        self._size = 0
        self._line, self._column = 1, 0

    @property
    def is_long(self) -> bool:
        """Whether pieces can be cut before the document has ended."""
        return self._longest is not None and self._size > 2 * self._longest

    def add(self, line: int, text: str) -> None:
        """Take the text that begins in a line."""
        if not self._parts:
            self._line, self._column = line, 0
        self._parts.append(text)
        self._size += len(text)

    def documents(self, more: bool = False) -> Iterator[Document]:
        """Yield what was gathered, cut where it is too long; with `more` the last part stays for later."""
        text = "".join(self._parts)
        pieces = [piece.text for piece in cut(text, self._longest, more)] if self._longest else [text]
        rest = pieces.pop() if more else ""
        self._parts, self._size = [rest] if rest else [], len(rest)
        for piece in pieces:
            if text := piece.strip():
                first = self._line + piece.count("\n", 0, len(piece) - len(piece.lstrip()))
                yield Document(text, f"{self._place}:{first}" + (f"+{self._column}" if self._column else ""))
            self._line += piece.count("\n")
            end = piece.rfind("\n")
            self._column = len(piece) - end - 1 if end >= 0 else self._column + len(piece)


def _record(record: dict[str, object], place: str, reading: Reading, faults: Faults) -> Iterator[Document]:
    missing = (
        f'no key "{reading.text_key}"'
        if reading.text_key not in record
        else f'"{reading.text_key}" is not a string'
    )
    text = record.pop(reading.text_key, None)
    if isinstance(text, list) and all(isinstance(part, str) for part in text):
        text = "\n".join(text)
    if not isinstance(text, str):
        faults.report(
            place, "no text", f"{missing}; {_found(record)}", f"set read.text_key={_likely(record)}"
        )
        return
    for piece in cut(text, reading.max_document_characters or max(len(text), 1)):
        if piece.text.strip():
            yield Document(piece.text.strip(), f"{place}+{piece.start}" if piece.start else place, record)


def _check_header(header: list[str], place: str, delimiter: str, reading: Reading) -> None:
    if reading.text_key in header:
        return
    others = [mark for mark in ",;\t|" if mark != delimiter and any(mark in name for name in header)]
    if len(header) == 1 and others:
        raise ValueError(f"{place}:1: one column only, named {header[0]!r}; set read.delimiter={others[0]!r}")
    hint = nearest(reading.text_key, header)
    raise ValueError(
        f'{place}:1: no column "{reading.text_key}" in the header; {hint}; set read.text_key=NAME'
    )


def _found(record: Mapping[str, object]) -> str:
    names = ", ".join(f'"{name}"' for name in sorted(record)[:12])
    return f"found {names}" if names else "the object is empty"


def _likely(record: Mapping[str, object]) -> str:
    """Return the key that looks most like text: the one with the most characters."""
    sizes = {name: len(str(value)) for name, value in record.items() if isinstance(value, str | list)}
    return max(sizes, key=lambda name: sizes[name], default="NAME")
