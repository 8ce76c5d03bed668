"""Pairs of texts in batches of like length: a batch holds a bounded number of tokens, and any step is had at once."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from rootlm.data.subword_dropout import SubwordDropout
from rootlm.data.windows import PADDING, Ids, Marks, Tokens, dealt

_GRAIN = 4


class Pairs(NamedTuple):
    """Sources and targets of some pairs, right-padded; all int64.

    A source (rows, places) is its ids + end mark, `source_lengths` (rows,) says how many are real. A target is
    read as begin mark + ids and predicts ids + end mark, both (rows, time); `targets` is `PADDING` after it.
    `documents` names the pair of every row. `links` (rows, time) is the place of the source that each asked token
    says again, negative where none is known.
    """

    sources: Ids
    source_lengths: Ids
    tokens: Ids
    targets: Ids
    documents: Ids
    links: Ids


class Sides(NamedTuple):
    """Two token stores whose document n says the same, and the marks of each.

    `links` says for every id of the target which place of its source it says again, negative where none is known.
    `dropout` takes tokens of each side apart where pairs are laid with a seed.
    """

    source: Tokens
    target: Tokens
    source_marks: Marks
    target_marks: Marks
    links: Ids | None = None
    dropout: tuple[SubwordDropout, SubwordDropout] | None = None

    def sizes(self) -> tuple[Ids, Ids]:
        """Return how many places each source and each target takes, a mark included."""
        sizes = [np.diff(store.offsets).astype(np.int64) + 1 for store in (self.source, self.target)]
        return sizes[0], sizes[1]

    def only(self, documents: Ids) -> Self:
        """Return some of the pairs, in that order."""
        held = None if self.links is None else Chosen(Linked(self.links, self.target.offsets), documents).ids
        source, target = Chosen(self.source, documents), Chosen(self.target, documents)
        return self._replace(source=source, target=target, links=held)

    def lay(self, documents: Ids, seed: tuple[int, ...] | None = None) -> Pairs:
        """Return pairs side by side, padded to the longest; with a seed as `dropout` spells them then."""
        rows = [self._row(number, seed) for number in documents.tolist()]
        lengths = np.array([len(row.source) + 1 for row in rows], np.int64)
        end, begin, stop = self.source_marks.eos_id, self.target_marks.bos_id, self.target_marks.eos_id
        read = np.full((len(documents), max(lengths, default=0)), end, np.int64)
        time = max((len(row.target) + 1 for row in rows), default=0)
        tokens = np.full((len(documents), time), stop, np.int64)
        asked = np.full((len(documents), time), PADDING, np.int64)
        links = np.full_like(asked, PADDING)
        for place, (source, target, linked) in enumerate(rows):
            read[place, : len(source)] = source
            tokens[place, 0], tokens[place, 1 : len(target) + 1] = begin, target
            asked[place, : len(target)], asked[place, len(target)] = target, stop
            if linked is not None:
                links[place, : len(target)], links[place, len(target)] = linked, len(source)
        return Pairs(read, lengths, tokens, asked, documents, links)

    def _row(self, number: int, seed: tuple[int, ...] | None) -> _Row:
        source, target = _ids(self.source, number), _ids(self.target, number)
        links = None if self.links is None else _ids(Linked(self.links, self.target.offsets), number)
        if self.dropout is None or seed is None:
            return _Row(source, target, links)
        # The draws follow from the pair, so that it does not matter which worker lays it.
        draws = np.random.default_rng([*seed, number, 4])
        (source, one), (target, other) = (
            dropout.apply(ids.astype(np.int64), draws)
            for dropout, ids in zip(self.dropout, (source, target), strict=True)
        )
        if links is not None:
            begins = np.cumsum([0, *one])
            links = np.repeat(np.where(links < 0, links, begins[links]), other)
        return _Row(source, target, links)


class _Row(NamedTuple):
    """The ids of one pair, and the place of the source that each of the target says again."""

    source: NDArray[Any]
    target: NDArray[Any]
    links: NDArray[Any] | None


class Linked(NamedTuple):
    """Numbers of every id of a token store, where its ids would be."""

    ids: Ids
    offsets: Ids


class Chosen:
    """Some documents of a token store."""

    def __init__(self, store: Tokens | Linked, documents: Ids) -> None:
        parts = [_ids(store, number) for number in documents.tolist()]
        self.ids: NDArray[Any] = np.concatenate([*parts, np.empty(0, store.ids.dtype)])
        self.offsets: Ids = np.cumsum([0, *map(len, parts)], dtype=np.int64)


class PairFeed:
    """Batches of pairs of like length, each of at most `batch_tokens` places, both sides and padding counted.

    Pairs are ordered by length, target first, rounded up to fours; pairs that are alike are shuffled anew each epoch,
    and so are the batches. The ordered lengths are the same in every epoch and so are the batches' borders: step s
    follows from the seed alone. Without a seed nothing is shuffled. Of several kinds of pairs (two directions, say),
    each batch holds one.
    """

    def __init__(self, kinds: list[Sides], batch_tokens: int, seed: int | None) -> None:
        self.kinds, self.seed = kinds, seed
        self._plans = [_Plan(*sides.sizes(), batch_tokens) for sides in kinds]
        self.steps = sum(len(plan.borders) - 1 for plan in self._plans)
        if not self.steps:
            raise ValueError("there are no pairs to train on; prepare a corpus with pairs in it")
        self._epochs: OrderedDict[int, tuple[list[Ids], Ids]] = OrderedDict()

    @property
    def places_per_step(self) -> int:
        """Places in one step's rows on the average, padding included."""
        return round(sum(plan.places for plan in self._plans) / self.steps)

    @property
    def steps_per_epoch(self) -> float:
        """Steps in which every pair was seen once."""
        return float(self.steps)

    @property
    def filling(self) -> float:
        """The share of the places that hold a token."""
        return sum(plan.tokens for plan in self._plans) / sum(plan.places for plan in self._plans)

    def step(self, number: int, rank: int = 0, workers: int = 1) -> Pairs:
        """Return the rows of step `number` that belong to worker `rank` of `workers`; at least one, if unasked."""
        epoch, within = divmod(number, self.steps)
        orders, batches = self._epoch(epoch)
        batch = int(batches[within])
        kind = 0
        while batch >= len(self._plans[kind].borders) - 1:
            batch -= len(self._plans[kind].borders) - 1
            kind += 1
        first, last = self._plans[kind].borders[batch : batch + 2]
        documents = orders[kind][first:last]
        mine = documents[list(dealt(len(documents), rank, workers))]
        seed = None if self.seed is None else (self.seed, epoch, kind)
        pairs = self.kinds[kind].lay(mine if len(mine) else documents[:1], seed)
        return pairs if len(mine) else pairs._replace(targets=np.full_like(pairs.targets, PADDING))

    def _epoch(self, number: int) -> tuple[list[Ids], Ids]:
        if number not in self._epochs:
            batches = np.arange(self.steps, dtype=np.int64)
            if self.seed is None:
                orders = [plan.order(None) for plan in self._plans]
            else:
                generator = np.random.default_rng([self.seed, number, 3])
                orders = [plan.order(generator) for plan in self._plans]
                generator.shuffle(batches)
            self._epochs[number] = orders, batches
            while len(self._epochs) > 2:
                self._epochs.popitem(last=False)
        return self._epochs[number]


class _Plan:
    """Where the batches of one kind of pairs begin and end when its pairs are ordered by length."""

    def __init__(self, sources: Ids, targets: Ids, batch_tokens: int) -> None:
        self._keys = np.stack([-(-sources // _GRAIN), -(-targets // _GRAIN)])
        ordered = self.order(None)
        read, written = sources[ordered], targets[ordered]
        self.tokens = int(sources.sum() + targets.sum())
        self.borders, self.places, first, widest, longest = [0], 0, 0, 0, 0
        rounded = self._keys[:, ordered] * _GRAIN
        for place, (source, target) in enumerate(rounded.T.tolist()):
            wide, long = max(widest, source), max(longest, target)
            if place > first and (wide + long) * (place - first + 1) > batch_tokens:
                self._close(place, read[first:place], written[first:place])
                first, wide, long = place, source, target
            widest, longest = wide, long
        if len(ordered):
            self._close(len(ordered), read[first:], written[first:])

    def order(self, generator: np.random.Generator | None) -> Ids:
        """Return the pairs by length, those that are alike in an order of the generator."""
        count = self._keys.shape[1]
        mixed = np.arange(count, dtype=np.int64) if generator is None else generator.permutation(count)
        return mixed[np.lexsort(self._keys[:, mixed])]

    def _close(self, end: int, sources: Ids, targets: Ids) -> None:
        self.borders.append(end)
        self.places += len(sources) * int(sources.max() + targets.max())


def _ids(store: Tokens | Linked, number: int) -> NDArray[Any]:
    return store.ids[store.offsets[number] : store.offsets[number + 1]]
