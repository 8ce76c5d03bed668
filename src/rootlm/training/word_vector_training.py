"""Train word vectors: workers without locks take stretches of the text in turn.

What is random in a stretch, and the rate at each of its lines, follow from the seed and the stretch alone. So one
worker gives the same bytes every time, and how many there are changes nothing but the order of the steps.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rootlm.core import machine
from rootlm.training import word_vector_kernel as kernel
from rootlm.training.huffman import Ways, huffman
from rootlm.training.negatives import alias_table
from rootlm.training.row_arithmetic import aligned, width_of
from rootlm.training.word_vector_settings import Word2VecConfig

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Tokens = NDArray[np.int32]

STRETCH = 50_000
_MOST_NUMBERS = 1 << 22


class Text(NamedTuple):
    """The words of a text by rank, line by line, and how often each occurs; the most frequent is 0."""

    tokens: Tokens
    borders: Ints
    counts: Ints


class Bags(NamedTuple):
    """The rows of each word, end to end; the first of each is its own."""

    offsets: Ints
    rows: Tokens


@dataclass(frozen=True)
class Standing:
    """How far the training is."""

    tokens: int
    """Words read so far, those of all epochs."""
    total: int
    """Words to read in all."""
    loss: float | None
    """Nats of a prediction since the last word on it; None when none was measured."""
    rate: float


class Learned(NamedTuple):
    """What was learned: the rows of the bags (rows, size), and those of what is told (rows, size)."""

    rows: Floats
    outputs: Floats


class _Stretch(NamedTuple):
    first: int
    end: int
    tokens: int
    rates: tuple[float, float]
    seed: np.uint64


@dataclass
class _Model:
    """The matrices, flat, and what never changes."""

    rows: Floats
    outputs: Floats
    width: int
    table: NDArray[np.uint32] = field(default_factory=lambda: np.zeros((0, 2), np.uint32))
    ways: Ways = field(
        default_factory=lambda: Ways(np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int8))
    )


def words_alone(count: int) -> Bags:
    """Return the bags of words that are made of nothing else."""
    return Bags(np.arange(count + 1, dtype=np.int64), np.arange(count, dtype=np.int32))


def workers_of(settings: Word2VecConfig) -> int:
    """Return how many workers learn."""
    return settings.threads or machine.physical_cores()


def needed_bytes(settings: Word2VecConfig, words: int, rows: int) -> int:
    """Return the bytes that matrices of so many rows take while they are learned and when they are handed on."""
    row = 4 * (width_of(settings.size) + settings.size)
    return (rows + words) * row


def train(
    settings: Word2VecConfig, text: Text, bags: Bags, tell: Callable[[Standing], None] = lambda _: None
) -> Learned:
    """Return the vectors that the text teaches; `tell` is called after each stretch.

    Raises ValueError for a vocabulary of one word, and when the numbers grow beyond all bounds.
    """
    words = len(text.counts)
    if words < 2:
        raise ValueError("the vocabulary is one word, which has no other to be told from; give more text")
    if len(text.borders) - 1 == len(text.tokens):
        raise ValueError("every line is one word, which has no neighbour; put several words on a line")
    model = _begin(settings, text, bags)
    run = _Run(settings, text, bags, model)
    total = settings.epochs * len(text.tokens)
    done, stretches = 0, _stretches(settings, text)
    for stretch, loss in run.all(stretches):
        done += stretch.tokens
        if loss is not None and not math.isfinite(loss):
            raise _diverged(settings, done)
        tell(Standing(done, total, loss, stretch.rates[1]))
    learned = Learned(*(_unpadded(matrix, settings.size, model.width) for matrix in (model.rows, model.outputs)))
    if not all(np.isfinite(matrix).all() for matrix in learned):
        raise _diverged(settings, done)
    return learned


def _diverged(settings: Word2VecConfig, done: int) -> ValueError:
    return ValueError(
        f"learning_rate={settings.learning_rate:g}: the vectors are no numbers any more after {done:,} words; "
        "set a smaller learning_rate"
    )


def keeping(counts: Ints, sample: float) -> NDArray[np.uint32]:
    """Return the chance to keep each word, of 2³² − 1: √(t/f) + t/f at the most 1, as word2vec has it."""
    if not sample:
        return np.full(len(counts), 0xFFFFFFFF, np.uint32)
    share = sample * counts.sum() / counts
    return np.minimum((np.sqrt(share) + share) * 0xFFFFFFFF, 0xFFFFFFFF).astype(np.uint32)


def _begin(settings: Word2VecConfig, text: Text, bags: Bags) -> _Model:
    """Return the matrices at the start: small random rows, and zeros for what is told."""
    size, width, words = settings.size, width_of(settings.size), len(text.counts)
    count = int(bags.rows.max()) + 1
    rows = aligned(count * width)
    generator = np.random.default_rng(settings.seed)
    at_once = max(1, _MOST_NUMBERS // size)
    for first in range(0, count, at_once):
        some = rows.reshape(count, width)[first : first + at_once, :size]
        some[:] = generator.random(some.shape, np.float32)
        some -= 0.5
        some *= 2 * settings.spread / size
    if settings.loss == "hierarchical_softmax":
        return _Model(rows, aligned((words - 1) * width), width, ways=huffman(text.counts))
    return _Model(rows, aligned(words * width), width, table=alias_table(text.counts))


def _stretches(settings: Word2VecConfig, text: Text) -> Iterator[_Stretch]:
    """Yield the lines of each epoch, some tens of thousands of words at a time."""
    tokens, lines = len(text.tokens), len(text.borders) - 1
    cuts = np.unique(np.searchsorted(text.borders, np.arange(0, tokens, STRETCH)))
    cuts = np.append(cuts[cuts < lines], lines)
    whole, fall = settings.epochs * tokens, settings.last_learning_rate - settings.learning_rate
    for epoch in range(settings.epochs):
        for number, (first, end) in enumerate(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True)):
            begin, stop = int(text.borders[first]), int(text.borders[end])
            rates = tuple(
                settings.learning_rate + fall * (epoch * tokens + place) / whole for place in (begin, stop)
            )
            seed = np.random.SeedSequence((settings.seed, epoch, number)).generate_state(1, np.uint64)[0]
            yield _Stretch(first, end, stop - begin, (rates[0], rates[1]), seed | np.uint64(1))


class _Run:
    """Workers and all that they share."""

    def __init__(self, settings: Word2VecConfig, text: Text, bags: Bags, model: _Model) -> None:
        self._settings, self._text, self._bags, self._model = settings, text, bags, model
        self._keep = keeping(text.counts, settings.sample)
        self._sigmoids = kernel.sigmoid_table()
        self._free: list[tuple[NDArray[np.generic], ...]] = []

    def all(self, stretches: Iterator[_Stretch]) -> Iterator[tuple[_Stretch, float | None]]:
        """Yield each stretch when it is learned, with its loss; only a few are taken ahead."""
        workers = workers_of(self._settings)
        waiting: deque[tuple[_Stretch, Future[float | None]]] = deque()
        with ThreadPoolExecutor(workers) as pool:
            try:
                for stretch in stretches:
                    waiting.append((stretch, pool.submit(self._learn, stretch)))
                    if len(waiting) > 2 * workers:
                        first, future = waiting.popleft()
                        yield first, future.result()
                while waiting:
                    first, future = waiting.popleft()
                    yield first, future.result()
            finally:
                for _, future in waiting:
                    future.cancel()

    def _learn(self, stretch: _Stretch) -> float | None:
        settings, model = self._settings, self._model
        negative = settings.loss == "negative_sampling"
        room = self._free.pop() if self._free else self._room()
        step = kernel.skip_gram if settings.architecture == "skip_gram" else kernel.bag_of_words
        loss, measured = step(
            *self._text[:2],
            stretch.first,
            stretch.end,
            self._keep,
            *self._bags,
            model.rows,
            model.outputs,
            model.width,
            model.table,
            *model.ways,
            settings.negatives if negative else 0,
            settings.share_negatives or not negative,
            settings.window,
            self._sigmoids,
            *stretch.rates,
            stretch.seed,
            *room,
        )
        self._free.append(room)
        return loss / measured if measured else None

    def _room(self) -> tuple[NDArray[np.generic], ...]:
        """Return what one worker writes on, in the kernels' order."""
        settings, width = self._settings, self._model.width
        around = 2 * settings.window + 1
        longest_way = int(np.diff(self._model.ways.offsets).max(initial=0))
        told = 2 * max(longest_way, settings.negatives + 1)
        longest_bag = int(np.diff(self._bags.offsets).max())
        return (
            aligned(around * width),
            aligned(around * width),
            aligned(width),
            np.empty(int(np.diff(self._text.borders).max()), np.int32),
            np.empty(around * longest_bag, np.int64),
            np.empty(told, np.int64),
            aligned(told),
            aligned(told),
        )


def _unpadded(matrix: Floats, size: int, width: int) -> Floats:
    return np.ascontiguousarray(matrix.reshape(-1, width)[:, :size])
