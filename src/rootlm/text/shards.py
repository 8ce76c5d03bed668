"""Files of JSON lines, packed with Zstandard and bounded in size, and a sample drawn from them."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import orjson
import zstandard

from rootlm.text.document import Document
from rootlm.text.raw.rawfile import TORN, open_raw

_SAMPLED_SHARDS = 2


@dataclass
class Shard:
    """One file of a split and what it holds; `bytes` are those of the unpacked lines."""

    name: str
    documents: int = 0
    bytes: int = 0


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
