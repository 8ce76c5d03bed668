"""Changed copies of the documents to train on; what is held out is never touched."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Annotated

import orjson
from pydantic import Field

from rootlm.core.config import Config
from rootlm.text.augmentation.augment import NO_HOOKS, Augmenter, Hooks, Kind
from rootlm.text.document import SPLITS, Document
from rootlm.text.shards import to_document
from rootlm.text.signature import digest

FROM = "augmented_from"
BY = "augmented_by"


class Augment(Config):
    """Changed copies of the documents to train on. The splits that are held out are never touched."""

    kinds: Annotated[tuple[Kind, ...], Field(min_length=1)]
    """What is done to a copy, one after the other."""
    copies: Annotated[int, Field(gt=0)] = 1
    """How many copies are made of each document; those that come out unchanged are left out."""

    def build(self, hooks: Hooks = NO_HOOKS) -> Augmentation:
        """Return what makes the copies."""
        return Augmentation([kind.build(hooks) for kind in self.kinds], self)


class Augmentation:
    """Makes changed copies of documents. A copy follows from the settings, the document's text and its number
    alone: neither the order of the documents nor the number of workers makes a difference."""

    def __init__(self, augmenters: Sequence[Augmenter], settings: Augment) -> None:
        self._augmenters = augmenters
        self._kinds = [kind.kind for kind in settings.kinds]
        self._copies = settings.copies

    def __call__(self, text: str, number: int) -> str:
        """Return the text changed; on the fly, `number` is the epoch's."""
        for place, augmenter in enumerate(self._augmenters):
            text = augmenter(text, number * len(self._augmenters) + place)
        return text

    def copies(self, document: Document, held_out: Container[bytes] = ()) -> Iterator[Document]:
        """Yield the changed copies of a document to train on.

        `held_out` has the digests of the documents in validation and test: a copy that has become one of them
        is left out, and so is one that equals its original or an earlier copy. Raises ValueError for a document
        that is a copy itself.
        """
        if FROM in document.meta:
            raise ValueError(
                f"{document.source}: is an augmented copy (of {document.meta[FROM]}); augment originals only"
            )
        seen = {digest(document.text)}
        for number in range(1, self._copies + 1):
            text = self(document.text, number)
            key = digest(text)
            if key in seen or key in held_out or not text.strip():
                continue
            seen.add(key)
            meta = {**document.meta, FROM: document.source, BY: self._kinds}
            yield Document(text, f"{document.source}~{number}", meta)


def augmented(
    documents: Iterable[Document], split: str, augmentation: Augmentation, held_out: Container[bytes] = ()
) -> Iterator[Document]:
    """Yield every document of a split followed by its copies; raises ValueError for any split but train."""
    if split != SPLITS[0]:
        raise ValueError(f"{split}: only {SPLITS[0]} is augmented; what is held out stays as people wrote it")
    for document in documents:
        yield document
        yield from augmentation.copies(document, held_out)


def copied_lines(line: bytes, augmentation: Augmentation, held_out: Container[bytes] = ()) -> Iterator[bytes]:
    """Yield the copies of a document of a corpus as JSON lines; `line` is the document's own."""
    for copy in augmentation.copies(to_document(line), held_out):
        record = {"text": copy.text, "source": copy.source, "meta": copy.meta}
        yield orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
