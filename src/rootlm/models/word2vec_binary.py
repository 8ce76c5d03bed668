"""Word vectors in word2vec's binary format: a line of sizes, then each word, a space and its float32 numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rootlm.models.gathered_vectors import Found, Gathered, Header, opened, written
from rootlm.models.text_vectors import spaceless
from rootlm.models.word_vectors import WordVectors

_ROWS_AT_ONCE = 4096
_LONGEST_WORD = 1 << 16
_MOST_ROWS_UNSEEN = 1 << 20


def read_binary(path: Path, header: Header) -> Found:
    """Read a binary file; raises ValueError naming the word in whose middle it is cut."""
    from rootlm.models.vector_text_kernel import put_binary

    width = header.size * 4
    with opened(path) as source:
        possible = _MOST_ROWS_UNSEEN if source.length is None else source.length // (width + 1)
        if not possible:
            raise _cut(path, 0, header, f"the file has {source.length:,} bytes")
        gathered = Gathered(path, header.size, min(header.words, possible))
        left = b""
        for number, block in enumerate(source.blocks()):
            held = left + block
            place = held.index(b"\n") + 1 if number == 0 else 0
            letters = np.frombuffer(held, np.uint8)
            while len(held) - place > width:
                room = gathered.room
                borders = np.empty((min(len(room), len(held) // (width + 1) + 1), 2), np.int64)
                rows, place = put_binary(letters, place, borders, room.view(np.uint8)[: len(borders)])
                if not rows:
                    break
                gathered.add(held, borders[:rows])
            left = held[place:]
            if len(left) > width + _LONGEST_WORD:
                raise _cut(path, len(gathered), header, "no word ends there")
        if left.strip(b"\n"):
            raise _cut(path, len(gathered), header, f"{len(left):,} bytes are left")
        return gathered.finish(header)


def _cut(path: Path, rows: int, header: Header, why: str) -> ValueError:
    return ValueError(
        f"{path}: the file is cut or torn in word {rows + 1:,} of {header.words:,} ({why}, {header.size:,} numbers "
        "of 4 bytes are needed); copy it again"
    )


def write_binary(vectors: WordVectors, path: Path) -> list[str]:
    """Write a binary file as word2vec does; returns what was odd."""
    words, notes = spaceless(vectors.words)
    with written(path) as stream:
        stream.write(b"%d %d\n" % (len(vectors), vectors.size))
        for begin in range(0, len(vectors), _ROWS_AT_ONCE):
            rows = np.ascontiguousarray(vectors.matrix[begin : begin + _ROWS_AT_ONCE], "<f4")
            names = words[begin : begin + _ROWS_AT_ONCE]
            parts = (
                b"%s %s\n" % (word.encode(), row.tobytes()) for word, row in zip(names, rows, strict=True)
            )
            stream.write(b"".join(parts))
    return notes
