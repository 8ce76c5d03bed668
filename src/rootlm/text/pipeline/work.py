"""The work on one piece, as functions that run in any process: lay a large file down in parts, treat documents."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import orjson

from rootlm.text.document import Document
from rootlm.text.pipeline.leaf import Leaf, write_leaf
from rootlm.text.pipeline.plan import PIECE_BYTES, Piece, Span
from rootlm.text.raw.faults import Faults
from rootlm.text.raw.parallel import read_aligned
from rootlm.text.raw.rawfile import RawFile
from rootlm.text.raw.reading import Reading
from rootlm.text.readers.read import read
from rootlm.text.settings import Prepare
from rootlm.text.shards import packed_writer, read_lines, to_document
from rootlm.text.treatment import Treated, Treatment, treat

LAID = ".laid"
"""The suffix of a part of a file that was laid down: packed JSON lines."""
_PART_CHARACTERS = 1 << 19
_PART_DOCUMENTS = 2000
_LEVEL = 1


class Job(NamedTuple):
    """A piece, how its files are read, and the folder that its result is written to."""

    piece: Piece
    reading: Reading
    collection: str
    folder: str
    root: str
    """The folder from which the files' paths are seen; a process elsewhere may stand in another one."""

    def documents(self, faults: Faults) -> Iterator[Document]:
        """Yield the documents of all spans, in order."""
        for span in self.piece.spans:
            if span.path.endswith(LAID):
                yield from map(to_document, read_lines(Path(span.path)))
                continue
            span.require_unchanged(Path(self.root))
            raw, reading = span.raw(Path(self.root)), self.reading
            if span.target is not None:
                yield from self._aligned(raw, span.target, faults)
                span.require_unchanged(Path(self.root))
                continue
            if span.encoding is not None:
                if span.line == 1 and span.encoding != "utf-8" and reading.encoding is None:
                    faults.notice(
                        f"{raw.place}: not UTF-8; read as {span.encoding} (set read.encoding if that is wrong)"
                    )
                reading = reading.model_copy(update={"encoding": span.encoding})
            yield from read(raw, reading, faults)
            span.require_unchanged(Path(self.root))

    def _aligned(self, raw: RawFile, target: Span, faults: Faults) -> Iterator[Document]:
        """Yield the lines of two files as pairs."""
        other, reading = target.raw(Path(self.root)), self.reading
        names = reading.pair or (raw.suffix.lstrip("."), other.suffix.lstrip("."))
        target.require_unchanged(Path(self.root))
        if names[0] == names[1]:
            raise ValueError(
                f"{raw.place}: both sides are called {names[0]}; name them with read.pair=[zh,en]"
            )
        yield from read_aligned(raw, other, names, reading.encoding, faults)
        target.require_unchanged(Path(self.root))


def treat_piece(settings: str, job: Job) -> None:
    """Read and treat the documents of a piece and write its leaf; nothing is done twice."""
    leaf = Leaf(Path(job.folder))
    if leaf.is_there:
        return
    prepare, treatment = _treatment(settings)
    notices: list[str] = []
    faults = Faults(job.reading.on_error, notices.append)
    hashes = prepare.duplicates.hashes
    parts = (
        treat(treatment, part, job.collection, hashes, prepare.split)
        for part in _parts(job.documents(faults))
    )
    write_leaf(leaf.folder, parts, faults, notices, prepare.duplicates)


def lay_down(settings: str, job: Job) -> list[str]:
    """Read a file that cannot be cut and write its documents in parts; returns their files, in order.

    What was broken is told by an empty leaf beside them.
    """
    folder = Path(job.folder)
    if not folder.is_dir():
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        notices: list[str] = []
        faults = Faults(job.reading.on_error, notices.append)
        _write_parts(partial, job.documents(faults))
        prepare, _ = _treatment(settings)
        empty: list[Treated] = []
        write_leaf(told_by(partial).folder, empty, faults, notices, prepare.duplicates)
        partial.rename(folder)
    return sorted(map(str, folder.glob(f"*{LAID}")))


def told_by(folder: Path) -> Leaf:
    """Return the empty leaf that tells what was broken in a file that was laid down."""
    return Leaf(folder / "told")


def _write_parts(folder: Path, documents: Iterable[Document]) -> None:
    """Write documents as JSON lines, in files of about a piece each."""
    number, size = -1, PIECE_BYTES
    stream = None
    for document in documents:
        if size >= PIECE_BYTES:
            if stream is not None:
                stream.close()
            number, size = number + 1, 0
            stream = packed_writer(folder / f"{number:06d}{LAID}", _LEVEL)
        record = {"text": document.text, "source": document.source, "meta": document.meta}
        line = orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
        assert stream is not None
        stream.write(line)
        size += len(line)
    if stream is not None:
        stream.close()


@cache
def _treatment(settings: str) -> tuple[Prepare, Treatment]:
    """Return the settings and their steps; made once in every process."""
    prepare = Prepare.model_validate_json(settings)
    return prepare, prepare.treatment()


def _parts(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Yield documents in parts that are treated together."""
    part: list[Document] = []
    size = 0
    for document in documents:
        part.append(document)
        size += len(document.text)
        if size >= _PART_CHARACTERS or len(part) >= _PART_DOCUMENTS:
            yield part
            part, size = [], 0
    if part:
        yield part
