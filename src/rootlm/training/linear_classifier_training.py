"""Train the linear classifier of texts: workers without locks take stretches of the texts in turn."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rootlm.core import machine
from rootlm.models.huffman import Ways, huffman
from rootlm.models.text_bags import Lexicon
from rootlm.training import linear_classifier_kernel as kernel
from rootlm.training.matrices import aligned, scattered, unpadded, width_of
from rootlm.training.stretches import Course, Standing, Stretch, diverged, in_turn, stretches
from rootlm.training.word_vector_kernel import sigmoid_table
from rootlm.training.word_vector_settings import ClassifierConfig

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Rows = NDArray[np.int32]

_LOSSES = {
    "softmax": kernel.SOFTMAX,
    "one_versus_all": kernel.ONE_VERSUS_ALL,
    "hierarchical_softmax": kernel.TREE,
}


class Texts(NamedTuple):
    """Texts as numbers of a lexicon's words, and their labels; both end to end."""

    words: Rows
    borders: Ints
    labels: Rows
    label_borders: Ints
    label_counts: Ints
    """How often each label is given; the most frequent is 0."""


class Learned(NamedTuple):
    """What was learned: the rows of words, then of the buckets in use (rows, size), and those of labels."""

    rows: Floats
    outputs: Floats


class Layout(NamedTuple):
    """Where the rows of buckets are."""

    n_words: int
    buckets: int
    rows: Rows
    """(buckets,): the row of each among those in use, −1 for the others; empty where there are none."""
    largest_bag: int

    @property
    def used(self) -> NDArray[np.int64]:
        """The buckets in use."""
        return np.flatnonzero(self.rows >= 0)


def layout(texts: Texts, lexicon: Lexicon, n_words: int, word_ngrams: int, buckets: int) -> Layout:
    """Return which buckets the texts use: only those get a row."""
    used = np.zeros(buckets, np.bool_)
    largest = kernel.mark_buckets(texts.words, texts.borders, *lexicon, n_words, word_ngrams, buckets, used)
    rows = np.where(used, np.cumsum(used) - 1, -1).astype(np.int32)
    return Layout(n_words, buckets, rows, largest)


def train(
    settings: ClassifierConfig,
    texts: Texts,
    lexicon: Lexicon,
    places: Layout,
    tell: Callable[[Standing], None] = lambda _: None,
) -> Learned:
    """Return the rows that the texts teach; raises ValueError when the numbers grow beyond all bounds."""
    if len(texts.label_counts) < 2:
        raise ValueError("all texts have the same label; a classifier needs two")
    run = _Run(settings, texts, lexicon, places)
    total, done = settings.epochs * len(texts.words), 0
    course = Course(settings.epochs, settings.learning_rate, 0.0, settings.seed)
    workers = settings.threads or machine.physical_cores()
    for stretch, loss in in_turn(workers, run.learn, stretches(texts.borders, course)):
        done += stretch.tokens
        if loss is not None and not math.isfinite(loss):
            raise diverged(settings.learning_rate, done)
        tell(Standing(done, total, loss, stretch.rates[1]))
    learned = Learned(*(unpadded(matrix, settings.size) for matrix in (run.rows, run.outputs)))
    if not all(np.isfinite(matrix).all() for matrix in learned):
        raise diverged(settings.learning_rate, done)
    return learned


class _Run:
    """Workers and all that they share."""

    def __init__(self, settings: ClassifierConfig, texts: Texts, lexicon: Lexicon, places: Layout) -> None:
        self._settings, self._texts, self._lexicon, self._places = settings, texts, lexicon, places
        size, labels = settings.size, len(texts.label_counts)
        self.rows = scattered(places.n_words + len(places.used), size, 1 / size, settings.seed)
        self.outputs = aligned(labels * width_of(size))
        tree = settings.loss == "hierarchical_softmax"
        none = Ways(np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int8))
        self._ways = huffman(texts.label_counts) if tree else none
        self._sigmoids = sigmoid_table()
        self._free: list[tuple[Any, ...]] = []

    def learn(self, stretch: Stretch) -> float | None:
        """Learn one stretch; returns the loss of a text."""
        settings, places = self._settings, self._places
        room = self._free.pop() if self._free else self._room()
        given: tuple[Any, ...] = (
            *self._texts[:4],
            stretch.first,
            stretch.end,
            *self._lexicon,
            places.n_words,
            settings.word_ngrams,
            places.buckets,
            places.rows,
            self.rows,
            self.outputs,
            len(self._texts.label_counts),
            width_of(settings.size),
            *self._ways,
            _LOSSES[settings.loss],
            self._sigmoids,
            *stretch.rates,
            stretch.seed,
            *room,
        )
        loss, learned = kernel.learn_texts(*given)
        self._free.append(room)
        return loss / learned if learned else None

    def _room(self) -> tuple[Any, ...]:
        """Return what one worker writes on, in the kernel's order."""
        width = width_of(self._settings.size)
        told = max(len(self._texts.label_counts), int(np.diff(self._ways.offsets).max(initial=0)))
        return (
            aligned(width),
            aligned(width),
            aligned(width),
            aligned(self._places.largest_bag + 1, np.int64),
            aligned(told, np.int64),
            aligned(told),
            aligned(told),
        )
