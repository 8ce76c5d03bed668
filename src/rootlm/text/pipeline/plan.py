"""What there is to do: the files of all sources in pieces, each the work of some seconds for one process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from rootlm.text.raw import encoding as encodings
from rootlm.text.raw.rawfile import RawFile, open_raw, shown, suffix
from rootlm.text.raw.reading import Reading
from rootlm.text.sources import Origin, Stamp, stamp_of

PIECE_BYTES = 8_000_000
"""Text in one piece, about."""
_WIDE = ("utf-16", "utf-32")


@dataclass(frozen=True)
class Span:
    """A file, or whole lines of one."""

    path: str
    sha256: str
    begin: int = 0
    end: int | None = None
    """None: the whole file, packed or not."""
    line: int = 1
    encoding: str | None = None
    """Of a file that was cut: what its beginning says."""
    stamp: tuple[int, int] | None = None
    """Size and time of the file when its checksum was made; None for one of our own."""
    target: Span | None = None
    """The file whose lines are the translations of this one's."""

    def require_unchanged(self, root: Path) -> None:
        """Raise ValueError when the file is another one than the plan was made for."""
        try:
            now = None if self.stamp is None else stamp_of(root / self.path)
        except OSError as error:
            raise ValueError(
                f"{shown(self.path)}: went away while it was read; run the command again"
            ) from error
        if now != self.stamp:
            raise ValueError(f"{shown(self.path)}: changed while it was read; run the command again")

    def raw(self, root: Path) -> RawFile:
        """Return the bytes; the path is seen from `root`."""
        if self.end is None:
            return RawFile.on_disk(Path(self.path), root)
        return RawFile.lines_of(Path(self.path), root, self.begin, self.end, self.line)


@dataclass(frozen=True)
class Piece:
    """Spans of one source, in order."""

    origin: int
    spans: tuple[Span, ...]

    def key(self, settings: str) -> str:
        """Return what stands for the result: the same key, the same documents."""
        spans = [part for span in self.spans for part in (span, span.target) if part is not None]
        names = [(shown(span.path), span.sha256, span.begin, span.end, span.line) for span in spans]
        return hashlib.blake2b(orjson.dumps([settings, names]), digest_size=12).hexdigest()


def plan(origins: Sequence[Origin], reading: Reading) -> list[Piece]:
    """Return the pieces of all sources, in the order in which their documents stand in the corpus."""
    return [
        piece
        for index, origin in enumerate(origins)
        for piece in _grouped(index, origin, origin.source.read or reading)
    ]


def _grouped(index: int, origin: Origin, reading: Reading) -> Iterator[Piece]:
    if origin.source.target is not None:
        first, second = (
            Span(str(path), digest, stamp=stamp)
            for path, digest, stamp in zip(origin.files, origin.sums, origin.stamps, strict=True)
        )
        yield Piece(index, (replace(first, target=second),))
        return
    spans: list[Span] = []
    size = 0
    for path, digest, stamp in zip(origin.files, origin.sums, origin.stamps, strict=True):
        for span, length in _spans(path, digest, stamp, reading):
            if spans and size + length > PIECE_BYTES:
                yield Piece(index, tuple(spans))
                spans, size = [], 0
            spans.append(span)
            size += length
    yield Piece(index, tuple(spans))


def _spans(path: Path, digest: str, stamp: Stamp, reading: Reading) -> Iterator[tuple[Span, int]]:
    size = stamp[0]
    name = str(path)
    encoding = _encoding_of_lines(path, reading) if size > 2 * PIECE_BYTES else None
    if encoding is None:
        yield Span(name, digest, stamp=stamp), size
        return
    for begin, end, line in _cuts(path, size):
        yield Span(name, digest, begin, end, line, encoding, stamp), end - begin


def _encoding_of_lines(path: Path, reading: Reading) -> str | None:
    """Return the encoding of a file that may be cut at any line end, or None for one that may not."""
    by_line = suffix(shown(path)) == ".jsonl" or (
        suffix(shown(path)) == ".txt" and reading.documents == "line"
    )
    if not by_line:
        return None
    with path.open("rb") as plain, open_raw(path) as unpacked:
        sample = plain.read(encodings.SAMPLE_BYTES)
        is_packed = unpacked.read(len(sample)) != sample
    encoding = reading.encoding or encodings.detect(sample)
    return None if is_packed or encoding is None or encoding.startswith(_WIDE) else encoding


def _cuts(path: Path, size: int) -> Iterator[tuple[int, int, int]]:
    """Yield begin, end and first line of the pieces of a file; each ends with a line."""
    begin, line, lines = 0, 1, 0
    with path.open("rb") as stream:
        while begin < size:
            target = min(begin + PIECE_BYTES, size)
            stream.seek(begin)
            lines = stream.read(target - begin).count(b"\n")
            rest = stream.readline()
            end = target + len(rest)
            yield begin, end, line
            line += lines + rest.endswith(b"\n")
            begin = end
