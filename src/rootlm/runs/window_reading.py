"""Reading documents laid end to end and cut into windows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rootlm.data.windows import Feed, Loader, Marks, Streams, WindowSource
from rootlm.runs.reader import HeldOut, draw
from rootlm.runs.recipe import Recipe
from rootlm.text.corpus import Corpus

if TYPE_CHECKING:
    from rootlm.runs.material import Material

_JUDGED_ROWS = 16


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
                material.marks_for(recipe),
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
        drawn = draw(sizes, recipe)
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
        return HeldOutWindows(held, offsets, raw, lost, material.marks_for(recipe), window, starts)


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


def _starts(material: Material, recipe: Recipe, corpus: Corpus, split: str) -> NDArray[np.bool_] | None:
    return material.starts(corpus, split) if recipe.objective.needs_words else None
