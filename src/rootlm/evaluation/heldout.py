"""The documents that a model is judged on: a split of a corpus, or any files of text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rootlm.core.files import MANIFEST
from rootlm.text.corpus import Corpus
from rootlm.text.document import Document
from rootlm.text.raw.faults import Faults, Notice
from rootlm.text.raw.reading import Reading
from rootlm.text.readers.read import read
from rootlm.text.sources import Source, find


def heldout(
    path: Path, split: str = "test", reading: Reading | None = None, notice: Notice = lambda _: None
) -> Iterator[Document]:
    """Yield the documents of a corpus folder's split, or those of a file, a folder of files or a glob.

    `reading` says how files become documents; a corpus is already made of them. Raises ValueError naming what
    is missing.
    """
    if (path / MANIFEST).is_file():
        yield from Corpus.open(path).documents(split)
        return
    how = reading or Reading()
    (origin,) = find([Source(path=str(path))], path / MANIFEST, notice)
    for file in origin.files:
        yield from read(file, how, Faults(how.on_error, notice))
