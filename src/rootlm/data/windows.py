"""Documents laid end to end and cut into windows: every token once an epoch, any window in constant time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
PADDING = -1
"""The target of a place where nothing is asked."""


class Tokens(Protocol):
    """What windows need of a token store."""

    @property
    def ids(self) -> NDArray[np.unsignedinteger]:
        """Every document's ids, end to end, without marks."""
        ...

    @property
    def offsets(self) -> Ids:
        """Where each document begins in `ids`, and where the last one ends."""
        ...


class Windows(NamedTuple):
    """Rows of equal length, each a stretch of documents laid end to end; all int64 of shape (rows, time).

    A document is read as begin mark + ids and predicts ids + end mark. `targets` is `PADDING` where nothing is
    asked; `segments` changes its value where another document begins, and no two readings of a document share
    one; `documents` names the document of every place, or `PADDING`. `starts` is 1 where a word begins; where words
    are not known, each token is one.
    """

    tokens: Ids
    targets: Ids
    segments: Ids
    documents: Ids
    starts: Ids


@dataclass(frozen=True)
class Marks:
    """The ids that stand before and after a document."""

    bos_id: int
    eos_id: int
    closes: bool = False
    """Whether the end mark is read too, as encoders read that are published: [CLS] … [SEP]."""

    @property
    def read(self) -> int:
        """How many marks of a document are read."""
        return 1 + self.closes


@dataclass(frozen=True)
class _Epoch:
    store: Tokens
    sizes: Ids  # places that each document takes, its mark included
    order: Ids  # document numbers, shuffled
    ends: Ids  # where each of them ends in the laid-out stream
    windows: Ids  # window numbers, shuffled


class WindowSource:
    """One token store seen as windows of `context` places, shuffled anew each epoch.

    Documents are shuffled, laid end to end and cut; the cuts are shuffled again, so that the parts of a long
    document do not come one after the other (with `in_order` they do). Both orders follow from the seed and the
    epoch alone, so any window can be had without reading those before it; without a seed nothing is shuffled. The
    last window of an epoch may be short; it is padded.

    `anew` gives other tokens for an epoch, of the same documents in the same order. An epoch has as many windows as
    the store fills, so that a window's epoch follows from its number: what is too much is left out, which falls on
    other documents each time, and what is missing is padded.
    """

    def __init__(
        self,
        store: Tokens,
        marks: Marks,
        context: int,
        seed: int | None,
        *,
        in_order: bool = False,
        starts: NDArray[np.bool_] | None = None,
        anew: Callable[[int], Tokens] | None = None,
    ) -> None:
        assert starts is None or anew is None, "where words begin is known of the store's tokens only"
        self.store, self.marks, self.context, self.seed = store, marks, context, seed
        self.in_order, self.starts, self.anew = in_order, starts, anew
        self.sizes = np.diff(store.offsets).astype(np.int64) + marks.read
        self.places = int(self.sizes.sum())
        if not self.places:
            raise ValueError(
                "the token store is empty: there is nothing to train on; prepare a corpus with text in it"
            )
        self.per_epoch = -(-self.places // context)
        self._epochs: OrderedDict[int, _Epoch] = OrderedDict()

    def window(self, number: int) -> tuple[Ids, ...]:
        """Return the fields of `Windows` for window `number`, counted over all epochs."""
        epoch_number, within = divmod(number, self.per_epoch)
        epoch = self._epoch(epoch_number)
        start = int(epoch.windows[within]) * self.context
        end = min(start + self.context, int(epoch.ends[-1]))
        tokens, targets, segments, documents, starts = self.padding(epoch_number)
        first = int(np.searchsorted(epoch.ends, start, side="right"))
        label = epoch_number * (len(self.sizes) + 1) + first
        filled, segment = 0, 0
        while start + filled < end:
            document = int(epoch.order[first + segment])
            size = int(epoch.sizes[document])
            begin = start + filled - (int(epoch.ends[first + segment]) - size)
            count = min(size - begin, end - start - filled)
            place = slice(filled, filled + count)
            self._lay(epoch, document, begin, (tokens[place], targets[place]))
            if self.starts is not None:
                self._lay_starts(document, begin, starts[place])
            segments[place] = label + segment
            documents[place] = document
            filled += count
            segment += 1
        return tokens, targets, segments, documents, starts

    def padding(self, epoch_number: int) -> tuple[Ids, ...]:
        """Return a window of an epoch in which nothing is asked."""
        tokens = np.full(self.context, self.marks.eos_id, np.int64)
        nothing = np.full(self.context, PADDING, np.int64)
        label = epoch_number * (len(self.sizes) + 1) + len(self.sizes)
        return tokens, nothing, np.full(self.context, label, np.int64), nothing.copy(), np.ones_like(nothing)

    def _lay(self, epoch: _Epoch, document: int, begin: int, places: tuple[Ids, Ids]) -> None:
        """Fill one document's places `begin` … from begin mark + ids and ids + end mark, which may be read as well."""
        tokens, targets = places
        offset, count = int(epoch.store.offsets[document]), len(tokens)
        size = int(epoch.sizes[document]) - self.marks.read
        ids = epoch.store.ids[offset + max(begin - 1, 0) : offset + min(begin + count, size)].astype(np.int64)
        shifted = begin > 0
        closed = begin + count > size + 1
        read = count - (not shifted) - closed
        tokens[count - read - closed : count - closed] = ids[:read]
        if not shifted:
            tokens[0] = self.marks.bos_id
        asked = ids[1:] if shifted else ids
        targets[: len(asked)] = asked
        targets[len(asked) :] = self.marks.eos_id
        if closed:
            tokens[-1], targets[-1] = self.marks.eos_id, PADDING

    def _lay_starts(self, document: int, begin: int, starts: Ids) -> None:
        """Fill one document's places with what is known of its words; a mark is a word of its own."""
        assert self.starts is not None
        offset, shifted = int(self.store.offsets[document]), begin > 0
        first = offset + max(begin - 1, 0)
        place = int(not shifted)
        read = min(len(starts) - place, int(self.store.offsets[document + 1]) - first)
        starts[place : place + read] = self.starts[first : first + read]

    def _epoch(self, number: int) -> _Epoch:
        if number not in self._epochs:
            order = np.arange(len(self.sizes), dtype=np.int64)
            windows = np.arange(self.per_epoch, dtype=np.int64)
            if self.seed is not None:
                generator = np.random.default_rng([self.seed, number])
                generator.shuffle(order)
                if not self.in_order:
                    generator.shuffle(windows)
            store = self.store if self.anew is None else self.anew(number)
            sizes = np.diff(store.offsets).astype(np.int64) + self.marks.read
            self._epochs[number] = _Epoch(store, sizes, order, np.cumsum(sizes[order]), windows)
            while len(self._epochs) > 2:
                self._epochs.popitem(last=False)
        return self._epochs[number]


class Feed(Protocol):
    """What a trainer reads its steps from; step s is the same whoever asks and whenever."""

    @property
    def places_per_step(self) -> int:
        """Places in one step's rows, padding included."""
        ...

    @property
    def steps_per_epoch(self) -> float:
        """Steps in which everything was seen at least once."""
        ...

    def step(self, number: int, rank: int = 0, workers: int = 1) -> Any:
        """Return the rows of step `number` that belong to worker `rank` of `workers`."""
        ...


class Streams:
    """Rows that read on: row r of step s + 1 begins where row r of step s has ended.

    An epoch's windows, in order, are dealt to the rows in equal stretches; a row that has none left is padded. A
    document cut where one stretch ends goes on in another row, which begins it without what came before.
    """

    def __init__(self, source: WindowSource, rows: int) -> None:
        assert source.in_order or source.seed is None, "windows that are shuffled do not follow one another"
        self.source, self.rows = source, rows
        self.steps = -(-source.per_epoch // rows)

    @property
    def places_per_step(self) -> int:
        """Places in one step's rows, padding included."""
        return self.rows * self.source.context

    @property
    def steps_per_epoch(self) -> float:
        """Steps in which every token was seen once."""
        return float(self.steps)

    def step(self, number: int, rank: int = 0, workers: int = 1) -> Windows:
        """Return the rows of step `number` that belong to worker `rank` of `workers`."""
        epoch, within = divmod(number, self.steps)
        parts = [self._row(epoch, row * self.steps + within) for row in dealt(self.rows, rank, workers)]
        return Windows(*(np.stack(part) for part in zip(*parts, strict=True)))

    def _row(self, epoch: int, window: int) -> tuple[Ids, ...]:
        if window >= self.source.per_epoch:
            return self.source.padding(epoch)
        return self.source.window(epoch * self.source.per_epoch + window)


class Loader:
    """Rows for every step, from one source or a mixture; step s is the same whoever asks and whenever.

    With several sources, row r of all rows comes from a fixed, shuffled pattern in which each source has its
    share; each source is read in its own order and begins a new epoch on its own.
    """

    PATTERN = 1000

    def __init__(
        self, sources: Sequence[WindowSource], weights: Sequence[float], rows: int, seed: int = 0
    ) -> None:
        if len({source.context for source in sources}) != 1:
            raise ValueError("all parts of a mixture need windows of one length")
        if any(weight <= 0 for weight in weights):
            raise ValueError(f"mixture weights must be positive, found {list(weights)}")
        self.sources, self.rows = list(sources), rows
        self._pattern = _pattern(weights, self.PATTERN, seed) if len(sources) > 1 else np.zeros(1, np.int64)
        self._quotas = np.bincount(self._pattern, minlength=len(sources))
        self._ranks = np.array([(self._pattern[:i] == own).sum() for i, own in enumerate(self._pattern)])

    @property
    def places_per_step(self) -> int:
        """Places in one step's rows, padding included."""
        return self.rows * self.sources[0].context

    @property
    def steps_per_epoch(self) -> float:
        """Steps in which every source was seen at least once."""
        shares = (self._quotas / len(self._pattern)).tolist()
        each = zip(self.sources, shares, strict=True)
        return max(source.per_epoch / (self.rows * float(share)) for source, share in each)

    def step(self, number: int, rank: int = 0, workers: int = 1) -> Windows:
        """Return the rows of step `number` that belong to worker `rank` of `workers`."""
        parts = [self._row(number * self.rows + row) for row in dealt(self.rows, rank, workers)]
        return Windows(*(np.stack(part) for part in zip(*parts, strict=True)))

    def _row(self, number: int) -> tuple[Ids, ...]:
        cycle, within = divmod(number, len(self._pattern))
        source = int(self._pattern[within])
        return self.sources[source].window(cycle * int(self._quotas[source]) + int(self._ranks[within]))


def dealt(rows: int, rank: int, workers: int) -> range:
    """Return which of a step's rows belong to a worker."""
    return range(rows * rank // workers, rows * (rank + 1) // workers)


def _pattern(weights: Sequence[float], length: int, seed: int) -> Ids:
    shares = np.asarray(weights, float) / sum(weights) * length
    quotas = np.maximum(np.floor(shares).astype(int), 1)
    for source in np.argsort(np.floor(shares) - shares, kind="stable")[: max(0, length - int(quotas.sum()))]:
        quotas[source] += 1
    pattern = np.repeat(np.arange(len(weights)), quotas)
    np.random.default_rng([seed, 1]).shuffle(pattern)
    return pattern
