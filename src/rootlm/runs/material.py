"""What a run reads: its tokenizer, and its corpora as token stores."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from rootlm.core.workers import Workers
from rootlm.data.alignment import open_or_align
from rootlm.data.store import Store, open_or_build
from rootlm.data.windows import Marks
from rootlm.data.word_table import open_or_build_starts
from rootlm.models.encoder_config import EncoderConfig
from rootlm.models.interface import LanguageModel
from rootlm.runs.feeds import READERS
from rootlm.runs.opened_tokenizer import source_tokenizer_of, tokenizer_of
from rootlm.runs.pair_reading import ways
from rootlm.runs.recipe import Recipe
from rootlm.text.augmentation.each_epoch import EachEpoch
from rootlm.text.corpus import Corpus
from rootlm.text.document import Document
from rootlm.text.folds import Fold
from rootlm.text.raw.parallel import sides_of, texts_of
from rootlm.tokenizers.tokenizer import SOURCE_TOKENIZER, Tokenizer
from rootlm.tokenizers.tokenizer_training import TrainTokenizer
from rootlm.tokenizers.tokenizer_training import train as train_tokenizer
from rootlm.training.fitters import fitter


@dataclass(frozen=True)
class Material:
    """A tokenizer with the corpora it reads."""

    tokenizer: Tokenizer
    corpora: Sequence[Corpus]
    weights: Sequence[float]
    source_tokenizer: Tokenizer | None = None
    """What reads the sources of pairs, where that is another one."""

    @property
    def reader(self) -> Tokenizer:
        """What reads the sources of pairs."""
        return self.source_tokenizer or self.tokenizer

    @property
    def marks(self) -> Marks:
        """The ids around a document."""
        return Marks(self.tokenizer.bos_id, self.tokenizer.eos_id)

    def marks_for(self, recipe: Recipe) -> Marks:
        """Return the marks that a model reads: an encoder both, where its tokenizer sets both around a text."""
        both = isinstance(recipe.model, EncoderConfig) and self.tokenizer.frame[1] == [self.marks.eos_id]
        return replace(self.marks, closes=both)

    @property
    def source_marks(self) -> Marks:
        """The ids around a source."""
        return Marks(self.reader.bos_id, self.reader.eos_id)

    def store(self, corpus: Corpus, split: str, part: str | None = None, *, is_source: bool = False) -> Store:
        """Return a split as ids, made once and kept beside the corpus for every run with this tokenizer.

        `part` is the side of pairs that is wanted, and `is_source` says whether it is read as a source; None is the
        whole documents.
        """
        tokenizer = self.reader if is_source else self.tokenizer
        name = split if part is None else f"{split}.{part}"
        folder = corpus.folder / "tokens" / tokenizer.fingerprint[:16] / corpus.variant / name
        documents = corpus.documents(split)
        if part is not None:
            documents = (Document(sides_of(one)[part], one.source) for one in documents)
        return open_or_build(folder, documents, tokenizer, corpus=corpus.fingerprint, split=name)

    def starts(self, corpus: Corpus, split: str) -> NDArray[np.bool_]:
        """Return which tokens of a split begin a word, made once and kept beside its store."""
        store = self.store(corpus, split)
        folder = store.folder.with_name(f"{split}-words")
        return open_or_build_starts(folder, store, corpus.documents(split), self.tokenizer)

    def links(self, corpus: Corpus, split: str, one: str, other: str) -> NDArray[np.int64]:
        """Return which place of source `one` each token of `other` says again, made once and kept beside them."""
        first, second = sorted((one, other))
        sides = [self.store(corpus, split, name, is_source=name == one) for name in (first, second)]
        # With a tokenizer for each side the places depend on both.
        apart = (
            f"-{self.reader.fingerprint[:8]}-{self.tokenizer.fingerprint[:8]}"
            if self.source_tokenizer
            else ""
        )
        links = open_or_align(sides[0].folder.with_name(f"{split}.{first}.{second}{apart}-links"), *sides)
        return links.of_targets if other == second else links.of_sources

    def renewed(self, corpus: Corpus, how: EachEpoch) -> Callable[[int], Store]:
        """Return what gives the training split as ids for an epoch, its documents changed anew.

        An epoch's ids lie beside the corpus until the epoch after the next; all are gone when the run ends.
        """
        renew, kept = how.build(), corpus.folder / "tokens"
        kept.mkdir(exist_ok=True)
        place = TemporaryDirectory(prefix="epochs-", dir=kept)

        def store(epoch: int) -> Store:
            shutil.rmtree(Path(place.name) / str(epoch - 2), ignore_errors=True)
            documents = renew(corpus.documents("train"), epoch)
            name = f"train, epoch {epoch}"
            return open_or_build(
                Path(place.name) / str(epoch),
                documents,
                self.tokenizer,
                corpus=corpus.fingerprint,
                split=name,
            )

        return store

    def bytes_per_token(self) -> float:
        """Return raw bytes per predicted token of the training text, document ends counted as tokens."""
        stores = [self.store(corpus, "train") for corpus in self.corpora]
        size = sum(
            w * int(s.document_bytes.sum()) / (s.tokens + s.documents)
            for w, s in zip(self.weights, stores, strict=True)
        )
        return size / sum(self.weights)


def gather(recipe: Recipe, folder: Path, workers: Workers, origin: Path | None = None) -> Material:
    """Open the corpora and open, or train, the tokenizers; those of the run `origin` win over the recipe's.

    Raises ValueError naming a folder that holds no corpus, a corpus that lacks a split, or no tokenizer.
    """
    _check_augment(recipe)
    corpora = [Corpus.open(Path(part.path)) for part in recipe.parts]
    if recipe.fold is not None:
        corpora = [Fold(corpus, recipe.fold) for corpus in corpora]
    _check_splits(corpora, recipe.validation.split)
    apart = recipe.source_tokenizer is not None
    if origin is not None:
        tokenizer = tokenizer_of(origin)
        source_tokenizer = source_tokenizer_of(origin)
        if apart and source_tokenizer is None:
            raise ValueError(
                f"source_tokenizer: {origin} reads both sides with one tokenizer; leave source_tokenizer out"
            )
    else:
        source, target = ways(recipe, corpora[0])[0] if apart else (None, None)
        tokenizer = _tokenizer(recipe.tokenizer, train_texts(corpora, target), folder / "tokenizer", workers)
        source_tokenizer = None
        if recipe.source_tokenizer is not None:
            texts = train_texts(corpora, source)
            source_tokenizer = _tokenizer(recipe.source_tokenizer, texts, folder / SOURCE_TOKENIZER, workers)
    tokenizer = tokenizer.with_special(recipe.objective.special_tokens)
    if recipe.objective.needs_mask:
        tokenizer = tokenizer.with_mask()
    if recipe.objective.asks is LanguageModel and tokenizer.begins != [tokenizer.bos_id]:
        # Documents are learned with their begin mark; prompts then have one, whatever its first owner did.
        tokenizer = tokenizer.with_begin(marked=True)
    reader = READERS[recipe.objective.reads]
    material = Material(tokenizer, corpora, [part.weight for part in recipe.parts], source_tokenizer)

    def build() -> None:
        for corpus in corpora:
            for split in ("train", recipe.validation.split):
                if split is not None and split in corpus.splits:
                    reader.build(material, recipe, corpus, split)

    workers.first_does(build)
    return material


def _tokenizer(asked: str | TrainTokenizer, texts: Iterator[str], kept: Path, workers: Workers) -> Tokenizer:
    """Open a tokenizer, or train it on texts and keep it in a folder."""
    if isinstance(asked, str):
        return Tokenizer.load(Path(asked))
    if not workers.agree((kept / "tokenizer.json").exists()):
        workers.first_does(lambda: train_tokenizer(asked, texts).save(kept))
    return Tokenizer.load(kept)


def _check_augment(recipe: Recipe) -> None:
    if recipe.augment is None:
        return
    if fitter(recipe.model) is not None:
        raise ValueError(
            f"augment: a {recipe.model.kind} reads the text once, so no epoch follows that could change it; "
            "set augment.copies when the corpus is prepared"
        )
    if recipe.objective.reads != "windows" or recipe.objective.needs_words:
        raise ValueError(
            f"augment: objective.kind {recipe.objective.kind} reads texts as they are; leave augment out"
        )


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


def train_texts(corpora: Sequence[Corpus], side: str | None = None) -> Iterator[str]:
    """Yield every text of the training splits; a pair is two, or the one on a side."""
    documents: Iterator[Document] = (document for corpus in corpora for document in corpus.documents("train"))
    if side is not None:
        return (sides_of(document)[side] for document in documents)
    return (text for document in documents for text in texts_of(document))
