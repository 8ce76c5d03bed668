"""Plain text: .txt."""

from __future__ import annotations

from collections.abc import Iterator

from rootlm.text.document import Document
from rootlm.text.raw.cut import cut
from rootlm.text.raw.faults import Faults
from rootlm.text.raw.lines import blocks, lines
from rootlm.text.raw.rawfile import RawFile
from rootlm.text.raw.reading import Reading


def read_text(file: RawFile, reading: Reading, faults: Faults) -> Iterator[Document]:
    """Plain text: a document per file, line or paragraph."""
    gathered = _Gathered(file.place, reading.max_document_characters)
    if reading.documents == "file":
        for block in blocks(file, reading.encoding, faults):
            gathered.add(block.number, block.text)
            if gathered.is_long:
                yield from gathered.documents(more=True)
    else:
        for number, line in lines(file, reading.encoding, faults):
            blank = not line or line.isspace()
            if not blank:
                gathered.add(number, line + "\n")
            if blank or reading.documents == "line":
                yield from gathered.documents()
    yield from gathered.documents()


class _Gathered:
    """Lines that belong to one document, and where they began."""

    def __init__(self, place: str, longest: int | None) -> None:
        self._place = place
        self._longest = longest
        self._parts: list[str] = []
        self._size = 0
        self._line, self._column = 1, 0

    @property
    def is_long(self) -> bool:
        """Whether pieces can be cut before the document has ended."""
        return self._longest is not None and self._size > 2 * self._longest

    def add(self, line: int, text: str) -> None:
        """Take the text that begins in a line."""
        if not self._parts:
            self._line, self._column = line, 0
        self._parts.append(text)
        self._size += len(text)

    def documents(self, more: bool = False) -> Iterator[Document]:
        """Yield what was gathered, cut where it is too long; with `more` the last part stays for later."""
        text = "".join(self._parts)
        pieces = [piece.text for piece in cut(text, self._longest, more)] if self._longest else [text]
        rest = pieces.pop() if more else ""
        self._parts, self._size = [rest] if rest else [], len(rest)
        for piece in pieces:
            if text := piece.strip():
                first = self._line + piece.count("\n", 0, len(piece) - len(piece.lstrip()))
                yield Document(text, f"{self._place}:{first}" + (f"+{self._column}" if self._column else ""))
            self._line += piece.count("\n")
            end = piece.rfind("\n")
            self._column = len(piece) - end - 1 if end >= 0 else self._column + len(piece)
