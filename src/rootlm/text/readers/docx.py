"""Word documents: .docx."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Iterable, Iterator, Mapping

from rootlm.text.document import Document
from rootlm.text.raw.faults import Faults
from rootlm.text.raw.rawfile import RawFile
from rootlm.text.raw.reading import Reading, pieces
from rootlm.text.readers.package import BrokenPackage, Package
from rootlm.text.readers.whole import seekable
from rootlm.text.readers.xml_events import Event, events

# Settings of form, codes of fields, what was deleted or moved away, and the second version of a drawing.
_SKIPPED = {"pPr", "rPr", "sectPr", "tblPr", "tblGrid", "trPr", "tcPr", "instrText", "del", "moveFrom"}
_SKIPPED |= {"Fallback", "sdtPr", "rPrChange", "pPrChange"}
_SIGNS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_NOTES = {"footnoteReference": "footnotes", "endnoteReference": "endnotes"}
_META = {"title": "title", "creator": "author", "language": "lang"}


def read_docx(file: RawFile, reading: Reading, faults: Faults) -> Iterator[Document]:
    """A Word document: paragraphs, tables and text boxes in order, a note after the paragraph it belongs to.

    Headers, footers, comments and deleted text are left out.
    """
    stream = seekable(file, faults)
    if stream is None:
        return
    with stream:
        try:
            package = Package(stream)
            main = _main_part(package)
            notes = {kind: _notes(package, main, kind) for kind in set(_NOTES.values())}
            with package.open(main) as part:
                text = "\n\n".join(_Body(notes).paragraphs(events(part, main)))
            meta = _meta(package)
        except BrokenPackage as broken:
            faults.report(file.place, broken.reason, broken.problem, broken.remedy)
            return
    if not text.strip():
        faults.report(file.place, "no text", "holds no text", "leave it out")
    yield from pieces(text, file.place, meta, reading)


def _main_part(package: Package) -> str:
    """Return the part that the package names as its document."""
    with package.open("_rels/.rels") as part:
        for event in events(part, "_rels/.rels"):
            if event.attributes.get("Type", "").endswith("/officeDocument"):
                return event.attributes.get("Target", "").lstrip("/")
    raise BrokenPackage("damaged file", "names no document in _rels/.rels", "save it as .docx again")


def _notes(package: Package, main: str, kind: str) -> dict[str, str]:
    """Return the text of every footnote or endnote by its number."""
    name = posixpath.join(posixpath.dirname(main), f"{kind}.xml")
    if name not in package.names:
        return {}
    notes: dict[str, str] = {}
    inside: list[Event] = []
    number = ""
    with package.open(name) as part:
        for event in events(part, name):
            if event.kind == "+" and event.name in ("footnote", "endnote"):
                inside, number = [], event.attributes.get("id", "")
            elif event.kind == "-" and event.name in ("footnote", "endnote"):
                notes[number] = " ".join(_Body({}).paragraphs(inside))
            else:
                inside.append(event)
    return notes


def _meta(package: Package) -> dict[str, object]:
    name = "docProps/core.xml"
    if name not in package.names:
        return {}
    found: dict[str, object] = {}
    key = None
    for event in events(io.BytesIO(package.read(name)), name):
        if event.kind == "+":
            key = _META.get(event.name)
        elif event.kind == " " and key and event.name.strip():
            found[key] = event.name.strip()
        elif event.kind == "-":
            key = None
    return found


class _Body:
    """Turns events into paragraphs; a table is one of them, a line to a row, tabs between its cells."""

    def __init__(self, notes: Mapping[str, Mapping[str, str]]) -> None:
        self._notes = notes
        self._runs: list[list[str]] = []
        self._after: list[str] = []
        self._places: list[list[str]] = [[]]
        self._tables: list[list[list[str]]] = []

    def paragraphs(self, stream: Iterable[Event]) -> Iterator[str]:
        """Yield the paragraphs that hold anything."""
        skipped = 0
        in_text = False
        for kind, name, attributes in stream:
            if kind == " ":
                if in_text and not skipped and self._runs:
                    self._runs[-1].append(name)
            elif skipped or name in _SKIPPED:
                skipped += 1 if kind == "+" else -1
            elif name == "t":
                in_text = kind == "+"
            elif kind == "+":
                self._open(name, attributes)
            else:
                self._close(name)
                if len(self._places) == 1:
                    yield from self._places[0]
                    self._places[0].clear()

    def _open(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "p":
            self._runs.append([])
        elif name in _SIGNS and self._runs:
            self._runs[-1].append(_SIGNS[name])
        elif name in _NOTES:
            self._after.append(self._notes.get(_NOTES[name], {}).get(attributes.get("id", ""), ""))
        elif name == "tbl":
            self._tables.append([])
        elif name == "tr" and self._tables:
            self._tables[-1].append([])
        elif name == "tc" and self._tables:
            self._places.append([])

    def _close(self, name: str) -> None:
        if name == "p" and self._runs:
            text = "".join(self._runs.pop()).strip()
            # A paragraph inside another is that of a text box.
            if self._runs:
                self._after.append(text)
            else:
                self._places[-1] += [part for part in (text, *self._after) if part]
                self._after.clear()
        elif name == "tc" and len(self._places) > 1 and self._tables and self._tables[-1]:
            self._tables[-1][-1].append(" ".join(" ".join(self._places.pop()).split()))
        elif name == "tbl" and self._tables:
            rows = ["\t".join(row).rstrip() for row in self._tables.pop()]
            self._places[-1] += ["\n".join(row for row in rows if row)] if any(rows) else []
