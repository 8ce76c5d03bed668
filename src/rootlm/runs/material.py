"""What a run reads: its tokenizer, and its corpora as token stores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rootlm.core.workers import Workers
from rootlm.data.store import Store, open_or_build
from rootlm.data.windows import Feed, Loader, Marks, Streams, WindowSource
from rootlm.runs.recipe import Recipe
from rootlm.text.corpus import Corpus
from rootlm.text.document import Document
from rootlm.tokenizers.tokenizer import Tokenizer
from rootlm.tokenizers.tokenizer_training import train as train_tokenizer
from rootlm.training.trainer import TrainingConfig

_JUDGED_ROWS = 16


@dataclass(frozen=True)
class Material:
    """A tokenizer with the corpora it reads."""

    tokenizer: Tokenizer
    corpora: Sequence[Corpus]
    weights: Sequence[float]

    @property
    def marks(self) -> Marks:
        """The ids around a document."""
        return Marks(self.tokenizer.bos_id, self.tokenizer.eos_id)

    def store(self, corpus: Corpus, split: str) -> Store:
        """Return a split as ids, made once and kept beside the corpus for every run with this tokenizer."""
        folder = corpus.folder / "tokens" / self.tokenizer.fingerprint[:16] / split
        documents = corpus.documents(split)
        return open_or_build(folder, documents, self.tokenizer, corpus=corpus.fingerprint, split=split)

    def windows(self, window: int, training: TrainingConfig) -> Feed:
        """Return the training text as windows, `batch_size` in a step, or all of them for gradient descent."""
        stores = [self.store(corpus, "train") for corpus in self.corpora]
        in_order = training.carry
        sources = [WindowSource(s, self.marks, window, training.seed, in_order=in_order) for s in stores]
        rows = training.batch_size
        if training.optimizer.kind == "gradient_descent":
            rows = sum(source.per_epoch for source in sources)
        if not training.carry:
            return Loader(sources, self.weights, rows, training.seed)
        if len(sources) > 1:
            raise ValueError(
                "training.carry reads one corpus from row to row and the recipe names several; "
                "prepare them as one corpus, or set training.carry=false"
            )
        return Streams(sources[0], rows)

    def bytes_per_token(self) -> float:
        """Return raw bytes per predicted token of the training text, document ends counted as tokens."""
        stores = [self.store(corpus, "train") for corpus in self.corpora]
        size = sum(
            w * int(s.document_bytes.sum()) / (s.tokens + s.documents)
            for w, s in zip(self.weights, stores, strict=True)
        )
        return size / sum(self.weights)

    def held_out(self, split: str, tokens: int, seed: int) -> HeldOut:
        """Return whole documents of a split, drawn once, of about `tokens` tokens."""
        stores = [self.store(corpus, split) for corpus in self.corpora if split in corpus.splits]
        parts = [(store, number) for store in stores for number in range(store.documents)]
        order = np.random.default_rng([seed, 2]).permutation(len(parts))
        chosen: list[tuple[Store, int]] = []
        left = tokens
        for index in order:
            store, number = parts[index]
            left -= len(store[number]) + 1
            chosen.append((store, number))
            if left <= 0:
                break
        ids = [np.asarray(store[number]) for store, number in chosen]
        offsets = np.cumsum([0, *map(len, ids)], dtype=np.int64)
        sizes = sum(int(store.document_bytes[number]) for store, number in chosen)
        lost = sum(int(store.lost_bytes[number]) for store, number in chosen)
        return HeldOut(np.concatenate(ids), offsets, sizes, lost)


@dataclass(frozen=True)
class HeldOut:
    """Documents for validation, in memory, with the raw bytes they came from."""

    ids: NDArray[np.unsignedinteger]
    offsets: NDArray[np.int64]
    bytes: int
    lost_bytes: int

    def windows(self, marks: Marks, window: int, workers: int) -> Streams:
        """Return the documents as windows, in rows that read on."""
        source = WindowSource(self, marks, window, None)
        return Streams(source, max(min(_JUDGED_ROWS, source.per_epoch), workers))


def gather(recipe: Recipe, folder: Path, workers: Workers, tokenizer: Tokenizer | None = None) -> Material:
    """Open the corpora and open, or train, the tokenizer; `tokenizer` wins over the recipe's.

    Raises ValueError naming a folder that holds no corpus, a corpus that lacks a split, or no tokenizer.
    """
    corpora = [Corpus.open(Path(part.path)) for part in recipe.parts]
    _check_splits(corpora, recipe.validation.split)
    kept = folder / "tokenizer"
    if tokenizer is None and isinstance(recipe.tokenizer, str):
        tokenizer = Tokenizer.load(Path(recipe.tokenizer))
    if tokenizer is None:

        def make() -> None:
            assert not isinstance(recipe.tokenizer, str)
            train_tokenizer(recipe.tokenizer, _train_texts(corpora)).save(kept)

        if not workers.agree((kept / "tokenizer.json").exists()):
            workers.first_does(make)
        tokenizer = Tokenizer.load(kept)
    material = Material(tokenizer, corpora, [part.weight for part in recipe.parts])

    def build() -> None:
        for corpus in corpora:
            for split in ("train", recipe.validation.split):
                if split is not None and split in corpus.splits:
                    material.store(corpus, split)

    workers.first_does(build)
    return material


def _check_splits(corpora: Sequence[Corpus], looked_at: str | None) -> None:
    for corpus in corpora:
        if not _holds(corpus, "train"):
            raise ValueError(
                f"{corpus.folder}: has no documents to train on; prepare it again with more text"
            )
    if looked_at is not None and not any(_holds(corpus, looked_at) for corpus in corpora):
        folders = ", ".join(str(corpus.folder) for corpus in corpora)
        known = ", ".join(split for split in corpora[0].splits if _holds(corpora[0], split))
        raise ValueError(
            f"{folders}: has no split {looked_at}, only {known}; prepare it again with more text, "
            "or set validation.split=null to train without validation"
        )


def _holds(corpus: Corpus, split: str) -> bool:
    return split in corpus.splits and corpus.counts(split).documents > 0


def _train_texts(corpora: Sequence[Corpus]) -> Iterator[str]:
    documents: Iterator[Document] = (document for corpus in corpora for document in corpus.documents("train"))
    return (document.text for document in documents)
