"""Electronic books: .epub."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote

from rootlm.text.document import Document
from rootlm.text.raw.encoding import SAMPLE_BYTES, detect
from rootlm.text.raw.faults import Faults
from rootlm.text.raw.rawfile import RawFile
from rootlm.text.raw.reading import Reading, pieces
from rootlm.text.readers.html import LARGEST_PAGE, declared, page_of
from rootlm.text.readers.package import BrokenPackage, Package
from rootlm.text.readers.whole import needs_extra, seekable
from rootlm.text.readers.xml_events import events

_CONTAINER, _RIGHTS = "META-INF/container.xml", "META-INF/encryption.xml"
_META = {"title": "title", "creator": "author", "language": "lang"}
_PAGES = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml")
# Fonts are scrambled with these in books that anybody may read.
_FONTS_ONLY = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")


class Book(NamedTuple):
    """What a book says about itself, and its chapters in the order they are read."""

    meta: dict[str, object]
    chapters: list[str]


def read_epub(file: RawFile, reading: Reading, faults: Faults) -> Iterator[Document]:
    """A book, chapter by chapter in reading order: `book.epub!text/chapter1.xhtml`; title, author, lang in meta.

    A chapter, not the book, is the document: covers and imprints can then be dropped by themselves, and two
    editions of a book are found to share what they share.
    """
    stream = seekable(file, faults)
    if stream is None:
        return
    found = False
    with stream:
        try:
            package = Package(stream)
            book = _book(package)
        except BrokenPackage as broken:
            faults.report(file.place, broken.reason, broken.problem, broken.remedy)
            return
        for name in book.chapters:
            place = f"{file.place}!{name}"
            try:
                text = _chapter(package.read(name))
            except BrokenPackage as broken:
                found = True
                faults.report(place, broken.reason, broken.problem, broken.remedy)
                continue
            except ImportError:
                raise needs_extra(file) from None
            found = found or bool(text)
            yield from pieces(text, place, book.meta, reading)
    if not found:
        faults.report(file.place, "no text", "none of its pages holds text", "leave it out")


def _chapter(content: bytes) -> str:
    if len(content) > LARGEST_PAGE:
        raise BrokenPackage("too large", f"is a page of {len(content) >> 20} MiB", "split it")
    # A book's pages are UTF-8 or UTF-16 by its standard, whatever old books do.
    encoding = declared(content) or detect(content[:SAMPLE_BYTES])
    try:
        source = content.decode("utf-8-sig" if encoding == "utf-8" else encoding or "utf-8")
    except ValueError as error:
        problem = f"is not written in one encoding ({error})"
        raise BrokenPackage("undecodable page", problem, "mend the page") from error
    return page_of(source, main=False).text


def _book(package: Package) -> Book:
    root = ""
    for event in events(io.BytesIO(package.read(_CONTAINER)), _CONTAINER):
        if event.name == "rootfile" and event.kind == "+" and not root:
            root = event.attributes.get("full-path", "")
    if not root:
        raise BrokenPackage("damaged file", f"{_CONTAINER} names no book", "mend or replace the file")
    _check_rights(package)
    meta: dict[str, object] = {}
    pages: dict[str, str] = {}
    spine: list[str] = []
    key, words = None, ""
    for kind, name, attributes in events(io.BytesIO(package.read(root)), root):
        if kind == " " and key:
            words += name
        elif kind == "-" and key and words.strip():
            meta.setdefault(key, " ".join(words.split()))
            key = None
        elif kind == "+":
            key, words = _META.get(name), ""
            if name == "item" and attributes.get("media-type") in _PAGES:
                # The page that only lists the others.
                if "nav" not in attributes.get("properties", "").split():
                    pages[attributes.get("id", "")] = unquote(attributes.get("href", ""))
            elif name == "itemref":
                spine.append(attributes.get("idref", ""))
    folder = posixpath.dirname(root)
    chapters = [posixpath.normpath(posixpath.join(folder, pages[page])) for page in spine if page in pages]
    if not chapters:
        raise BrokenPackage("damaged file", f"{root} lists no pages", "mend or replace the file")
    return Book(meta, list(dict.fromkeys(chapters)))


def _check_rights(package: Package) -> None:
    """Refuse a book whose pages are encrypted; scrambled fonts do not matter."""
    if _RIGHTS not in package.names:
        return
    for event in events(io.BytesIO(package.read(_RIGHTS)), _RIGHTS):
        method = event.attributes.get("Algorithm", "") if event.name == "EncryptionMethod" else ""
        if event.kind == "+" and method and not method.startswith(_FONTS_ONLY):
            problem = "is protected against copying, so its pages cannot be read"
            raise BrokenPackage("encrypted", problem, "get it without protection")
