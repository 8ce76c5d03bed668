"""Files of JSON lines, packed with Zstandard and bounded in size, and a sample drawn from them."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

import orjson
import zstandard

from rootlm.text.document import Document
from rootlm.text.rawfile import TORN, open_raw

_LEVEL = 3
_SAMPLED_SHARDS = 2


@dataclass
class Shard:
    """One file of a split and what it holds; `bytes` are those of the unpacked lines."""

    name: str
    documents: int = 0
    bytes: int = 0


class ShardWriter:
    """Writes lines to `split-00000.jsonl.zst` and on, each of at most `limit` bytes before packing."""

    def __init__(self, folder: Path, split: str, limit: int) -> None:
        self._folder = folder
        self._split = split
        self._limit = limit
        self._shards: list[Shard] = []
        self._stream: BinaryIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, line: bytes) -> None:
        """Append a line, its end included; a new shard begins when the last one is full."""
        if self._stream is None or (
            self._shards[-1].bytes and self._shards[-1].bytes + len(line) > self._limit
        ):
            self.close()
            self._shards.append(Shard(f"{self._split}-{len(self._shards):05d}.jsonl.zst"))
            self._stream = packed_writer(self._folder / self._shards[-1].name, _LEVEL)
        self._stream.write(line)
        self._shards[-1].documents += 1
        self._shards[-1].bytes += len(line)

    def close(self) -> None:
        """Finish the last shard."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def listing(self) -> list[dict[str, Any]]:
        """Return name, documents and bytes of every shard."""
        return [asdict(shard) for shard in self._shards]


def packed_writer(file: Path, level: int) -> BinaryIO:
    """Open a Zstandard file for writing; closing it closes the frame and the file."""
    packer = zstandard.ZstdCompressor(level=level, write_checksum=True)
    stream = cast(io.RawIOBase, packer.stream_writer(file.open("wb"), closefd=True))
    return io.BufferedWriter(stream, 1 << 20)


def read_lines(file: Path) -> Iterator[bytes]:
    """Yield the lines of a packed file; raises ValueError naming the file when it is torn."""
    try:
        with open_raw(file) as stream:
            yield from stream
    except TORN as error:
        raise ValueError(f"{file}: cannot be read ({error}); prepare the corpus again") from error


def to_document(line: bytes) -> Document:
    """Return the document of a line."""
    record = orjson.loads(line)
    return Document(record["text"], record["source"], record["meta"])


def draw(folder: Path, shards: Sequence[Shard], count: int, seed: int) -> list[Document]:
    """Return `count` documents drawn at random, in order; unpacks two shards at most."""
    generator = random.Random(seed)
    chosen = sorted(generator.sample(range(len(shards)), min(_SAMPLED_SHARDS, len(shards))))
    places = [(index, row) for index in chosen for row in range(shards[index].documents)]
    wanted = set(generator.sample(places, min(count, len(places))))
    found: list[Document] = []
    for index in chosen:
        last = max((row for shard, row in wanted if shard == index), default=-1)
        for row, line in enumerate(read_lines(folder / shards[index].name)):
            if row > last:
                break
            if (index, row) in wanted:
                found.append(to_document(line))
    return found
