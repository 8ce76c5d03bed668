"""Train word vectors: workers without locks take stretches of the text in turn.

What is random in a stretch, and the rate at each of its lines, follow from the seed and the stretch alone. So one
worker gives the same bytes every time, and how many there are changes nothing but the order of the steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rootlm.core import machine
from rootlm.models.huffman import Ways, huffman
from rootlm.training import word_vector_kernel as kernel
from rootlm.training.matrices import aligned, scattered, unpadded, width_of
from rootlm.training.negatives import alias_tables
from rootlm.training.stretches import Course, Standing, Stretch, diverged, in_turn, stretches
from rootlm.training.word_vector_settings import Word2VecConfig

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Tokens = NDArray[np.int32]


class Text(NamedTuple):
    """The words of a text by rank, line by line, and how often each occurs; the most frequent is 0."""

    tokens: Tokens
    borders: Ints
    counts: Ints


class Bags(NamedTuple):
    """The rows of each word, end to end; the first of each is its own."""

    offsets: Ints
    rows: Tokens


class Learned(NamedTuple):
    """What was learned: the rows of the bags (rows, size), and those of what is told (rows, size)."""

    rows: Floats
    outputs: Floats


@dataclass
class _Model:
    """The matrices, flat, and what never changes."""

    rows: Floats
    outputs: Floats
    width: int
    tables: list[NDArray[np.uint32]] = field(default_factory=lambda: [np.zeros((0, 4), np.uint32)])
    """Where negatives are drawn from: a part of the vocabulary for each worker, by turns."""
    ways: Ways = field(
        default_factory=lambda: Ways(np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int8))
    )


def words_alone(count: int) -> Bags:
    """Return the bags of words that are made of nothing else."""
    return Bags(np.arange(count + 1, dtype=np.int64), np.arange(count, dtype=np.int32))


def workers_of(settings: Word2VecConfig) -> int:
    """Return how many workers learn."""
    return settings.threads or machine.physical_cores()


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
    total, done = settings.epochs * len(text.tokens), 0
    course = Course(settings.epochs, settings.learning_rate, settings.last_learning_rate, settings.seed)
    for stretch, loss in in_turn(workers_of(settings), run.learn, stretches(text.borders, course)):
        done += stretch.tokens
        if loss is not None and not math.isfinite(loss):
            raise diverged(settings.learning_rate, done)
        tell(Standing(done, total, loss, stretch.rates[1]))
    learned = Learned(*(unpadded(matrix, settings.size) for matrix in (model.rows, model.outputs)))
    if not all(np.isfinite(matrix).all() for matrix in learned):
        raise diverged(settings.learning_rate, done)
    return learned


def keeping(counts: Ints, sample: float) -> NDArray[np.uint32]:
    """Return the chance to keep each word, of 2³² − 1: √(t/f) + t/f at the most 1, as word2vec has it."""
    if not sample:
        return np.full(len(counts), 0xFFFFFFFF, np.uint32)
    share = sample * counts.sum() / counts
    chances: NDArray[np.float64] = np.minimum(np.sqrt(share) + share, 1)
    return (chances * 0xFFFFFFFF).astype(np.uint32)


def _begin(settings: Word2VecConfig, text: Text, bags: Bags) -> _Model:
    """Return the matrices at the start: small random rows, and zeros for what is told."""
    size, width, words = settings.size, width_of(settings.size), len(text.counts)
    count = int(bags.rows.max()) + 1
    rows = scattered(count, size, 1 / size, settings.seed)
    if settings.loss == "hierarchical_softmax":
        return _Model(rows, aligned((words - 1) * width), width, ways=huffman(text.counts))
    return _Model(rows, aligned(words * width), width, tables=alias_tables(text.counts, workers_of(settings)))


class _Run:
    """Workers and all that they share."""

    def __init__(self, settings: Word2VecConfig, text: Text, bags: Bags, model: _Model) -> None:
        self._settings, self._text, self._bags, self._model = settings, text, bags, model
        self._keep = keeping(text.counts, settings.sample)
        self._sigmoids = kernel.sigmoid_table()
        self._free: list[tuple[Any, ...]] = []

    def learn(self, stretch: Stretch) -> float | None:
        settings, model = self._settings, self._model
        negative = settings.loss == "negative_sampling"
        room = self._free.pop() if self._free else self._room()
        step = kernel.skip_gram if settings.architecture == "skip_gram" else kernel.bag_of_words
        given: tuple[Any, ...] = (
            *self._text[:2],
            stretch.first,
            stretch.end,
            self._keep,
            *self._bags,
            model.rows,
            model.outputs,
            model.width,
            model.tables[stretch.turn % len(model.tables)],
            *model.ways,
            settings.negatives if negative else 0,
            settings.share_negatives or not negative,
            settings.window,
            self._sigmoids,
            *stretch.rates,
            stretch.seed,
            *room,
        )
        loss, measured = step(*given)
        self._free.append(room)
        return loss / measured if measured else None

    def _room(self) -> tuple[Any, ...]:
        """Return what one worker writes on, in the kernels' order."""
        settings, width = self._settings, self._model.width
        around = 2 * settings.window + 1
        longest_way = int(np.diff(self._model.ways.offsets).max(initial=0))
        told = 4 * max(longest_way, settings.negatives + 1)
        longest_bag = int(np.diff(self._bags.offsets).max())
        return (
            aligned(around * width),
            aligned(around * width),
            aligned(width),
            aligned(int(np.diff(self._text.borders).max()), np.int32),
            aligned(around * longest_bag, np.int64),
            aligned(told, np.int64),
            aligned(told),
            aligned(told),
        )
