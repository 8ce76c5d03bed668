"""Documents laid end to end and cut into windows: every token once an epoch, any window in constant time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

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
    asked; `segments` changes its value where another document begins; `documents` names the document of every
    place, or `PADDING`.
    """

    tokens: Ids
    targets: Ids
    segments: Ids
    documents: Ids


@dataclass(frozen=True)
class Marks:
    """The ids that stand before and after a document."""

    bos_id: int
    eos_id: int


@dataclass(frozen=True)
class _Epoch:
    order: Ids  # document numbers, shuffled
    ends: Ids  # where each of them ends in the laid-out stream
    windows: Ids  # window numbers, shuffled


class WindowSource:
    """One token store seen as windows of `context` places, shuffled anew each epoch.

    Documents are shuffled, laid end to end and cut; the cuts are shuffled again, so that the parts of a long
    document do not come one after the other. Both orders follow from the seed and the epoch alone, so any window
    can be had without reading those before it. The last window of an epoch may be short; it is padded.
    """

    def __init__(self, store: Tokens, marks: Marks, context: int, seed: int | None) -> None:
        self.store, self.marks, self.context, self.seed = store, marks, context, seed
        self.sizes = np.diff(store.offsets).astype(np.int64) + 1
        self.places = int(self.sizes.sum())
        if not self.places:
            raise ValueError(
                "the token store is empty: there is nothing to train on; prepare a corpus with text in it"
            )
        self.per_epoch = -(-self.places // context)
        self._epochs: OrderedDict[int, _Epoch] = OrderedDict()

    def window(self, number: int) -> tuple[Ids, Ids, Ids, Ids]:
        """Return tokens, targets, segments and documents of window `number`, counted over all epochs."""
        epoch_number, within = divmod(number, self.per_epoch)
        epoch = self._epoch(epoch_number)
        start = int(epoch.windows[within]) * self.context
        end = min(start + self.context, self.places)
        tokens = np.full(self.context, self.marks.eos_id, np.int64)
        targets = np.full(self.context, PADDING, np.int64)
        segments = np.zeros(self.context, np.int64)
        documents = np.full(self.context, PADDING, np.int64)
        first = int(np.searchsorted(epoch.ends, start, side="right"))
        filled, segment = 0, 0
        while start + filled < end:
            document = int(epoch.order[first + segment])
            size = int(self.sizes[document])
            begin = start + filled - (int(epoch.ends[first + segment]) - size)
            count = min(size - begin, end - start - filled)
            place = slice(filled, filled + count)
            self._lay(document, begin, tokens[place], targets[place])
            segments[place] = segment
            documents[place] = document
            filled += count
            segment += 1
        segments[filled:] = segment
        return tokens, targets, segments, documents

    def _lay(self, document: int, begin: int, tokens: Ids, targets: Ids) -> None:
        """Fill one document's places `begin` … from begin mark + ids and ids + end mark."""
        offset, count = int(self.store.offsets[document]), len(tokens)
        size = int(self.sizes[document])
        ids = self.store.ids[offset + max(begin - 1, 0) : offset + min(begin + count, size - 1)].astype(
            np.int64
        )
        shifted = begin > 0
        read = count - (not shifted)
        tokens[count - read :] = ids[:read]
        if not shifted:
            tokens[0] = self.marks.bos_id
        asked = ids[1:] if shifted else ids
        targets[: len(asked)] = asked
        targets[len(asked) :] = self.marks.eos_id

    def _epoch(self, number: int) -> _Epoch:
        if number not in self._epochs:
            order = np.arange(len(self.sizes), dtype=np.int64)
            windows = np.arange(self.per_epoch, dtype=np.int64)
            if self.seed is not None:
                generator = np.random.default_rng([self.seed, number])
                generator.shuffle(order)
                generator.shuffle(windows)
            self._epochs[number] = _Epoch(order, np.cumsum(self.sizes[order]), windows)
            while len(self._epochs) > 2:
                self._epochs.popitem(last=False)
        return self._epochs[number]


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
        first = number * self.rows
        mine = range(first + self.rows * rank // workers, first + self.rows * (rank + 1) // workers)
        return Windows(*(np.stack(parts) for parts in zip(*map(self._row, mine), strict=True)))

    def _row(self, number: int) -> tuple[Ids, Ids, Ids, Ids]:
        cycle, within = divmod(number, len(self._pattern))
        source = int(self._pattern[within])
        return self.sources[source].window(cycle * int(self._quotas[source]) + int(self._ranks[within]))


def _pattern(weights: Sequence[float], length: int, seed: int) -> Ids:
    shares = np.asarray(weights, float) / sum(weights) * length
    quotas = np.maximum(np.floor(shares).astype(int), 1)
    for source in np.argsort(np.floor(shares) - shares, kind="stable")[: max(0, length - int(quotas.sum()))]:
        quotas[source] += 1
    pattern = np.repeat(np.arange(len(weights)), quotas)
    np.random.default_rng([seed, 1]).shuffle(pattern)
    return pattern
