"""Files become documents: the suffix of a file's name tells its reader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from rootlm.text.document import Document
from rootlm.text.raw.faults import Faults
from rootlm.text.raw.rawfile import RawFile
from rootlm.text.raw.reading import Reader, Reading
from rootlm.text.readers.archive import read_tar, read_zip
from rootlm.text.readers.docx import read_docx
from rootlm.text.readers.epub import read_epub
from rootlm.text.readers.html import read_html
from rootlm.text.readers.hub_dataset import read_arrow
from rootlm.text.readers.json_lines import read_json_lines
from rootlm.text.readers.markdown import read_markdown
from rootlm.text.readers.parquet import read_parquet
from rootlm.text.readers.pdf import read_pdf
from rootlm.text.readers.plain import read_text
from rootlm.text.readers.table import read_table
from rootlm.text.readers.warc import read_warc
from rootlm.text.readers.wiki import read_wiki

READERS: Mapping[str, Reader] = {
    ".txt": read_text,
    ".jsonl": read_json_lines,
    ".csv": read_table,
    ".tsv": read_table,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    ".html": read_html,
    ".htm": read_html,
    ".xhtml": read_html,
    ".md": read_markdown,
    ".markdown": read_markdown,
    ".epub": read_epub,
    ".pdf": read_pdf,
    ".docx": read_docx,
    ".warc": read_warc,
    ".wet": read_warc,
    ".xml": read_wiki,
    ".zip": read_zip,
    ".tar": read_tar,
    ".tgz": read_tar,
    ".tbz": read_tar,
    ".tbz2": read_tar,
    ".txz": read_tar,
    ".tzst": read_tar,
}


def read(file: Path | RawFile, reading: Reading, faults: Faults) -> Iterator[Document]:
    """Yield the documents of one file, in order; raises ValueError for a kind of file that has no reader."""
    file = RawFile.on_disk(file) if isinstance(file, Path) else file
    reader = READERS.get(file.suffix)
    if reader is None:
        kinds = ", ".join(READERS)
        raise ValueError(
            f"{file.place}: no reader for {file.suffix or 'a file without suffix'}; known: {kinds}"
        )
    return reader(file, reading, faults)
