"""What a run reads: its tokenizer, and its corpora as token stores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rootlm.core.workers import Workers
from rootlm.data.store import Store, open_or_build
from rootlm.data.texts import TextFeed, TextSource
from rootlm.data.windows import Feed, Loader, Marks, Streams, WindowSource
from rootlm.data.word_table import open_or_build_starts
from rootlm.objectives.contrastive import ContrastiveConfig
from rootlm.objectives.regression import RegressionConfig
from rootlm.runs.recipe import Recipe
from rootlm.text.corpus import Corpus
from rootlm.text.document import Document
from rootlm.tokenizers.tokenizer import Tokenizer
from rootlm.tokenizers.tokenizer_training import train as train_tokenizer
from rootlm.training.trainer import TrainingConfig

_JUDGED_ROWS, _JUDGED_TEXTS = 16, 64


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

    def texts(self, split: str, window: int, recipe: Recipe) -> TextSource:
        """Return a split as whole documents, with what the objective asks of each; raises ValueError without."""
        if len(self.corpora) > 1:
            raise ValueError(
                f"objective.kind={recipe.objective.kind} reads one corpus and the recipe names several; "
                "prepare them as one"
            )
        corpus, objective = self.corpora[0], recipe.objective
        if isinstance(objective, ContrastiveConfig) and objective.positives == "lines":
            first, second = (self.line(corpus, split, number) for number in (0, 1))
            return TextSource(first, self.marks, window, partners=second)
        numbers = None
        if isinstance(objective, RegressionConfig):
            numbers = np.array([_number(document, objective.key) for document in corpus.documents(split)])
        return TextSource(self.store(corpus, split), self.marks, window, numbers=numbers)

    def line(self, corpus: Corpus, split: str, number: int) -> Store:
        """Return one of the two lines of every document as a store; raises ValueError for other documents."""
        folder = corpus.folder / "tokens" / self.tokenizer.fingerprint[:16] / f"{split}-line-{number}"
        documents = (_line(document, number) for document in corpus.documents(split))
        return open_or_build(folder, documents, self.tokenizer, corpus=corpus.fingerprint, split=split)

    def starts(self, corpus: Corpus, split: str) -> NDArray[np.bool_]:
        """Return which tokens of a split begin a word, made once and kept beside its store."""
        store = self.store(corpus, split)
        folder = store.folder.with_name(f"{split}-words")
        return open_or_build_starts(folder, store, corpus.documents(split), self.tokenizer)

    def feed(self, window: int, recipe: Recipe) -> Feed:
        """Return what the training steps of a recipe read."""
        if recipe.objective.reads == "documents":
            training = recipe.training
            return TextFeed(self.texts("train", window, recipe), training.batch_size, training.seed)
        return self.windows(window, recipe.training, words=recipe.objective.needs_words)

    def windows(self, window: int, training: TrainingConfig, *, words: bool = False) -> Feed:
        """Return the training text as windows, `batch_size` in a step, or all of them for gradient descent.

        With `words` the windows say where words begin.
        """
        stores = [self.store(corpus, "train") for corpus in self.corpora]
        in_order = training.carry
        known = [self.starts(corpus, "train") if words else None for corpus in self.corpora]
        sources = [
            WindowSource(store, self.marks, window, training.seed, in_order=in_order, starts=starts)
            for store, starts in zip(stores, known, strict=True)
        ]
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

    def held_out_for(self, recipe: Recipe, split: str, window: int) -> HeldOut:
        """Return documents of a split for the looks at a recipe's training."""
        objective, tokens, seed = recipe.objective, recipe.validation.tokens, recipe.training.seed
        held = self.held_out(split, tokens, seed, words=objective.needs_words)
        if objective.reads != "documents":
            return held
        return replace(held, texts=self.texts(split, window, recipe))

    def held_out(self, split: str, tokens: int, seed: int, *, words: bool = False) -> HeldOut:
        """Return whole documents of a split, drawn once, of about `tokens` tokens."""
        corpora = [corpus for corpus in self.corpora if split in corpus.splits]
        stores = [self.store(corpus, split) for corpus in corpora]
        known = {
            id(s): self.starts(corpus, split) for corpus, s in zip(corpora, stores, strict=True) if words
        }
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
        starts = None
        if words:
            places = [slice(*store.offsets[number : number + 2]) for store, number in chosen]
            pairs = zip(chosen, places, strict=True)
            starts = np.concatenate([known[id(store)][place] for (store, _), place in pairs])
        numbers = np.array([number for _, number in chosen], np.int64)
        return HeldOut(np.concatenate(ids), offsets, sizes, lost, numbers, starts)


@dataclass(frozen=True)
class HeldOut:
    """Documents for validation, in memory, with the raw bytes they came from."""

    ids: NDArray[np.unsignedinteger]
    offsets: NDArray[np.int64]
    bytes: int
    lost_bytes: int
    documents: NDArray[np.int64]
    """Their numbers in their split."""
    starts: NDArray[np.bool_] | None = None
    """Which ids begin a word, where that is known."""
    texts: TextSource | None = None
    """The split they are from, where documents are read whole."""

    def feed(self, marks: Marks, window: int, workers: int) -> Streams | TextFeed:
        """Return the documents as windows, in rows that read on, or whole."""
        if self.texts is not None:
            return TextFeed(self.texts, max(_JUDGED_TEXTS, workers), None, self.documents)
        source = WindowSource(self, marks, window, None, starts=self.starts)
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
    if recipe.objective.needs_mask:
        tokenizer = tokenizer.with_mask()
    material = Material(tokenizer, corpora, [part.weight for part in recipe.parts])

    def build() -> None:
        for corpus in corpora:
            for split in ("train", recipe.validation.split):
                if split is not None and split in corpus.splits:
                    material.store(corpus, split)
                    if recipe.objective.needs_words:
                        material.starts(corpus, split)

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


def _line(document: Document, number: int) -> Document:
    lines = document.text.splitlines()
    if len(lines) != 2:
        raise ValueError(
            f"{document.source}: has {len(lines)} lines, and objective.positives=lines wants two that belong together; "
            "prepare a corpus of such documents"
        )
    return Document(lines[number], document.source)


def _number(document: Document, key: str) -> float:
    value = document.meta.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(
            f"{document.source}: its meta has no number {key!r}; set objective.key to one of "
            f"{', '.join(sorted(map(str, document.meta))) or 'none: the source holds text alone'}"
        )
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"{document.source}: {key} is {value!r}, which is no number") from None


def _train_texts(corpora: Sequence[Corpus]) -> Iterator[str]:
    documents: Iterator[Document] = (document for corpus in corpora for document in corpus.documents("train"))
    return (document.text for document in documents)
