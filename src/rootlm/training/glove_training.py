"""Train GloVe: count how often words meet, then fit the products of vectors to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from rootlm.core import machine
from rootlm.training.glove_kernel import Tables, glove_steps
from rootlm.training.matrices import aligned, scattered, unpadded, width_of
from rootlm.training.meetings import Meetings, meetings
from rootlm.training.stretches import Standing, diverged, in_turn
from rootlm.training.word_vector_settings import GloveConfig
from rootlm.training.word_vector_training import Learned, Text

_STEPS = 200_000
_GOLDEN = (math.sqrt(5) - 1) / 2


def train(
    settings: GloveConfig, text: Text, say: Callable[[str], None], tell: Callable[[Standing], None]
) -> Learned:
    """Return the sums of each word's two vectors, and its vectors as a neighbour; `tell` counts pairs read.

    Raises ValueError for a text without pairs, and when the numbers grow beyond all bounds.
    """
    threads = settings.threads or machine.physical_cores()
    met = meetings(
        (text.tokens, text.borders),
        len(text.counts),
        settings.window,
        threads=threads,
        memory_bytes=settings.memory_mb * 1_000_000,
    )
    if not len(met.pairs):
        raise ValueError("every line is one word, which has no neighbour; put several words on a line")
    where = "on disk" if met.place else "in memory"
    say(f"{len(met.pairs):,} pairs of words meet within {settings.window} words, held {where}")
    tables, width = _begin(settings, len(text.counts)), width_of(settings.size)
    weights, rate = (settings.most, settings.power), settings.learning_rate

    def learn(walk: tuple[int, int, int]) -> float:
        return glove_steps(met.pairs, walk, tables, width, weights, rate)

    done, total = 0, settings.epochs * 2 * len(met.pairs)
    for (first, end, _), loss in in_turn(threads, learn, _walks(settings, met)):
        done += end - first
        if not math.isfinite(loss):
            raise diverged(settings.learning_rate, done, "pairs")
        tell(Standing(done, total, loss / (end - first), settings.learning_rate, "pair"))
    words, neighbours = (unpadded(matrix, settings.size) for matrix in (tables.words, tables.neighbours))
    if not (np.isfinite(words).all() and np.isfinite(neighbours).all()):
        raise diverged(settings.learning_rate, done, "pairs")
    return Learned(words + neighbours, neighbours)


def _begin(settings: GloveConfig, words: int) -> Tables:
    """Return small random vectors and biases, and squares of 1, as the authors' program has them."""
    size, width, seed, most = settings.size, width_of(settings.size), settings.seed, 0.5 / settings.size
    generator = np.random.default_rng((seed, 2))
    biases = ((generator.random((2, words), np.float32) - np.float32(0.5)) / np.float32(size)).astype(
        np.float32
    )
    squares = [aligned(words * width) for _ in range(2)]
    for matrix in squares:
        matrix[:] = 1
    return Tables(
        scattered(words, size, most, seed),
        scattered(words, size, most, seed + 1),
        squares[0],
        squares[1],
        biases,
        np.ones_like(biases),
    )


def _walks(settings: GloveConfig, met: Meetings) -> Iterator[tuple[int, int, int]]:
    """Yield the steps of every epoch, some at a time, each epoch with a stride of its own.

    A stride near the golden section of all samples, and without a divisor in common with their number, comes by each
    sample once and never reads near ones one after the other.
    """
    samples = 2 * len(met.pairs)
    generator = np.random.default_rng((settings.seed, 3))
    for _ in range(settings.epochs):
        stride = max(1, round(samples * _GOLDEN) + int(generator.integers(max(1, samples // 100))))
        while math.gcd(stride, samples) != 1:
            stride += 1
        for first in range(0, samples, _STEPS):
            yield first, min(samples, first + _STEPS), stride
