"""Markdown: .md and .markdown."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import yaml

from rootlm.text.document import Document
from rootlm.text.raw.faults import Faults
from rootlm.text.raw.lines import blocks
from rootlm.text.raw.rawfile import RawFile
from rootlm.text.raw.reading import Reading, pieces
from rootlm.text.readers.html import page_of
from rootlm.text.readers.joining import flowing
from rootlm.text.readers.whole import needs_extra

if TYPE_CHECKING:
    from markdown_it.token import Token

# A parsed page takes a hundred times its size in memory.
LARGEST_PAGE = 1 << 22
_FRONT = re.compile(r"\A\ufeff?---[ \t]*\n(.{0,65536}?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.S)
_BREAK = re.compile(r"<br\b", re.I)
_OWN_KEYS = {"text", "source"}
_LARGEST_NUMBER = 1 << 63


def read_markdown(file: RawFile, reading: Reading, faults: Faults) -> Iterator[Document]:
    """Markdown as it is read: words without marks and link targets, code as it is; front matter into meta."""
    parts: list[str] = []
    size = 0
    for block in blocks(file, reading.encoding, faults):
        parts.append(block.text)
        size += len(block.text)
        if size > LARGEST_PAGE:
            problem = f"more than {LARGEST_PAGE >> 20} million characters, too much for one page"
            faults.report(file.place, "too large", problem, "split it, or rename it to .txt")
            return
    source = "".join(parts)
    if not source:
        return
    meta, body = front_matter(source)
    try:
        text = readable(body)
    except ImportError:
        raise needs_extra(file) from None
    if not text:
        faults.report(file.place, "no text", "the page holds no text", "leave it out")
    yield from pieces(text, file.place, meta, reading)


def front_matter(source: str) -> tuple[dict[str, object], str]:
    """Return the plain values at the head of a page, and the rest; what is no YAML mapping is text.

    >>> front_matter("---\\ntitle: 春晓\\ntags: [a, b]\\n---\\n春眠不觉晓")
    ({'title': '春晓'}, '春眠不觉晓')
    """
    found = _FRONT.match(source)
    if found is None:
        return {}, source
    try:
        values = yaml.safe_load(found[1])
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}, source
    if not isinstance(values, dict):
        return {}, source
    named = {str(key): _plain(value) for key, value in values.items() if str(key) not in _OWN_KEYS}
    return {key: value for key, value in named.items() if value is not None}, source[found.end() :]


def _plain(value: object) -> object:
    """Return a value that JSON can hold, None for lists and mappings."""
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, int) and abs(value) >= _LARGEST_NUMBER:
        return str(value)
    return value if isinstance(value, str | int | float) else None


def readable(source: str) -> str:
    r"""Return the words of a Markdown text.

    >>> readable("# Title\n\nSee [the *poem*](http://x.org).\n\n- one\n- two")
    'Title\n\nSee the poem.\n\n- one\n- two'
    """
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"maxNesting": 100}).enable(["table", "strikethrough"])
    return _Page().text(parser.parse(source))


class _Page:
    """Writes blocks one after the other, with the marks and the indentation of the lists they stand in."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._lists: list[int | None] = []
        self._mark = ""
        self._row: list[str] | None = None
        self._close = False

    def text(self, tokens: Sequence[Token]) -> str:
        """Return the text of a page."""
        tight = False
        for token in tokens:
            kind = token.type
            if kind == "paragraph_open":
                tight = token.hidden
            elif kind in ("fence", "code_block"):
                self._write(token.content.rstrip("\n"))
            elif kind == "html_block":
                self._write(page_of(token.content, main=False).text)
            elif kind == "inline" and self._row is not None:
                self._row.append(_inline(token).replace("\n", " "))
            elif kind == "inline":
                self._write(_inline(token), tight)
                tight = False
            else:
                self._structure(token)
        return "".join(self._parts).strip("\n")

    def _structure(self, token: Token) -> None:
        kind = token.type
        if kind in ("ordered_list_open", "bullet_list_open"):
            self._close = self._close and bool(self._lists)
            self._lists.append(int(token.attrs.get("start", 1)) if kind.startswith("ordered") else None)
        elif kind in ("ordered_list_close", "bullet_list_close"):
            self._lists.pop()
        elif kind == "list_item_open":
            number = self._lists[-1]
            self._mark = "- " if number is None else f"{number}. "
            if number is not None:
                self._lists[-1] = number + 1
        elif kind == "table_open":
            self._close = False
        elif kind == "tr_open":
            self._row = []
        elif kind == "tr_close" and self._row is not None:
            self._write("\t".join(self._row).rstrip(), close=True)
            self._row = None

    def _write(self, text: str, close: bool = False) -> None:
        """Append a block, after a blank line; items of a tight list and rows of a table stand close."""
        if not text.strip():
            return
        indentation = "  " * (len(self._lists) - bool(self._mark))
        first, *others = text.split("\n")
        lines = [f"{indentation}{self._mark}{first}"]
        lines += [" " * (len(indentation) + len(self._mark)) + other if other else "" for other in others]
        self._parts.append(("\n" if close and self._close else "\n\n") + "\n".join(lines))
        self._mark, self._close = "", close


def _inline(token: Token) -> str:
    """Return the words of a paragraph; its lines are joined, but for hard breaks."""
    lines = [[""]]
    for child in token.children or []:
        if child.type == "softbreak":
            lines[-1].append("")
        elif child.type == "hardbreak" or (child.type == "html_inline" and _BREAK.match(child.content)):
            lines.append([""])
        elif child.type in ("text", "code_inline", "image"):
            lines[-1][-1] += child.content
    return "\n".join(flowing(line) for line in lines).strip()
