"""Training documents changed anew in every epoch; nothing changed is kept, and what is held out is never touched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from rootlm.core.config import Config
from rootlm.text.augmentation.augment import NO_HOOKS, Hooks, Kind
from rootlm.text.augmentation.augmented_copies import Augment
from rootlm.text.document import Document

Renew = Callable[[Iterable[Document], int], Iterator[Document]]
"""Documents and the number of an epoch → the documents as they are read in it."""


class EachEpoch(Config):
    """How training documents are changed in every epoch. What a document becomes follows from the settings, its text
    and the number of the epoch alone."""

    kinds: Annotated[tuple[Kind, ...], Field(min_length=1)]
    """What is done to a document, one after the other."""

    def build(self, hooks: Hooks = NO_HOOKS) -> Renew:
        """Return what changes the documents of an epoch; one that would become empty stays as it is."""
        change = Augment(kinds=self.kinds).build(hooks)

        def renew(documents: Iterable[Document], epoch: int) -> Iterator[Document]:
            for document in documents:
                text = change(document.text, epoch)
                yield replace(document, text=text) if text.strip() else document

        return renew
