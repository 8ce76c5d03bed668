"""Whole documents, one a row, each with its partner or its number where it has one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rootlm.data.windows import Ids, Marks, Tokens, dealt


class Texts(NamedTuple):
    """Rows of begin mark + ids, right-padded with end marks; what does not fit a row is cut off.

    `tokens` (rows, time) and `lengths` (rows,) are int64, so is `documents` (rows,), the document of each row.
    `partners` are the texts that belong to them, `numbers` (rows,) what is said of them, float64.
    """

    tokens: Ids
    lengths: Ids
    documents: Ids
    partners: tuple[Ids, Ids] | None = None
    numbers: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class TextSource:
    """Documents, with a second store whose document n belongs to document n, or with a number for each."""

    store: Tokens
    marks: Marks
    context: int
    partners: Tokens | None = None
    numbers: NDArray[np.float64] | None = None

    @property
    def documents(self) -> int:
        """How many documents there are."""
        return len(self.store.offsets) - 1

    def lay(self, documents: Ids) -> Texts:
        """Return the documents of these numbers as rows."""
        tokens, lengths = self._rows(self.store, documents)
        partners = None if self.partners is None else self._rows(self.partners, documents)
        numbers = None if self.numbers is None else self.numbers[documents]
        return Texts(tokens, lengths, documents, partners, numbers)

    def _rows(self, store: Tokens, documents: Ids) -> tuple[Ids, Ids]:
        firsts, ends = store.offsets[documents], store.offsets[documents + 1]
        lengths = np.minimum(ends - firsts + self.marks.read, self.context).astype(np.int64)
        tokens = np.full((len(documents), int(lengths.max(initial=1))), self.marks.eos_id, np.int64)
        tokens[:, 0] = self.marks.bos_id
        for row, (first, length) in enumerate(zip(firsts.tolist(), lengths.tolist(), strict=True)):
            # Behind them stands the end mark already, which is read where texts are closed.
            held = length - self.marks.read
            tokens[row, 1 : 1 + held] = store.ids[first : first + held]
        return tokens, lengths


class TextFeed:
    """`rows` documents a step, shuffled anew each epoch; without a seed each is read once, in order."""

    def __init__(self, source: TextSource, rows: int, seed: int | None, chosen: Ids | None = None) -> None:
        self.source, self.rows, self.seed = source, rows, seed
        self.chosen = np.arange(source.documents, dtype=np.int64) if chosen is None else chosen
        if not len(self.chosen):
            raise ValueError("there are no documents to train on; prepare a corpus with text in it")
        self.steps = -(-len(self.chosen) // rows)
        self._held: tuple[int, Ids] | None = None

    @property
    def places_per_step(self) -> int:
        """Places in one step's rows, on the average."""
        sizes = np.diff(self.source.store.offsets)[self.chosen] + self.source.marks.read
        return max(1, round(float(np.minimum(sizes, self.source.context).mean()) * self.rows))

    @property
    def steps_per_epoch(self) -> float:
        """Steps in which every document was seen once."""
        return len(self.chosen) / self.rows

    def step(self, number: int, rank: int = 0, workers: int = 1) -> Texts:
        """Return the rows of step `number` that belong to worker `rank` of `workers`."""
        places = number * self.rows + np.arange(self.rows)
        if self.seed is None:
            places = places[places < len(self.chosen)]
        mine = places[list(dealt(len(places), rank, workers))]
        return self.source.lay(np.array([self._document(place) for place in mine.tolist()], np.int64))

    def _document(self, place: int) -> int:
        epoch, within = divmod(place, len(self.chosen))
        return int(self._order(epoch)[within])

    def _order(self, epoch: int) -> Ids:
        if self.seed is None:
            return self.chosen
        if self._held is None or self._held[0] != epoch:
            generator = np.random.default_rng([self.seed, epoch, 4])
            self._held = (epoch, generator.permutation(self.chosen))
        return self._held[1]
