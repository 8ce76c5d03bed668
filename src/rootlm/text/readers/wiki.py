"""MediaWiki dumps: .xml as Wikipedia and its kin publish them, a document a page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

from rootlm.text.document import Document
from rootlm.text.raw.faults import Faults
from rootlm.text.raw.rawfile import TORN, RawFile
from rootlm.text.raw.reading import Reading, pieces
from rootlm.text.readers.package import BrokenPackage
from rootlm.text.readers.whole import report_torn
from rootlm.text.readers.wikitext import Wiki
from rootlm.text.readers.xml_events import Event, events

LARGEST_PAGE = 1 << 25
_MEND = "mend or replace the file"
_FILE_KEYS = ("6", "14")
_MODELS = ("wikitext", "")


def read_wiki(file: RawFile, reading: Reading, faults: Faults) -> Iterator[Document]:
    """A MediaWiki dump: the articles that are no redirects, as plain text; the title goes to the meta.

    Of a page with its history the last revision counts. The place is the number that the wiki gave the page.
    """
    try:
        with file.open() as stream:
            found = events(stream, "it")
            first = next(found, None)
            if first is None or first.name != "mediawiki":
                root = f"begins with <{first.name}>" if first else "holds no element"
                problem = f"{root}, so it is no MediaWiki dump, the only .xml that is read"
                faults.report(file.place, "no MediaWiki dump", problem, "leave it out of the paths")
                return
            for page in _pages(found):
                yield from _documents(page, file, reading, faults)
    except BrokenPackage as error:
        faults.report(file.place, error.reason, error.problem, error.remedy)
    except TORN as error:
        report_torn(file, error, faults)


@dataclass
class _Page:
    wiki: Wiki
    parts: dict[str, list[str]] = field(default_factory=dict)
    size: int = 0
    is_redirect: bool = False

    def part(self, name: str) -> str:
        return "".join(self.parts.get(name, ""))


def _pages(found: Iterator[Event]) -> Iterator[_Page]:
    """Yield page after page; only the one that is being read is held."""
    path = ["mediawiki"]
    spaces: dict[str, list[str]] = {}
    key = ""
    wiki: Wiki | None = None
    page = _Page(Wiki())
    for kind, name, attributes in found:
        if kind == "+":
            path.append(name)
            if name == "page":
                wiki = wiki or Wiki(hidden=frozenset(chain.from_iterable(spaces.values())))
                page = _Page(wiki)
            elif name == "redirect":
                page.is_redirect = True
            elif name == "namespace":
                key = attributes.get("key", "")
            elif name == "revision":
                page.size = 0
                page.parts = {
                    part: page.parts[part] for part in page.parts if not part.startswith("revision")
                }
        elif kind == "-":
            path.pop()
            if name == "page":
                yield page
                page = _Page(page.wiki)
        elif len(path) > 2 and path[1] == "page":
            _add(page, "/".join(path[2:]), name)
        elif path[-1:] == ["namespace"] and key in _FILE_KEYS:
            spaces.setdefault(key, []).append(name.strip())


def _add(page: _Page, part: str, text: str) -> None:
    if part in _WANTED:
        page.size += len(text)
        # What is too long is not held; its length tells.
        if page.size <= LARGEST_PAGE:
            page.parts.setdefault(part, []).append(text)


_TEXT, _MODEL = "revision/text", "revision/model"
_WANTED = ("title", "ns", "id", _MODEL, _TEXT)


def _documents(page: _Page, file: RawFile, reading: Reading, faults: Faults) -> Iterator[Document]:
    if page.is_redirect or page.part("ns").strip() not in ("0", "") or page.part(_MODEL) not in _MODELS:
        return
    place = f"{file.place}:page {page.part('id')}"
    if page.size > LARGEST_PAGE:
        problem = f"more than {LARGEST_PAGE:,} characters, too much for one page"
        faults.report(place, "too large", problem, "leave it out")
        return
    text = page.wiki.plain(page.part(_TEXT))
    yield from pieces(text, place, {"title": page.part("title")}, reading)
