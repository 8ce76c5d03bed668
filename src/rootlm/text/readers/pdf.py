"""PDF documents that hold text: .pdf."""

from __future__ import annotations

import ctypes
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rootlm.text.document import Document
from rootlm.text.raw.cut import cut
from rootlm.text.raw.faults import Faults
from rootlm.text.raw.rawfile import RawFile
from rootlm.text.raw.reading import Reading
from rootlm.text.readers.layout import Line, Paragraph, paragraphs
from rootlm.text.readers.whole import LARGEST, needs_extra, whole

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

_LINE = re.compile("[^\r\n\ufffe]+\ufffe?")
_META = {"Title": "title", "Author": "author"}
_PASSWORD = 4
_LARGEST_TEXT = 1 << 25
# What fonts without a table of characters turn into.
_LOST = re.compile("[\x00-\x08\x0e-\x1f\ufffd\ue000-\uf8ff]")
_MOSTLY_LOST = 0.3


def read_pdf(file: RawFile, reading: Reading, faults: Faults) -> Iterator[Document]:
    """A PDF with a text layer: paragraphs without headers and footers; the range of pages goes into meta.

    Columns come in the order in which the file was written, which for typeset text is that of reading.
    """
    try:
        import pypdfium2
    except ImportError:
        raise needs_extra(file) from None
    content = whole(file, faults, LARGEST)
    if content is None:
        return
    try:
        with pypdfium2.PdfDocument(content) as document:
            count = len(document)
            meta = _meta(document)
            lines = _lines(document, file, faults)
    except pypdfium2.PdfiumError as error:
        if error.err_code == _PASSWORD:
            remedy = "save it without its password"
            faults.report(file.place, "encrypted", "is encrypted and asks for a password", remedy)
        else:
            problem = f"cannot be read as PDF ({error})"
            faults.report(file.place, "damaged file", problem, "mend or replace the file")
        return
    if lines is None:
        return
    found = [paragraph for paragraph in paragraphs(lines) if paragraph.text]
    if not found:
        problem = f"no text layer: its {count} pages hold pictures at most"
        remedy = "recognise its text first, for example with ocrmypdf"
        faults.report(file.place, "no text layer", problem, remedy)
    elif _is_lost(lines):
        problem = "its fonts do not say which characters they draw"
        remedy = "recognise its text, for example with ocrmypdf --force-ocr"
        faults.report(file.place, "no text layer", problem, remedy)
    else:
        yield from _documents(found, file.place, meta, reading)


def _meta(document: PdfDocument) -> dict[str, object]:
    found = {key: document.get_metadata_value(name) for name, key in _META.items()}
    clean = {key: "".join(filter(str.isprintable, value)).strip() for key, value in found.items()}
    return {key: value for key, value in clean.items() if value}


def _lines(document: PdfDocument, file: RawFile, faults: Faults) -> list[Line] | None:
    """Return the lines of all pages; a page that is broken is reported and has none."""
    from pypdfium2 import PdfiumError

    lines: list[Line] = []
    size = 0
    for number in range(len(document)):
        try:
            page = document[number]
            text_page = page.get_textpage()
        except PdfiumError as error:
            place = f"{file.place}:page {number + 1}"
            faults.report(place, "damaged page", f"cannot be read ({error})", "mend or replace the file")
            continue
        lines += _lines_of(text_page, number + 1)
        size += text_page.count_chars()
        text_page.close()
        page.close()
        if size > _LARGEST_TEXT:
            problem = f"holds more than {_LARGEST_TEXT >> 20} million characters"
            faults.report(file.place, "too large", problem, "split it")
            return None
    return lines


def _lines_of(text_page: Any, number: int) -> Iterator[Line]:
    for found in _LINE.finditer(text_page.get_text_range()):
        text = found[0]
        if not text.strip():
            continue
        start = found.start() + len(text) - len(text.lstrip())
        first = _box(text_page, start)
        last = _box(text_page, found.start() + len(text.rstrip().rstrip("\ufffe")) - 1)
        left, bottom, _, top, size = first
        yield Line(text, number, left, last[2], bottom, max(top - bottom, 1.0), (size, last[4]))


def _box(text_page: Any, index: int) -> tuple[float, float, float, float, float]:
    """Return left, bottom, right and top of a character, and its font size."""
    from pypdfium2 import raw

    character = raw.FPDFText_GetCharIndexFromTextIndex(text_page, index)
    box = raw.FS_RECTF()
    raw.FPDFText_GetLooseCharBox(text_page, character, ctypes.byref(box))
    return box.left, box.bottom, box.right, box.top, raw.FPDFText_GetFontSize(text_page, character)


def _is_lost(lines: Sequence[Line]) -> bool:
    characters = sum(len(line.text) for line in lines)
    return sum(len(_LOST.findall(line.text)) for line in lines) > _MOSTLY_LOST * characters


def _documents(
    found: Sequence[Paragraph], place: str, meta: dict[str, object], reading: Reading
) -> Iterator[Document]:
    """Cut the paragraphs into documents that name the pages they come from."""
    parts: list[str] = []
    starts: list[int] = []
    size = 0
    for paragraph in found:
        before = ("\n" if paragraph.close else "\n\n") if parts else ""
        starts.append(size + len(before))
        parts.append(before + paragraph.text)
        size += len(parts[-1])
    text = "".join(parts)
    used: set[int] = set()
    for piece in cut(text, reading.max_document_characters or max(len(text), 1)):
        if not piece.text.strip():
            continue
        first = found[max(bisect_right(starts, piece.start) - 1, 0)].page
        last = found[max(bisect_right(starts, piece.start + len(piece.text) - 1) - 1, 0)].page
        pages = f"{first}" if first == last else f"{first}-{last}"
        where = f"{place}:page {first}" + (f"+{piece.start}" if first in used else "")
        used.add(first)
        yield Document(piece.text.strip(), where, {**meta, "pages": pages})
