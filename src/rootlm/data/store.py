"""Token stores: a split as ids on disk, memory-mapped, bound to the tokenizer and the corpus it came from."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rootlm.core.config import Config, to_plain, validate
from rootlm.core.files import locked, new_folder, read_json, verify_folder, write_json
from rootlm.text.document import Document
from rootlm.tokenizers.tokenizer import Tokenizer

IDS, OFFSETS, BYTES, LOST, FACTS = "ids.bin", "offsets.bin", "bytes.bin", "lost.bin", "store.json"
_BATCH_CHARACTERS = 2_000_000
_BATCH_DOCUMENTS = 4096


class StoreFacts(Config):
    """What `store.json` holds."""

    documents: int
    tokens: int
    dtype: str
    vocab_size: int
    tokenizer: str
    """Fingerprint of the tokenizer."""
    corpus: str
    """Fingerprint of the corpus."""
    split: str


@dataclass(frozen=True)
class Store:
    """Every document's ids end to end, without begin and end marks.

    `offsets` (documents + 1,) says where each document begins; `document_bytes` is the size of its raw text in
    UTF-8 and `lost_bytes` what its ids do not determine.
    """

    folder: Path
    facts: StoreFacts
    ids: NDArray[np.unsignedinteger]
    offsets: NDArray[np.int64]
    document_bytes: NDArray[np.int64]
    lost_bytes: NDArray[np.int64]

    @property
    def documents(self) -> int:
        """How many documents there are."""
        return self.facts.documents

    @property
    def tokens(self) -> int:
        """How many ids there are, marks not counted."""
        return self.facts.tokens

    def __len__(self) -> int:
        return self.facts.documents

    def __getitem__(self, number: int) -> NDArray[np.unsignedinteger]:
        """Return the ids of a document as a view of the file."""
        return self.ids[self.offsets[number] : self.offsets[number + 1]]

    @classmethod
    def open(cls, folder: Path, tokenizer: Tokenizer | None = None, *, verify: bool = False) -> Store:
        """Map a store into memory; with `verify` compare every file with its checksum.

        Raises ValueError naming a missing or torn file, and when the store was made with another tokenizer.
        """
        if verify:
            verify_folder(folder)
        try:
            facts = validate(StoreFacts, _facts(folder))
        except ValueError as error:
            raise ValueError(
                f"{folder / FACTS}: not a token store ({error}); remove the folder to build it again"
            ) from None
        if tokenizer is not None and tokenizer.fingerprint != facts.tokenizer:
            raise ValueError(
                f"{folder}: the tokenizer does not match the store: it was made with {facts.tokenizer[:12]}…, "
                f"this one is {tokenizer.fingerprint[:12]}…; build a store with this tokenizer"
            )
        counts = {
            IDS: facts.tokens,
            OFFSETS: facts.documents + 1,
            BYTES: facts.documents,
            LOST: facts.documents,
        }
        arrays = {
            name: _map(folder / name, count, facts.dtype if name == IDS else "int64")
            for name, count in counts.items()
        }
        return cls(folder, facts, arrays[IDS], arrays[OFFSETS], arrays[BYTES], arrays[LOST])


def open_or_build(
    folder: Path, documents: Iterable[Document], tokenizer: Tokenizer, *, corpus: str, split: str
) -> Store:
    """Open the store in `folder`, or build it when there is none for this tokenizer and corpus."""
    if (folder / FACTS).is_file():
        store = Store.open(folder, tokenizer)
        if store.facts.corpus == corpus and store.facts.split == split:
            return store
    with locked(folder.parent):
        return build(folder, documents, tokenizer, corpus=corpus, split=split)


def build(
    folder: Path, documents: Iterable[Document], tokenizer: Tokenizer, *, corpus: str, split: str
) -> Store:
    """Encode documents into a store that is whole or absent; `corpus` is the corpus's fingerprint."""
    dtype = np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32
    sizes: list[int] = []
    document_bytes: list[int] = []
    lost: list[int] = []
    with new_folder(folder) as partial:
        with (partial / IDS).open("wb") as stream:
            for texts in _batches(documents):
                encoded = tokenizer.encode_batch(texts)
                sizes += map(len, encoded)
                document_bytes += [len(text.encode()) for text in texts]
                lost += (
                    [0] * len(texts) if tokenizer.lossless else [tokenizer.lost_bytes(text) for text in texts]
                )
                stream.write(np.fromiter(itertools.chain.from_iterable(encoded), dtype).tobytes())
        offsets = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64)
        for name, values in ((OFFSETS, offsets), (BYTES, document_bytes), (LOST, lost)):
            (partial / name).write_bytes(np.asarray(values, np.int64).tobytes())
        facts = StoreFacts(
            documents=len(sizes),
            tokens=int(offsets[-1]),
            dtype=np.dtype(dtype).name,
            vocab_size=tokenizer.vocab_size,
            tokenizer=tokenizer.fingerprint,
            corpus=corpus,
            split=split,
        )
        write_json(partial / FACTS, to_plain(facts))
    return Store.open(folder, tokenizer)


def _batches(documents: Iterable[Document]) -> Iterator[Sequence[str]]:
    texts: list[str] = []
    characters = 0
    for document in documents:
        texts.append(document.text)
        characters += len(document.text)
        if characters >= _BATCH_CHARACTERS or len(texts) >= _BATCH_DOCUMENTS:
            yield texts
            texts, characters = [], 0
    if texts:
        yield texts


def _facts(folder: Path) -> dict[str, Any]:
    facts = read_json(folder / FACTS)
    if not isinstance(facts, dict):
        raise ValueError(f"expected an object, found {type(facts).__name__}")
    return facts


def _map(file: Path, count: int, dtype: str) -> NDArray[Any]:
    expected = count * np.dtype(dtype).itemsize
    found = file.stat().st_size if file.is_file() else -1
    if found != expected:
        what = "is missing" if found < 0 else f"has {found} bytes, expected {expected}"
        raise ValueError(f"{file}: {what}; the store is torn, remove its folder to build it again")
    if not count:
        return np.zeros(0, dtype)
    return np.memmap(file, dtype, mode="r", shape=(count,))
