"""Lines that stand in several documents of the corpus: which they are, and a text without them."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from rootlm.text.copies.repeat_keys import EARLIER, OFTEN, Keys, Told, compare, count, told, write_parts
from rootlm.text.copies.repeat_settings import RepeatedLines
from rootlm.text.pipeline.leaf import Leaf
from rootlm.text.pipeline.pool import Engine

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
        file = _file(folder, index)
        found: Spans = {}
        with _lines_file(file).open("rb") as stream:
            for answer in told(file, folder / "told", index, self.ranges):
                lines, members = np.load(stream), np.load(stream)
                taken = lines[self._taken(answer, members)[lines[:, 3]], :3]
                for row, begin, end in taken.tolist():
                    found.setdefault(row, []).append((begin, end))
        return found

    def cut(self, text: str, spans: Sequence[tuple[int, int]]) -> str:
        """Return a text without some of its lines; their line ends go with them."""
        ends = [0, *(end for _, end in spans)]
        begins = [*(begin for begin, _ in spans), len(text)]
        left = "".join(text[end:begin] for end, begin in zip(ends, begins, strict=True))
        return left.removesuffix("\n") if spans and spans[-1][1] == len(text) else left

    def _taken(self, answer: Told, members: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Say which lines are taken out: `members` has the key of each, once a document."""
        code = answer[members]
        taken: NDArray[np.bool_] = (code & OFTEN) != 0
        if self.settings.keep == "first":
            places = np.arange(len(code))
            firsts = np.empty(len(answer), np.int64)
            firsts[members[::-1]] = places[::-1]
            taken &= ((code & EARLIER) != 0) | (firsts[members] != places)
        return taken


class _Part(NamedTuple):
    """The lines of some documents that are long enough."""

    lines: list[tuple[int, int, int, int]]
    """Row, begin, end behind its line end, and the place of its hash."""
    hashes: list[int]
    """Once a document."""


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
    if file.is_file():
        return
    rules = RepeatedLines.model_validate_json(settings)
    with _lines_file(file).open("wb") as stream:
        write_parts(file, _keys(_parts(Leaf(Path(leaf)), rules, part_lines), stream))


def _keys(parts: Iterable[_Part], stream: BinaryIO) -> Iterator[Keys]:
    """Yield the keys of each part and write down where its lines stand."""
    for part in parts:
        counted = count(np.array(part.hashes, dtype=np.uint64))
        np.save(stream, np.array(part.lines, dtype=np.int32))
        np.save(stream, counted.members.astype(np.int32))
        stream.flush()
        yield counted.keys


def _parts(leaf: Leaf, settings: RepeatedLines, part_lines: int) -> Iterator[_Part]:
    """Yield the lines of a leaf, those of some documents at a time."""
    part = _Part([], [])
    for row, record in enumerate(leaf.lines()):
        own: dict[int, int] = {}
        for begin, end, key in _long_lines(orjson.loads(record)["text"], settings):
            if key not in own:
                own[key] = len(part.hashes)
                part.hashes.append(key)
            part.lines.append((row, begin, end, own[key]))
        if len(part.lines) >= part_lines:
            yield part
            part = _Part([], [])
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


def _lines_file(file: Path) -> Path:
    return file.with_suffix(".lines")


def _file(folder: Path, index: int) -> Path:
    return folder / f"{index:08d}.keys"
