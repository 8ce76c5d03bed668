"""A fold: a corpus seen with a part of its training documents held out, without copying a text.

Documents that say the same are in one fold: exact copies, augmented copies and their original, near-duplicates, and
those that share a value of meta where one is named (`together`). Near-duplicates are looked for only where the corpus
has kept them; what has dropped them, as `rootlm data prepare` does unless told otherwise, holds none.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from rootlm.core.config import Config
from rootlm.text.augmentation.augmented_copies import FROM
from rootlm.text.copies.duplicates import Duplicates, Forest, Indices, similar_pairs
from rootlm.text.corpus import Corpus, Counts
from rootlm.text.document import SPLITS, Document
from rootlm.text.signature import band_keys, digest, signatures

HELD_OUT = "fold"
"""The name of the split that a fold adds: its held-out documents."""
_TRAIN = SPLITS[0]
_TEXTS_AT_ONCE = 1024


class FoldConfig(Config):
    """Which part of the training documents is held out."""

    of: int = Field(5, ge=2)
    """How many parts there are."""
    number: int = Field(1, ge=1)
    """Which of them is held out, from 1 on."""
    together: str | None = None
    """A key of meta, such as a page or an author: documents with the same value are in one part."""
    seed: int = 0
    """Another seed, other parts."""

    @model_validator(mode="after")
    def _exists(self) -> FoldConfig:
        if self.number > self.of:
            raise ValueError(
                f"fold {self.number} of {self.of}: there is none; number goes from 1 to {self.of}"
            )
        return self


class Fold(Corpus):
    """A corpus whose training split lacks one part; that part is the split `fold`. The other splits are as they were.

    Raises ValueError when first read, if there are fewer groups of documents than parts.
    """

    def __init__(self, corpus: Corpus, settings: FoldConfig) -> None:
        super().__init__(corpus.folder, corpus.manifest)
        self._whole, self.settings = corpus, settings

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits that hold documents, the held-out part last."""
        return (*self._whole.splits, HELD_OUT)

    @property
    def variant(self) -> str:
        """The name under which what is made of this fold is kept apart."""
        held = self.settings
        key = hashlib.blake2b(f"{held.seed} {held.together}".encode(), digest_size=4).hexdigest()
        return f"fold-{held.number}-of-{held.of}-{key}"

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 that is the same for the same fold of the same documents only."""
        return hashlib.sha256(f"{self._whole.fingerprint} {self.variant}".encode()).hexdigest()

    def documents(self, split: str) -> Iterator[Document]:
        """Yield the documents of a split in the order they were read."""
        if split not in (_TRAIN, HELD_OUT):
            yield from self._whole.documents(split)
            return
        wanted = split == HELD_OUT
        for document, is_held_out in zip(self._whole.documents(_TRAIN), self._is_held_out, strict=True):
            if is_held_out == wanted:
                yield document

    def counts(self, split: str) -> Counts:
        """Return documents, bytes and characters of a split."""
        if split not in (_TRAIN, HELD_OUT):
            return self._whole.counts(split)
        return self._counted[split == HELD_OUT]

    def sample(self, split: str, count: int, seed: int = 0) -> list[Document]:
        """Return some documents of a split, drawn at random."""
        if split not in (_TRAIN, HELD_OUT):
            return self._whole.sample(split, count, seed)
        whole = self.counts(split).documents
        chosen = set(random.Random(seed).sample(range(whole), min(count, whole)))
        return [one for number, one in enumerate(self.documents(split)) if number in chosen]

    @cached_property
    def _is_held_out(self) -> NDArray[np.bool_]:
        held = self.settings
        places = assign(*groups(self._whole, held.together), held.of, held.seed)
        return np.equal(places, held.number - 1)

    @cached_property
    def _counted(self) -> tuple[Counts, Counts]:
        sums = np.zeros((2, 3), np.int64)
        for document, place in zip(self._whole.documents(_TRAIN), self._is_held_out, strict=True):
            sums[int(place)] += (1, len(document.text.encode()), len(document.text))
        kept, held_out = (Counts(*row) for row in sums.tolist())
        return kept, held_out


def groups(corpus: Corpus, together: str | None = None) -> tuple[Indices, NDArray[np.bytes_]]:
    """Return for each training document the number of the first of its group, and its digest."""
    digests: list[bytes] = []
    pairs: list[tuple[int, int]] = []
    first: dict[tuple[str, object], int] = {}
    found_key = False
    settings = Duplicates.model_validate(corpus.manifest["settings"]["duplicates"])
    keeps_near = not settings.drop_near
    marks: list[NDArray[np.uint32]] = []
    texts: list[str] = []
    for number, document in enumerate(corpus.documents(_TRAIN)):
        digests.append(digest(document.text))
        names: list[tuple[str, object]] = [
            ("text", digests[-1]),
            ("source", document.meta.get(FROM, document.source)),
        ]
        if together is not None and together in document.meta:
            found_key = True
            names.append(("meta", str(document.meta[together])))
        pairs += [(first.setdefault(name, number), number) for name in names]
        if keeps_near:
            texts.append(document.text)
            if len(texts) == _TEXTS_AT_ONCE:
                marks.append(signatures(texts, settings.hashes))
                texts = []
    if together is not None and not found_key:
        raise ValueError(f"{corpus.folder}: no document has {together} in its meta; name another key or none")
    forest = Forest(len(digests))
    forest.join(np.array(pairs, np.int64).reshape(-1, 2))
    if keeps_near:
        for near in _near(np.concatenate([*marks, signatures(texts, settings.hashes)]), settings):
            forest.join(near)
    return forest.roots(), np.array(digests, dtype=np.bytes_)


def assign(group: Indices, digests: NDArray[np.bytes_], parts: int, seed: int) -> Indices:
    """Return each document's part: groups in an order drawn from their texts, the largest first, each to the part
    that holds the fewest documents so far.

    Raises ValueError when there are fewer groups than parts.
    """
    _, first, inverse, sizes = np.unique(group, return_index=True, return_inverse=True, return_counts=True)
    if len(sizes) < parts:
        raise ValueError(
            f"{parts} folds need as many groups of training documents, and there are {len(sizes):,} in "
            f"{len(group):,} documents; set k={max(len(sizes), 1)} or less"
        )
    salt = seed.to_bytes(16, "little", signed=True)
    draws = [hashlib.blake2b(bytes(digests[one]), digest_size=8, salt=salt).digest() for one in first]
    order = sorted(range(len(sizes)), key=lambda one: (-int(sizes[one]), draws[one]))
    held, places = np.zeros(parts, np.int64), np.empty(len(sizes), np.int64)
    for one in order:
        part = int(held.argmin())
        places[one] = part
        held[part] += sizes[one]
    return places[inverse]


class _InMemory:
    def __init__(self, signed: NDArray[np.uint32]) -> None:
        self._signed = signed

    def rows(self, numbers: Indices) -> NDArray[np.uint32]:
        return self._signed[numbers]


def _near(signed: NDArray[np.uint32], settings: Duplicates) -> Iterator[Indices]:
    numbers = np.arange(len(signed), dtype=np.int64)
    for keys in band_keys(signed, settings.bands):
        yield similar_pairs(numbers, keys, _InMemory(signed), settings.threshold)
