"""How files become documents: the settings that all readers share, and what each of them yields."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator

from rootlm.core.config import Config
from rootlm.text.document import Document
from rootlm.text.raw.cut import cut
from rootlm.text.raw.faults import Faults, OnError
from rootlm.text.raw.parallel import pair_of
from rootlm.text.raw.rawfile import RawFile


class Reading(Config):
    """How files become documents."""

    documents: Literal["file", "line", "paragraph"] = "file"
    """What one document of a .txt file is: the whole file, a line, or what stands between blank lines."""
    max_document_characters: Annotated[int, Field(ge=64)] | None = 20_000
    """Longer documents are cut at paragraph, line or sentence ends; null keeps them whole."""
    text_key: str = "text"
    """The key (.jsonl) or column (.csv, .tsv, .parquet, .arrow) that holds the text; the others go to meta."""
    pair: tuple[str, str] | None = None
    """Two keys or columns that say the same in two languages, such as [zh, en]: a document is both, a line each."""
    delimiter: str | None = None
    """What separates the columns of a table; null: a comma in .csv, a tab in .tsv."""
    encoding: str | None = None
    """The encoding of every file; null: UTF-8, else detected and reported."""
    on_error: OnError = "stop"
    """At a broken line or file: stop, or skip it, count it and go on."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys or columns that hold text."""
        return self.pair or (self.text_key,)

    @field_validator("encoding")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        try:
            return name and codecs.lookup(name).name
        except LookupError:
            raise ValueError(
                f"no encoding is called {name}; known: utf-8, gb18030, big5, utf-16, latin-1 …"
            ) from None

    @field_validator("pair")
    @classmethod
    def _two_names(cls, pair: tuple[str, str] | None) -> tuple[str, str] | None:
        if pair is not None and pair[0] == pair[1]:
            raise ValueError(f"pair names {pair[0]} twice; name two keys, such as [zh, en]")
        return pair

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, delimiter: str | None) -> str | None:
        if delimiter is not None and len(delimiter) != 1:
            raise ValueError("a delimiter is one character")
        return delimiter


Reader = Callable[[RawFile, Reading, Faults], Iterator[Document]]
"""Yields the documents of a file in order; what is broken in it goes to the faults."""


def pieces(text: str, place: str, meta: Mapping[str, object], reading: Reading) -> Iterator[Document]:
    """Yield a text as documents that are not too long; the second and later ones say where they begin."""
    for piece in cut(text, reading.max_document_characters or max(len(text), 1)):
        if piece.text.strip():
            yield Document(piece.text.strip(), f"{place}+{piece.start}" if piece.start else place, meta)


def record_pieces(
    record: dict[str, object], place: str, reading: Reading, faults: Faults
) -> Iterator[Document]:
    """Yield the text of a record, or a list of strings joined by line ends; the other keys are its meta.

    With `pair` a record is one document, however long.
    """
    if reading.pair is not None:
        first, second = reading.pair
        missing = [name for name in reading.pair if name not in record]
        if missing:
            problem = f'no key "{missing[0]}"; {_found(record)}'
            faults.report(place, "no pair", problem, "set read.pair=[SOURCE,TARGET]")
            return
        sides = record.pop(first), record.pop(second)
        yield from pair_of(sides, reading.pair, place, record, faults)
        return
    problem = (
        f'no key "{reading.text_key}"'
        if reading.text_key not in record
        else f'"{reading.text_key}" is not a string'
    )
    text = record.pop(reading.text_key, None)
    if isinstance(text, list) and all(isinstance(part, str) for part in text):
        text = "\n".join(text)
    if not isinstance(text, str):
        faults.report(
            place, "no text", f"{problem}; {_found(record)}", f"set read.text_key={_likely(record)}"
        )
        return
    yield from pieces(text, place, record, reading)


def _found(record: Mapping[str, object]) -> str:
    names = ", ".join(f'"{name}"' for name in sorted(record)[:12])
    return f"found {names}" if names else "the object is empty"


def _likely(record: Mapping[str, object]) -> str:
    """Return the key that looks most like text: the one with the most characters."""
    sizes = {name: len(str(value)) for name, value in record.items() if isinstance(value, str | list)}
    return max(sizes, key=lambda name: sizes[name], default="NAME")
