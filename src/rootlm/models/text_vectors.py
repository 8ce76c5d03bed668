"""Word vectors as text: word2vec's and fastText's `.vec` with a first line of sizes, GloVe's without."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import orjson

from rootlm.models.gathered_vectors import BLOCK, Bytes, Found, Gathered, Header, opened, written
from rootlm.models.word_vectors import WordVectors

HEAD = 1 << 20
"""How many bytes of a file are looked at before it is read."""
_HEADER = re.compile(rb"[ \t]*(\d+)[ \t]+(\d+)[ \t\r]*")
_NUMBER = re.compile(rb"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_SAMPLE, _LONGEST_LINE = 200, 1 << 26
_ROWS_AT_ONCE = 4096
_GAPS = re.compile(r"[ \t\n\r\0]+")


def header_of(head: bytes) -> Header | None:
    """Return what the first line says, where it is just two whole numbers.

    >>> header_of(b"3 2\\na 1 2\\n"), header_of(b"a 1 2\\n")
    (Header(words=3, size=2), None)
    """
    found = _HEADER.fullmatch(head.partition(b"\n")[0])
    return Header(int(found[1]), int(found[2])) if found else None


def width(head: bytes, header: Header | None) -> int | None:
    """Return how many numbers the lines of a file have, or None where they are not words and numbers.

    Words may hold spaces, so it is the width at which most lines fit: numbers to its right, a word to its left.

    >>> width(b"new york 1 2\\nrome 3 4\\n", None), width(b"9 9\\nnew york 1 2\\n", Header(9, 9))
    (2, 2)
    """
    lines = head.split(b"\n")[header is not None :]
    # What the head cuts off is no whole line.
    lines = lines[:-1] if len(lines) > 1 else lines
    parts = [line.split() for line in lines[:_SAMPLE] if line.strip()]
    counts = Counter(_numbers_at_end(one) for one in parts)
    candidates = [header.size] if header else []
    candidates += [count for count, _ in counts.most_common()]
    candidates = [size for size in dict.fromkeys(candidates) if size > 0]
    best = max(candidates, key=lambda size: counts[size], default=0)
    # Among bytes that are no text a line may end in a number by chance.
    return best if best and 2 * counts[best] > len(parts) else None


def _numbers_at_end(parts: Sequence[bytes]) -> int:
    count = 0
    for part in reversed(parts[1:]):
        if not _NUMBER.fullmatch(part):
            break
        count += 1
    return count


def read_text(path: Path, size: int, header: Header | None) -> Found:
    """Read lines of a word and `size` numbers; raises ValueError naming the line where the file is cut or torn."""
    from rootlm.models import vector_text_kernel as kernel

    with opened(path) as source:
        gathered: Gathered | None = None
        line = 1
        for text, whole in _whole_lines(source):
            place = text.index(b"\n") + 1 if header is not None and line == 1 else 0
            line += place > 0
            if gathered is None:
                gathered = Gathered(path, size, _rows(source, text, header))
            letters = np.frombuffer(text, np.uint8)
            while place < len(text):
                room = gathered.room
                borders = np.empty((len(room), 2), np.int64)
                rows, place, empty, what = kernel.put_lines(letters, place, borders, room)
                gathered.add(text, borders[:rows])
                line += rows + empty
                if what != kernel.FINE:
                    raise _fault(path, line, text[place:].partition(b"\n")[0], size)
            if not whole and header is not None and len(gathered) < header.words:
                raise ValueError(
                    f"{path}:{line - 1}: the file is cut in the middle of this line, word {len(gathered):,} of "
                    f"{header.words:,}; copy it again"
                )
        if gathered is None:
            raise ValueError(f"{path}: is empty; name a file of a word and its numbers on each line")
        return gathered.finish(header)


def _whole_lines(source: Bytes) -> Iterator[tuple[bytes, bool]]:
    """Yield blocks that end with a line, and whether the line's end was in the file."""
    left = b""
    for block in source.blocks():
        end = block.rfind(b"\n") + 1
        if end:
            yield left + block[:end], True
            left = block[end:]
        else:
            left += block
        if len(left) > _LONGEST_LINE:
            raise ValueError(
                f"{source.path}: a line has more than {_LONGEST_LINE:,} bytes; this is no text of vectors"
            )
    if left:
        yield left + b"\n", False


def _rows(source: Bytes, text: bytes, header: Header | None) -> int:
    """Return how many rows to make room for: as many as the file can hold, and no more than it says."""
    likely = text.count(b"\n")
    if source.length is not None:
        likely = round(likely * source.length / len(text) * 1.02) + 1
    if header is None:
        return likely
    return (
        min(header.words, likely)
        if source.length is not None
        else min(header.words, max(likely, BLOCK // 64))
    )


def _fault(path: Path, line: int, text: bytes, size: int) -> ValueError:
    parts = text.split()
    numbers = min(_numbers_at_end(parts), size)
    if len(parts) <= size:
        why = f"has {numbers:,} numbers of {size:,}, so the file is cut or torn here"
    else:
        wrong = next((part for part in parts[-size:] if not _NUMBER.fullmatch(part)), parts[0])
        why = f"has {wrong[:40].decode(errors='replace')!r} where a number should be"
    return ValueError(f"{path}:{line}: {why}; copy the file again")


def write_text(vectors: WordVectors, path: Path, *, header: bool = True) -> list[str]:
    """Write a line for each word, numbers as short as they can be without a loss; returns what was odd.

    Without a header it is what GloVe writes. White space inside words would end them, so it becomes `_`.
    """
    words, notes = spaceless(vectors.words)
    with written(path) as stream:
        if header:
            stream.write(b"%d %d\n" % (len(vectors), vectors.size))
        for begin in range(0, len(vectors), _ROWS_AT_ONCE):
            rows = np.ascontiguousarray(vectors.matrix[begin : begin + _ROWS_AT_ONCE])
            numbers = (
                orjson.dumps(rows, option=orjson.OPT_SERIALIZE_NUMPY)[2:-2].replace(b",", b" ").split(b"] [")
            )
            names = words[begin : begin + _ROWS_AT_ONCE]
            stream.write(
                b"".join(b"%s %s\n" % (name.encode(), row) for name, row in zip(names, numbers, strict=True))
            )
    return notes


def spaceless(words: Sequence[str]) -> tuple[Sequence[str], list[str]]:
    """Return words without white space, each still once, and what had to change.

    >>> spaceless(["new york", "new_york"])
    (['new_york_', 'new_york'], ["1 words hold white space, which became _, such as 'new york'"])
    """
    changed = [row for row, word in enumerate(words) if not word or _GAPS.search(word)]
    if not changed:
        return words, []
    taken, free = set(words), list(words)
    for row in changed:
        name = _GAPS.sub("_", words[row]) or "_"
        while name in taken:
            name += "_"
        taken.add(name)
        free[row] = name
    return free, [f"{len(changed):,} words hold white space, which became _, such as {words[changed[0]]!r}"]
