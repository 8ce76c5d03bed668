"""Lines that stand in several documents of the corpus: which they are, and a text without them."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from rootlm.text.leaf import Leaf
from rootlm.text.pool import Engine
from rootlm.text.repeat_keys import EARLIER, OFTEN, Counted, Keys, compare, count, told, write_parts
from rootlm.text.repeat_settings import RepeatedLines

Spans = dict[int, list[tuple[int, int]]]
"""Row of a document → what is taken out of its text: begin and end, in order and apart."""

_LINE_BYTES = 256
"""What a line takes while its part is counted."""
_MOST_LINES = 1 << 18
_HAN = re.compile("[\u3007\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


class FoundLines(NamedTuple):
    """What was found, on disk: small enough to go to any process."""

    settings: RepeatedLines
    folder: str
    part_lines: int
    ranges: int

    def spans(self, index: int, leaf: Leaf) -> Spans:
        """Return what is taken out of the documents of a leaf, the `index`th of those looked through."""
        folder = Path(self.folder)
        answers = told(_file(folder, index), folder / "told", index, self.ranges)
        found: Spans = {}
        for part, codes in zip(_parts(leaf, self.settings, self.part_lines), answers, strict=True):
            self._add(found, part, codes)
        return found

    def cut(self, text: str, spans: Sequence[tuple[int, int]]) -> str:
        """Return a text without some of its lines; their line ends go with them."""
        ends = [0, *(end for _, end in spans)]
        begins = [*(begin for begin, _ in spans), len(text)]
        left = "".join(text[end:begin] for end, begin in zip(ends, begins, strict=True))
        return left.removesuffix("\n") if spans and spans[-1][1] == len(text) else left

    def _add(self, found: Spans, part: _Part, codes: NDArray[np.uint8]) -> None:
        counted, entry = part.counted(), part.entries
        code = codes[counted.members]
        taken = (code & OFTEN) != 0
        if self.settings.keep == "first":
            places = np.arange(len(code))
            firsts = np.empty(len(counted.keys.hashes), np.int64)
            firsts[counted.members[::-1]] = places[::-1]
            taken &= ((code & EARLIER) != 0) | (firsts[counted.members] != places)
        for line, number in zip(part.lines, entry, strict=True):
            if taken[number]:
                found.setdefault(line.row, []).append((line.begin, line.end))


class _Line(NamedTuple):
    row: int
    begin: int
    end: int
    """Behind its line end."""


class _Part(NamedTuple):
    """The lines of some documents that are long enough, and their hashes, once a document."""

    lines: list[_Line]
    entries: list[int]
    """For every line, the place of its hash."""
    hashes: list[int]

    def counted(self) -> Counted:
        """Return the different lines and in how many documents each stands."""
        return count(np.array(self.hashes, dtype=np.uint64))


def find(
    leaves: Sequence[Leaf], settings: RepeatedLines, engine: Engine, folder: Path, memory: int
) -> FoundLines:
    """Look through all leaves for lines that repeat; what is found lies in `folder`.

    Counting takes at most `memory` bytes a worker, and one document above.
    """
    folder.mkdir(parents=True, exist_ok=True)
    part_lines = max(1, min(_MOST_LINES, memory // _LINE_BYTES))
    tasks = [(index, str(leaf.folder)) for index, leaf in enumerate(leaves)]
    for _ in engine.run(partial(_count_leaf, settings.model_dump_json(), str(folder), part_lines), tasks):
        pass
    files = [_file(folder, index) for index in range(len(leaves))]
    ranges = compare(files, settings.documents, engine, folder / "told", memory)
    return FoundLines(settings, str(folder), part_lines, ranges)


def line_key(line: str) -> str:
    """Return what lines are compared by: without spaces, in one case and one width.

    >>> line_key("  版权所有（C） Example") == line_key("版权所有(c)example")
    True
    """
    if not line.isascii():
        line = unicodedata.normalize("NFKC", line)
    return "".join(line.casefold().split())


def _count_leaf(settings: str, folder: str, part_lines: int, task: tuple[int, str]) -> None:
    index, leaf = task
    file = _file(Path(folder), index)
    if not file.is_file():
        write_parts(file, _keys(Leaf(Path(leaf)), RepeatedLines.model_validate_json(settings), part_lines))


def _keys(leaf: Leaf, settings: RepeatedLines, part_lines: int) -> Iterator[Keys]:
    for part in _parts(leaf, settings, part_lines):
        yield part.counted().keys


def _parts(leaf: Leaf, settings: RepeatedLines, part_lines: int) -> Iterator[_Part]:
    """Yield the lines of a leaf, those of some documents at a time."""
    part = _Part([], [], [])
    for row, record in enumerate(leaf.lines()):
        own: dict[int, int] = {}
        for begin, end, key in _long_lines(orjson.loads(record)["text"], settings):
            if key not in own:
                own[key] = len(part.hashes)
                part.hashes.append(key)
            part.lines.append(_Line(row, begin, end))
            part.entries.append(own[key])
        if len(part.lines) >= part_lines:
            yield part
            part = _Part([], [], [])
    if part.lines:
        yield part


def _long_lines(text: str, settings: RepeatedLines) -> Iterator[tuple[int, int, int]]:
    """Yield begin, end and hash of every line that is long enough."""
    begin, least = 0, settings.min_characters / settings.han_counts
    for line in text.split("\n"):
        end = min(begin + len(line) + 1, len(text))
        if len(line) >= least and _weighs(key := line_key(line), settings):
            raw = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            yield begin, end, int.from_bytes(raw, "little")
        begin = end


def _weighs(key: str, settings: RepeatedLines) -> bool:
    """Say whether a line is long enough, Han characters counted more than once."""
    if len(key) >= settings.min_characters or key.isascii():
        return len(key) >= settings.min_characters
    return len(key) + (settings.han_counts - 1) * len(_HAN.findall(key)) >= settings.min_characters


def _file(folder: Path, index: int) -> Path:
    return folder / f"{index:08d}.keys"
