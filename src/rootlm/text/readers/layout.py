"""Lines as they stand on pages become paragraphs again."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from rootlm.text.readers.joining import WIDE, Habits, flowing


class Line(NamedTuple):
    """A line of a page: its text and where it stands, in points from the lower left corner."""

    text: str
    page: int
    left: float
    right: float
    bottom: float
    height: float
    """How tall its letters are."""
    sizes: tuple[float, float]
    """The font sizes of its first and its last character."""


class Paragraph(NamedTuple):
    """A paragraph, the page it begins on, and whether it stands close to the one before it."""

    text: str
    page: int
    close: bool


_EDGE_LINES, _REPEATED, _SHARE, _STEADY = 2, 3, 0.5, 6.0
_NUMBER = re.compile(r"\d+|\b[ivxlc]+\b", re.I)
_BULLET = re.compile(r"[•·●○■□◦▪‣⁃–*◆]\s")
_NUMBERED = re.compile(r"\(?(?:\d{1,3}|[a-z]|[ivx]{1,4})[.)）、]\s|[（(]?[一二三四五六七八九十]{1,3}[、）)]")
_BROKEN = re.compile(r"[^\W\d_][-\u00ad\u2010\ufffe]\s*$")
_WIDE = re.compile(f"[{WIDE}]")
_ENDED = re.compile("[.!?。！？…:：;；][”’\"')）】》]*$")
# In heights of a letter: what still stands at the same margin, and what is set in.
_SAME, _FLUSH, _INDENT, _FIRST_INDENT = 0.3, 0.1, 0.6, 6.0
# Chinese marks may hang beyond the margin.
_HANGING = 1.2
# In distances from line to line, and in lines.
_GAP, _NEAR = 1.25, 5
# A ragged line is shorter than the longest by a word; in heights, and in letters.
_LONG_WORD, _LONG_LINE = 6.0, 40


def paragraphs(lines: Sequence[Line]) -> Iterator[Paragraph]:
    """Yield the paragraphs of a document whose lines come in reading order.

    A line goes on with the one before it when it has its size, stands just below it or at the top of the
    next column or page, is not set in, and the first word of it had no room above. Lines that are repeated
    at the edge of most pages are left out.
    """
    page = _Layout(_rows(without_running_lines(lines)))
    begun: list[Line] = []
    close = False
    for index, line in enumerate(page.lines):
        if begun and (ending := page.ending(index, begun)) is not None:
            yield Paragraph(flowing((part.text for part in begun), page.habits), begun[0].page, close)
            begun, close = [], ending
        begun.append(line)
    if begun:
        yield Paragraph(flowing((part.text for part in begun), page.habits), begun[0].page, close)


def without_running_lines(lines: Sequence[Line]) -> list[Line]:
    """Leave out headers, footers and page numbers: what differs only in numbers, at the same edge of pages."""
    pages: dict[int, list[int]] = defaultdict(list)
    for index, line in enumerate(lines):
        pages[line.page].append(index)
    found: dict[str, list[int]] = defaultdict(list)
    for indices in pages.values():
        ordered = sorted(indices, key=lambda index: lines[index].bottom)
        for index in {*ordered[:_EDGE_LINES], *ordered[-_EDGE_LINES:]}:
            found[_NUMBER.sub("#", lines[index].text.strip())].append(index)
    dropped: set[int] = set()
    for indices in found.values():
        level = median(lines[index].bottom for index in indices)
        steady = [index for index in indices if abs(lines[index].bottom - level) < _STEADY]
        on = {lines[index].page for index in steady}
        if len(on) >= _REPEATED and len(on) >= _SHARE * (max(on) - min(on) + 1):
            dropped.update(steady)
    return [line for index, line in enumerate(lines) if index not in dropped]


def _rows(lines: Sequence[Line]) -> list[Line]:
    """Join lines that stand side by side."""
    rows: list[Line] = []
    for line in lines:
        last = rows[-1] if rows else None
        if (
            last
            and last.page == line.page
            and abs(last.bottom - line.bottom) < _SAME * line.height
            and line.left >= last.right
        ):
            rows[-1] = last._replace(text=f"{last.text.rstrip()} {line.text.lstrip()}", right=line.right)
        else:
            rows.append(line)
    return rows


class _Layout:
    """What must be known of all lines to say where a paragraph ends."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self.lines = lines
        self.habits = Habits.of(line.text for line in lines)
        self._leading = _leadings(lines)
        self._edges = _edges(lines)
        # Many first lines are set in: then one that is not begins nothing.
        inner = (index for index in range(1, len(lines) - 1) if _below(lines[index - 1], lines[index]))
        set_in = sum(self._is_set_in(index) and lines[index - 1].left < lines[index].left for index in inner)
        self._sets_in = set_in > _SHARE * (lines[-1].page - lines[0].page + 1) if lines else False

    def ending(self, index: int, begun: Sequence[Line]) -> bool | None:
        """Say whether a paragraph ends before a line: None for no, else whether the next stands close to it."""
        last, line = self.lines[index - 1], self.lines[index]
        if not _same_size(last, line):
            return False
        if not _below(last, line):
            goes_on = not self._is_set_in(index) if self._sets_in else self._is_unfinished(index - 1)
            return None if goes_on and self._is_full(index - 1) else False
        if last.bottom - line.bottom > _GAP * self._step(index):
            return False
        indent = (line.left - last.left) / line.height
        if indent > _INDENT and not self._hangs(index, begun):
            return False
        if -indent > _INDENT and (len(begun) > 1 or -indent > _FIRST_INDENT):
            return False
        begins = _BULLET.match(line.text) or (_NUMBERED.match(line.text) and _ENDED.search(last.text.strip()))
        return True if begins or not self._is_full(index - 1) else None

    def _is_set_in(self, index: int) -> bool:
        """Whether a line begins further to the right than the one below it."""
        if index + 1 == len(self.lines) or not _below(self.lines[index], self.lines[index + 1]):
            return False
        line, below = self.lines[index], self.lines[index + 1]
        return _INDENT < (line.left - below.left) / line.height < _FIRST_INDENT

    def _step(self, index: int) -> float:
        """Return the distance between lines hereabouts."""
        near = self.lines[max(index - _NEAR, 0) : index + _NEAR]
        steps = [above.bottom - line.bottom for above, line in pairwise(near) if _below(above, line)]
        height = self.lines[index].height
        usual = self._leading.get(round(self.lines[index].sizes[0]), max(steps, default=height))
        return min([usual, *(step for step in steps if step > height)])

    def _hangs(self, index: int, begun: Sequence[Line]) -> bool:
        """Whether a line is set in as the lines after the first of an entry are."""
        if len(begun) > 1 or not self._is_full(index - 1):
            return False
        if _BULLET.match(begun[0].text) or _NUMBERED.match(begun[0].text):
            return True
        if index + 1 == len(self.lines):
            return False
        line, after = self.lines[index], self.lines[index + 1]
        return _below(line, after) and abs(after.left - line.left) < _SAME * line.height

    def _is_unfinished(self, index: int) -> bool:
        """Whether a line stops within a sentence, or is stretched to the margin as no last line is."""
        line = self.lines[index]
        if not _ENDED.search(line.text.strip()):
            return True
        return any(abs(edge - line.right) < _FLUSH * line.height for edge in self._edges[line.page])

    def _is_full(self, index: int) -> bool:
        """Whether the first word of the next line had no room at the end of a line."""
        line, following = self.lines[index], self.lines[index + 1]
        edge = self._edge(index)
        if _BROKEN.search(line.text) and following.text[:1].islower():
            return True
        if edge is None:
            return _goes_on(line.text.strip(), following.text)
        first = following.text.split(maxsplit=1)[0]
        width = (following.right - following.left) / max(len(following.text.strip()), 1)
        # A mark may not begin a line, and takes the character before it along.
        needed = 2.2 * line.height if _WIDE.match(first) else width * (len(first) + 1.5)
        return edge - line.right < needed

    def _edge(self, index: int) -> float | None:
        """Return where the column of a line ends on the right, None where only this line is so long."""
        line = self.lines[index]
        beyond = [edge for edge in self._edges[line.page] if edge > line.right - _HANGING * line.height]
        if beyond:
            return min(beyond)
        near = self.lines[max(index - _NEAR, 0) : index + _NEAR + 1]
        ends = [other.right for other in near if other.page == line.page and _overlap(line, other)]
        longest = max(ends, default=line.right)
        return longest if sum(end > longest - _LONG_WORD * line.height for end in ends) > 1 else None


def _goes_on(text: str, following: str) -> bool:
    """Whether a line that stands alone in its length reads as if it went on."""
    if len(text) < (_LONG_LINE // 2 if _WIDE.search(text) else _LONG_LINE) or _ENDED.search(text):
        return False
    return following[:1].islower() or _WIDE.match(following) is not None


def _edges(lines: Sequence[Line]) -> dict[int, list[float]]:
    """Return for every page where several lines in a row end, as those of justified columns do."""
    found: dict[int, Counter[float]] = defaultdict(Counter)
    for above, line in pairwise(lines):
        if _below(above, line) and abs(above.right - line.right) < _SAME * line.height:
            found[line.page][round(line.right, 1)] += 1
    return defaultdict(
        list,
        {page: [edge for edge, count in edges.items() if count > 1] for page, edges in found.items()},
    )


def _leadings(lines: Sequence[Line]) -> dict[int, float]:
    """Return the commonest distance from line to line for every font size."""
    steps: dict[int, Counter[float]] = defaultdict(Counter)
    for above, line in pairwise(lines):
        if _below(above, line) and _same_size(above, line):
            steps[round(line.sizes[0])][round(2 * (above.bottom - line.bottom)) / 2] += 1
    return {
        size: max(counted.items(), key=lambda item: (item[1], -item[0]))[0] for size, counted in steps.items()
    }


def _below(above: Line, line: Line) -> bool:
    return above.page == line.page and line.bottom < above.bottom and _overlap(above, line)


def _overlap(first: Line, second: Line) -> bool:
    return min(first.right, second.right) > max(first.left, second.left)


def _same_size(first: Line, second: Line) -> bool:
    return any(abs(one - other) <= 0.06 * max(one, other) for one in first.sizes for other in second.sizes)
