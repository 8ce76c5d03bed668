"""What training and validation read, by the kind of reading that an objective asks for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rootlm.data.pairs import PairFeed, Sides
from rootlm.data.store import Store, open_or_build
from rootlm.data.whole_texts import TextFeed, TextSource
from rootlm.data.windows import Feed, Ids, Loader, Marks, Streams, WindowSource
from rootlm.objectives.contrastive import ContrastiveConfig
from rootlm.objectives.objective import Reads
from rootlm.objectives.regression import RegressionConfig
from rootlm.objectives.sequence_to_sequence import SequenceToSequenceConfig
from rootlm.runs.recipe import Recipe
from rootlm.text.corpus import Corpus
from rootlm.text.document import Document
from rootlm.text.raw.parallel import Names, names_of

if TYPE_CHECKING:
    from rootlm.runs.material import Material

_JUDGED_ROWS, _JUDGED_TEXTS = 16, 64


class Look(Protocol):
    """What one look at held-out text reads, step by step."""

    @property
    def steps(self) -> int: ...
    def step(self, number: int, rank: int = 0, workers: int = 1) -> Any: ...


class HeldOut(Protocol):
    """Held-out text, drawn once."""

    def look(self, workers: int) -> tuple[Look, int | None]:
        """Return what to read, and how many rows of it read on from step to step, if they do."""
        ...

    def on_scale(self, found: Mapping[str, float]) -> dict[str, float]:
        """Return what a look has found, with bits per byte where they follow from it."""
        ...


class Reader(Protocol):
    """Makes what an objective reads."""

    @property
    def shapes_stay(self) -> bool:
        """Whether every step has rows of one length, so that compiled parts are made for it once."""
        ...

    def build(self, material: Material, recipe: Recipe, corpus: Corpus, split: str) -> None:
        """Make what is kept beside a corpus for all runs with this tokenizer."""
        ...

    def feed(self, material: Material, recipe: Recipe, window: int) -> Feed:
        """Return what the training steps read."""
        ...

    def held_out(self, material: Material, recipe: Recipe, split: str, window: int) -> HeldOut:
        """Return part of a split for validation, drawn once."""
        ...

    def remark(self, material: Material, recipe: Recipe, window: int) -> str | None:
        """Return what a person must know of what is read."""
        ...


class ReadsWindows:
    """Documents laid end to end and cut into windows, which say where words begin if that is wanted."""

    shapes_stay = True

    def build(self, material: Material, recipe: Recipe, corpus: Corpus, split: str) -> None:
        material.store(corpus, split)
        if recipe.objective.needs_words:
            material.starts(corpus, split)

    def remark(self, material: Material, recipe: Recipe, window: int) -> str | None:
        return None

    def feed(self, material: Material, recipe: Recipe, window: int) -> Feed:
        """Return windows, `batch_size` in a step, or all of them for gradient descent."""
        training = recipe.training
        stores = [material.store(corpus, "train") for corpus in material.corpora]
        how = recipe.augment
        sources = [
            WindowSource(
                store,
                material.marks,
                window,
                training.seed,
                in_order=training.carry,
                starts=_starts(material, recipe, corpus, "train"),
                anew=None if how is None else material.renewed(corpus, how),
            )
            for store, corpus in zip(stores, material.corpora, strict=True)
        ]
        rows = training.batch_size
        if training.optimizer.kind == "gradient_descent":
            rows = sum(source.per_epoch for source in sources)
        if not training.carry:
            return Loader(sources, material.weights, rows, training.seed)
        if len(sources) > 1:
            raise ValueError(
                "training.carry reads one corpus from row to row and the recipe names several; "
                "prepare them as one corpus, or set training.carry=false"
            )
        return Streams(sources[0], rows)

    def held_out(self, material: Material, recipe: Recipe, split: str, window: int) -> HeldOut:
        """Return whole documents of about `validation.tokens` tokens."""
        corpora = [corpus for corpus in material.corpora if split in corpus.splits]
        stores = [material.store(corpus, split) for corpus in corpora]
        parts = [(store, number) for store in stores for number in range(store.documents)]
        sizes = [len(store[number]) + 1 for store, number in parts]
        drawn = _drawn(sizes, recipe)
        chosen = [parts[index] for index in drawn]
        ids = [np.asarray(store[number]) for store, number in chosen]
        offsets = np.cumsum([0, *map(len, ids)], dtype=np.int64)
        raw = sum(int(store.document_bytes[number]) for store, number in chosen)
        lost = sum(int(store.lost_bytes[number]) for store, number in chosen)
        starts = None
        if recipe.objective.needs_words:
            every = np.concatenate([material.starts(corpus, split) for corpus in corpora])
            ends = np.cumsum([size - 1 for size in sizes])
            begins = ends - np.array([size - 1 for size in sizes])
            starts = np.concatenate([every[begins[index] : ends[index]] for index in drawn])
        held = np.concatenate(ids)
        return HeldOutWindows(held, offsets, raw, lost, material.marks, window, starts)


@dataclass(frozen=True)
class HeldOutWindows:
    """Documents for validation, in memory, with the raw bytes they came from."""

    ids: NDArray[np.unsignedinteger]
    offsets: NDArray[np.int64]
    bytes: int
    lost_bytes: int
    marks: Marks
    window: int
    starts: NDArray[np.bool_] | None = None
    """Which ids begin a word, where that is known."""

    def look(self, workers: int) -> tuple[Streams, int | None]:
        """Return the documents as windows, in rows that read on."""
        source = WindowSource(self, self.marks, self.window, None, starts=self.starts)
        streams = Streams(source, max(min(_JUDGED_ROWS, source.per_epoch), workers))
        return streams, streams.rows

    def on_scale(self, found: Mapping[str, float]) -> dict[str, float]:
        """Return bits per raw byte beside what was found, 8 for each that the tokenizer lost."""
        nats = found["loss"] * (len(self.ids) + len(self.offsets) - 1)
        bits = nats / math.log(2) + 8 * self.lost_bytes
        return {"bits_per_byte": bits / self.bytes, **found}


class ReadsPairs:
    """Sources and targets, in batches of like length."""

    shapes_stay = False

    def build(self, material: Material, recipe: Recipe, corpus: Corpus, split: str) -> None:
        source, target = ways(recipe, corpus)[0]
        material.store(corpus, split, source, is_source=True)
        material.store(corpus, split, target)
        if recipe.objective.needs_links and split == "train":
            material.links(corpus, split, *ways(recipe, corpus)[0])

    def feed(self, material: Material, recipe: Recipe, window: int) -> Feed:
        """Return batches of at most `batch_tokens` places."""
        training = recipe.training
        if training.carry:
            raise ValueError("training.carry reads on from row to row, and pairs do not; set it to false")
        kinds = [sides for sides, _ in self._kinds(material, recipe, "train")]
        tokens = training.batch_tokens
        if training.optimizer.kind == "gradient_descent":
            tokens = 2**62
        return PairFeed(kinds, tokens, training.seed)

    def held_out(self, material: Material, recipe: Recipe, split: str, window: int) -> HeldOut:
        """Return whole pairs of about `validation.tokens` tokens, both sides counted, in each direction."""
        kinds = []
        for sides, _ in self._kinds(material, recipe, split):
            sizes = np.add(*sides.sizes())
            kinds.append(sides.only(np.array(_drawn(sizes.tolist(), recipe), np.int64)))
        return HeldOutPairs(kinds, recipe.training.batch_tokens)

    def remark(self, material: Material, recipe: Recipe, window: int) -> str | None:
        left_out = sum(count for _, count in self._kinds(material, recipe, "train"))
        return f"{left_out:,} pairs are longer than the model's context; left out" if left_out else None

    def _kinds(self, material: Material, recipe: Recipe, split: str) -> list[tuple[Sides, int]]:
        """Return the pairs of a split in each direction asked for, and how many were too long for it."""
        if len(material.corpora) != 1:
            raise ValueError(
                "corpus: pairs are read from one corpus; prepare several as one, with several sources"
            )
        (corpus,) = material.corpora
        return [
            _short_enough(
                _sides(material, recipe, corpus, (split, one, other)),
                recipe,
                f"{corpus.folder}, {split}",
            )
            for one, other in ways(recipe, corpus)
        ]


@dataclass(frozen=True)
class HeldOutPairs:
    """Pairs for validation."""

    kinds: list[Sides]
    batch_tokens: int

    def look(self, workers: int) -> tuple[PairFeed, int | None]:
        """Return the pairs, in order of length."""
        return PairFeed(self.kinds, self.batch_tokens, None), None

    def on_scale(self, found: Mapping[str, float]) -> dict[str, float]:
        """Return what was found: a source tells part of its target, so there are no bits for its bytes alone."""
        return dict(found)


class ReadsDocuments:
    """Whole documents, one a row, each with its partner or its number where the objective asks for one."""

    shapes_stay = False

    def build(self, material: Material, recipe: Recipe, corpus: Corpus, split: str) -> None:
        material.store(corpus, split)

    def remark(self, material: Material, recipe: Recipe, window: int) -> str | None:
        return None

    def feed(self, material: Material, recipe: Recipe, window: int) -> Feed:
        """Return `batch_size` documents in a step."""
        training = recipe.training
        if training.carry:
            raise ValueError(
                "training.carry reads on from row to row, and whole documents do not; set it to false"
            )
        return TextFeed(_texts(material, recipe, "train", window), training.batch_size, training.seed)

    def held_out(self, material: Material, recipe: Recipe, split: str, window: int) -> HeldOut:
        """Return whole documents of about `validation.tokens` tokens."""
        texts = _texts(material, recipe, split, window)
        sizes = (np.diff(texts.store.offsets) + 1).tolist()
        return HeldOutDocuments(texts, np.array(_drawn(sizes, recipe), np.int64))


@dataclass(frozen=True)
class HeldOutDocuments:
    """Documents for validation, by their numbers."""

    texts: TextSource
    chosen: Ids

    def look(self, workers: int) -> tuple[TextFeed, int | None]:
        """Return the documents, each once."""
        return TextFeed(self.texts, max(_JUDGED_TEXTS, workers), None, self.chosen), None

    def on_scale(self, found: Mapping[str, float]) -> dict[str, float]:
        """Return what was found: nothing of it is about bytes."""
        return dict(found)


READERS: Mapping[Reads, Reader] = {
    "windows": ReadsWindows(),
    "documents": ReadsDocuments(),
    "pairs": ReadsPairs(),
}
"""What makes each kind of reading."""


def _names(corpus: Corpus) -> Names:
    for split in corpus.splits:
        for document in itertools.islice(corpus.documents(split), 1):
            return names_of(document)
    raise ValueError(f"{corpus.folder}: holds no document; prepare it again with more text")


def ways(recipe: Recipe, corpus: Corpus) -> list[Names]:
    """Return from which side to which the pairs of a corpus are read.

    Raises ValueError for sides that the corpus does not have, and where no text is a source alone.
    """
    asked = recipe.objective
    if recipe.source_tokenizer is not None and getattr(asked, "both_ways", True):
        raise ValueError(
            "source_tokenizer: needs texts that are read and never written; set objective.kind=sequence_to_sequence "
            "with both_ways=false, or leave source_tokenizer out"
        )
    assert isinstance(asked, SequenceToSequenceConfig)
    names = _names(corpus)
    source, target = asked.direction or names
    if {source, target} != set(names):
        raise ValueError(
            f"{corpus.folder}: holds pairs of {names[0]} and {names[1]}, not of {source} and {target}; "
            f"set objective.direction=[{names[0]},{names[1]}]"
        )
    return [(source, target), (target, source)] if asked.both_ways else [(source, target)]


def _sides(material: Material, recipe: Recipe, corpus: Corpus, where: tuple[str, str, str]) -> Sides:
    """Return the pairs of a split, from one side to the other; those to learn from with the links of their words."""
    split, one, other = where
    linked = recipe.objective.needs_links and split == "train"
    return Sides(
        material.store(corpus, split, one, is_source=True),
        material.store(corpus, split, other),
        material.source_marks,
        material.marks,
        material.links(corpus, split, one, other) if linked else None,
    )


def _short_enough(sides: Sides, recipe: Recipe, place: str) -> tuple[Sides, int]:
    reach, asked = recipe.model.reach, recipe.objective
    assert isinstance(asked, SequenceToSequenceConfig)
    if reach is None:
        return sides, 0
    sources, targets = sides.sizes()
    fits: Ids = np.flatnonzero((sources <= reach) & (targets <= reach))
    if len(fits) == len(sources):
        return sides, 0
    if asked.on_long == "stop":
        longest = int(max(sources.max(), targets.max()))
        raise ValueError(
            f"{place}: {len(sources) - len(fits):,} of {len(sources):,} pairs are longer than the model's context of "
            f"{reach} tokens, the longest has {longest:,}; set model.context={longest}, or objective.on_long=skip "
            "to leave them out"
        )
    return sides.only(fits), len(sources) - len(fits)


def _drawn(sizes: Sequence[int], recipe: Recipe) -> list[int]:
    """Return what is drawn, once, of things of these sizes, until there are `validation.tokens` in it."""
    order = np.random.default_rng([recipe.training.seed, 2]).permutation(len(sizes))
    before = np.cumsum(np.array(sizes)[order]) - np.array(sizes)[order]
    return [int(index) for index in order[before < recipe.validation.tokens]]


def _starts(material: Material, recipe: Recipe, corpus: Corpus, split: str) -> NDArray[np.bool_] | None:
    return material.starts(corpus, split) if recipe.objective.needs_words else None


def _texts(material: Material, recipe: Recipe, split: str, window: int) -> TextSource:
    """Return a split as whole documents, with what the objective asks of each; raises ValueError without."""
    if len(material.corpora) > 1:
        raise ValueError(
            f"objective.kind={recipe.objective.kind} reads one corpus and the recipe names several; "
            "prepare them as one"
        )
    corpus, objective = material.corpora[0], recipe.objective
    if isinstance(objective, ContrastiveConfig) and objective.positives == "lines":
        first, second = (_line_store(material, corpus, split, number) for number in (0, 1))
        return TextSource(first, material.marks, window, partners=second)
    numbers = None
    if isinstance(objective, RegressionConfig):
        numbers = np.array([_number(document, objective.key) for document in corpus.documents(split)])
    return TextSource(material.store(corpus, split), material.marks, window, numbers=numbers)


def _line_store(material: Material, corpus: Corpus, split: str, number: int) -> Store:
    """Return one of the two lines of every document as a store; raises ValueError for other documents."""
    name = f"{split}-line-{number}"
    folder = corpus.folder / "tokens" / material.tokenizer.fingerprint[:16] / name
    documents = (_line(document, number) for document in corpus.documents(split))
    return open_or_build(folder, documents, material.tokenizer, corpus=corpus.fingerprint, split=name)


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
