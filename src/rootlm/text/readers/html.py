"""Web pages: .html, .htm and .xhtml."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from rootlm.text.document import Document
from rootlm.text.raw.faults import Faults
from rootlm.text.raw.lines import blocks
from rootlm.text.raw.rawfile import RawFile
from rootlm.text.raw.reading import Reading, pieces
from rootlm.text.readers.joining import WIDE
from rootlm.text.readers.whole import needs_extra, whole

if TYPE_CHECKING:
    from resiliparse.parse.html import HTMLTree

LARGEST_PAGE = 1 << 24
_HEAD_BYTES = 4096
_DECLARED = re.compile(rb"""<(?:meta|\?xml)[^>]{0,400}?(?:charset|encoding)\s*=\s*["']?\s*([\w:.-]+)""", re.I)
# What browsers read in place of the names: the larger set that people meant.
_MEANT = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "iso8859-1": "cp1252",
    "ascii": "cp1252",
    "big5": "big5hkscs",
}
_MEANT |= {"shift_jis": "cp932", "euc_kr": "cp949", "iso8859-9": "cp1254"}
_SOFT_BREAK = re.compile(
    rf"<(pre|textarea|script)\b.*?(?:</\1|\Z)|(?<=[{WIDE}])[ \t]*\r?\n\s*(?=[{WIDE}])", re.S | re.I
)
_NEAR_BREAK = re.compile(rf"\n\s*[{WIDE}]")
# The library takes a single character between two tags for an ornament: a mark that goes again makes it two.
_MARK = "\u2060"
_LONE = re.compile(rf"(>\s*[{WIDE}])(?=\s*<)")
_LIST_DEPTH = 3
# Between two cells the library writes two tabs.
_CELLS = re.compile(r"(?<=\S)\t\t(?=\S)")
_BLANK = re.compile(r"\n{3,}")
_LITTLE = 0.05
# The library's rules take time that grows with the square of the depth; no page that people read is so deep.
_TOO_DEEP = " > ".join(["*"] * 400)


class Page(NamedTuple):
    """What a page says, and what it says about itself."""

    text: str
    meta: dict[str, object]


def read_html(file: RawFile, reading: Reading, faults: Faults) -> Iterator[Document]:
    """A web page: its main text with lists and tables, without menus and footers; title and lang into meta."""
    content = whole(file, faults, LARGEST_PAGE)
    if content is None:
        return
    encoding = reading.encoding or declared(content)
    source = "".join(block.text for block in blocks(file, encoding, faults))
    if not source:
        return
    try:
        page = page_of(source)
    except ImportError:
        raise needs_extra(file) from None
    if not page.text:
        faults.report(file.place, "no text", "the page holds no text", "leave it out")
    yield from pieces(page.text, file.place, page.meta, reading)


def declared(content: bytes) -> str | None:
    """Return the encoding that a page names at its beginning, where the page can be read so.

    >>> declared("<meta charset=gb2312><p>镕基".encode("gbk"))
    'gb18030'
    >>> declared("<meta charset=utf-8><p>春晓".encode("gbk")) is None
    True
    """
    found = _DECLARED.search(content[:_HEAD_BYTES])
    if found is None or content.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return None
    try:
        name = codecs.lookup(found[1].decode("ascii", "replace")).name
        name = _MEANT.get(name, name)
        content.decode(name)
    except (LookupError, ValueError):
        return None
    return name


def page_of(source: str, main: bool = True) -> Page:
    """Return the text of a page; with `main` what surrounds its main content is left out.

    A page of which nearly nothing would remain, such as an index, is kept whole.
    """
    from resiliparse.parse.html import HTMLTree

    if _NEAR_BREAK.search(source):
        source = _SOFT_BREAK.sub(lambda match: match[0] if match[1] else "", source)
    tree = HTMLTree.parse(_LONE.sub(rf"\1{_MARK}", source))
    if not main or tree.document is None or tree.document.query_selector(_TOO_DEEP):
        return Page(_text(tree, main=False), _meta(tree))
    _deepen(tree)
    text = _text(tree, main=True)
    if len(text) < _LITTLE * len(source):
        everything = _text(tree, main=False)
        text = text if len(text) > _LITTLE * len(everything) else everything
    return Page(text, _meta(tree))


def _text(tree: HTMLTree, main: bool) -> str:
    from resiliparse.extract.html2text import extract_plain_text

    text = str(extract_plain_text(tree, main_content=main, alt_texts=False))
    lines = (line.rstrip(" \t") for line in _CELLS.sub("\t", text.replace(_MARK, "")).split("\n"))
    return _BLANK.sub("\n\n", "\n".join(lines)).strip()


def _meta(tree: HTMLTree) -> dict[str, object]:
    meta: dict[str, object] = {}
    if title := " ".join((tree.title or "").split()):
        meta["title"] = title
    root = tree.document.query_selector("html") if tree.document else None
    language = root and (root.getattr("lang") or root.getattr("xml:lang"))
    if language and language.strip():
        meta["lang"] = language.strip()
    return meta


def _deepen(tree: HTMLTree) -> None:
    """Put the whole body into boxes: the library drops every list near the root, deeper ones only for links."""
    body, innermost = tree.body, tree.create_element("div")
    if body is None or innermost is None:
        return
    # The list of all children is not asked for: making it takes time that grows with its square.
    while (child := body.first_child) is not None:
        innermost.append_child(child)
    for _ in range(_LIST_DEPTH - 1):
        if (box := tree.create_element("div")) is not None:
            box.append_child(innermost)
            innermost = box
    body.append_child(innermost)
