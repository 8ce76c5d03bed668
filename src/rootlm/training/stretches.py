"""A text in stretches of lines that workers take in turn, with all that a stretch must know."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Task = TypeVar("Task")
Result = TypeVar("Result")

WORDS = 50_000
"""Words of a stretch: some hundredths of a second, so that an interruption is soon heard."""


class Course(NamedTuple):
    """How a text is read: how often, at rates that fall evenly, with which seed."""

    epochs: int
    rate: float
    last_rate: float
    seed: int


class Stretch(NamedTuple):
    """Some lines of one epoch."""

    first: int
    end: int
    tokens: int
    rates: tuple[float, float]
    """The rates where it begins and where it ends."""
    seed: np.uint64
    turn: int
    """Counts the stretches; one higher in each epoch, so that what takes turns comes to others."""


@dataclass(frozen=True)
class Standing:
    """How far a training is."""

    tokens: int
    """What was read so far, in all epochs."""
    total: int
    """What there is to read in all."""
    loss: float | None
    """Nats of a prediction in the last stretch; None when none was measured."""
    rate: float
    unit: str = "word"
    """What is read."""


def stretches(borders: Ints, course: Course) -> Iterator[Stretch]:
    """Yield the lines of every epoch, some tens of thousands of words at a time.

    Rates and seeds follow from the place in the text alone.
    """
    lines, tokens = len(borders) - 1, int(borders[-1])
    cuts = np.unique(np.searchsorted(borders, np.arange(0, tokens, WORDS)))
    cuts = np.append(cuts[cuts < lines], lines)
    whole, fall = course.epochs * tokens, course.last_rate - course.rate
    for epoch in range(course.epochs):
        for number, (first, end) in enumerate(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True)):
            begin, stop = int(borders[first]), int(borders[end])
            rates = [course.rate + fall * (epoch * tokens + place) / whole for place in (begin, stop)]
            seed = np.random.SeedSequence((course.seed, epoch, number)).generate_state(1, np.uint64)[0]
            yield Stretch(first, end, stop - begin, (rates[0], rates[1]), seed | np.uint64(1), epoch + number)


def in_turn(
    workers: int, learn: Callable[[Task], Result], tasks: Iterable[Task]
) -> Iterator[tuple[Task, Result]]:
    """Yield each task with what learning it gave, in order; only a few are taken ahead."""
    waiting: deque[tuple[Task, Future[Result]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for task in tasks:
                waiting.append((task, pool.submit(learn, task)))
                if len(waiting) > 2 * workers:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()


def diverged(rate: float, read: int, unit: str = "words") -> ValueError:
    """Return the error for vectors that grew beyond all bounds."""
    return ValueError(
        f"learning_rate={rate:g}: the vectors are no numbers any more after {read:,} {unit}; "
        "set a smaller learning_rate"
    )
