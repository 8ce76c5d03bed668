"""What is read from a file of word vectors: its bytes in blocks, its words made clean, its matrix as it grows."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rootlm.core.machine import available_memory
from rootlm.models.word_vectors import Floats, WordVectors

Stream = IO[bytes] | gzip.GzipFile
BLOCK = 1 << 23
_PACKED = b"\x1f\x8b"


class Found(NamedTuple):
    """Vectors from a file, and what was odd about it, a sentence each."""

    vectors: WordVectors
    notes: list[str]


class Header(NamedTuple):
    """How many words a file says it has, and how many numbers for each."""

    words: int
    size: int


@dataclass
class Bytes:
    """The unpacked bytes of a file, in order."""

    path: Path
    stream: Stream
    length: int | None
    """How many there are; None for a packed file."""
    place: int = 0

    def read(self, count: int) -> bytes:
        """Return the next bytes, fewer at the end; raises ValueError where a packed file is torn."""
        try:
            found = self.stream.read(count)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(
                f"{self.path}: what is packed is cut or torn after {self.place:,} bytes ({error}); copy it again"
            ) from error
        self.place += len(found)
        return found

    def blocks(self) -> Iterator[bytes]:
        """Yield all bytes that are left, block by block."""
        while block := self.read(BLOCK):
            yield block


@contextmanager
def opened(path: Path) -> Iterator[Bytes]:
    """Yield the bytes of a file, unpacked when it is gzip; raises ValueError when it cannot be read."""
    try:
        with path.open("rb") as plain:
            packed = plain.read(2) == _PACKED
            plain.seek(0)
            if packed:
                with gzip.GzipFile(fileobj=plain) as stream:
                    yield Bytes(path, stream, None)
            else:
                yield Bytes(path, plain, path.stat().st_size)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror or error})") from error


@contextmanager
def written(path: Path) -> Iterator[Stream]:
    """Yield a stream of a new file, whole or absent; packed where the name ends in `.gz`."""
    from rootlm.core.files import new_file

    with new_file(path) as plain:
        if path.name.endswith(".gz"):
            with gzip.GzipFile(fileobj=plain, mode="wb", compresslevel=3, mtime=0, filename="") as packed:
                yield packed
        else:
            yield plain


def require_memory(path: Path, rows: int, size: int) -> None:
    """Raise ValueError when so many rows of float32 do not fit into memory."""
    needed, free = rows * size * 4, available_memory()
    if needed > free:
        raise ValueError(
            f"{path}: {rows:,} vectors of {size:,} numbers need {needed / 1e9:,.1f} GB, {free / 1e9:,.1f} GB are "
            "free; take a machine with more memory, or the first words of the file"
        )


class Gathered:
    """The words and the matrix of a file while it is read."""

    def __init__(self, path: Path, size: int, rows: int) -> None:
        """Make room for about so many rows; more are taken when needed."""
        require_memory(path, rows, size)
        self._path = path
        self._matrix = np.empty((max(rows, 1), size), np.float32)
        self._words: list[bytes] = []

    @property
    def room(self) -> Floats:
        """The rows that are free, at least one."""
        if len(self._words) == len(self._matrix):
            rows = len(self._matrix) + max(1024, len(self._matrix) // 2)
            require_memory(self._path, rows, self._matrix.shape[1])
            self._matrix.resize((rows, self._matrix.shape[1]), refcheck=False)
        return self._matrix[len(self._words) :]

    def __len__(self) -> int:
        """Return the rows read."""
        return len(self._words)

    def add(self, text: bytes, borders: NDArray[np.int64]) -> None:
        """Take the words at these borders (rows, 2), whose rows were put into `room`."""
        begin = len(self._words)
        self._words += [text[first:last] for first, last in borders.tolist()]
        found = self._matrix[begin : len(self._words)]
        # The sum of a row is only finite if all of it is, but for sums that overflow.
        if not np.isfinite(found.sum()) and not np.isfinite(found).all():
            row = begin + int(np.flatnonzero(~np.isfinite(found).all(1))[0])
            word = self._words[row].decode(errors="replace")
            raise ValueError(
                f"{self._path}: word {row + 1:,}, {word!r}, has a number that is not finite; copy it again"
            )

    def finish(self, header: Header | None = None) -> Found:
        """Return the vectors, each word once; `header` is what the file said."""
        if not self._words:
            raise ValueError(
                f"{self._path}: holds no vectors; name a file of a word and its numbers on each line"
            )
        self._matrix.resize((len(self._words), self._matrix.shape[1]), refcheck=False)
        words, kept, notes = cleaned(self._words)
        matrix = self._matrix if kept is None else self._matrix[kept]
        if header is not None and header.words != len(self._words):
            notes.insert(
                0, f"the first line says {header.words:,} words, the file holds {len(self._words):,}"
            )
        if header is not None and header.size != matrix.shape[1]:
            notes.insert(
                0, f"the first line says {header.size:,} numbers a word, the lines have {matrix.shape[1]:,}"
            )
        return Found(WordVectors(words, matrix), notes)


def cleaned(raw: Sequence[bytes]) -> tuple[list[str], NDArray[np.int64] | None, list[str]]:
    """Return words as text, each once, the rows they stand in (None for all), and what was odd.

    Bytes that are no UTF-8 become `�`; of a word that occurs again the first row is kept; an empty one is left out.
    """
    notes: list[str] = []
    try:
        words = [word.decode() for word in raw]
    except UnicodeDecodeError:
        words = [word.decode(errors="replace") for word in raw]
        bad = sum(word.encode() != was for word, was in zip(words, raw, strict=True))
        notes.append(f"{bad:,} words are no valid UTF-8; the bytes that are not became �")
    different = set(words)
    if len(different) == len(words) and "" not in different:
        return words, None, notes
    rows: dict[str, int] = {}
    for row, word in enumerate(words):
        rows.setdefault(word, row)
    twice = len(words) - len(rows)
    if twice:
        example = next(word for row, word in enumerate(words) if rows[word] != row)
        notes.append(f"{twice:,} words occur again, such as {example!r}; the first of each was kept")
    if rows.pop("", None) is not None:
        notes.append("a word is empty; it was left out")
    return list(rows), np.array(list(rows.values()), np.int64), notes
