"""The same function over many tasks, on this machine's cores; other engines keep the same contract."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol, Self, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")
_AHEAD_PER_WORKER = 3
_REMEDY = "set workers=1, or put a script's own code below `if __name__ == '__main__':`"


class Engine(Protocol):
    """Where tasks are done."""

    workers: int

    def run(self, work: Callable[[Task], Result], tasks: Iterable[Task]) -> Generator[Result]:
        """Yield `work(task)` for every task, in order; both must be picklable.

        Raises what a task raised, and ValueError when a process was killed.
        """
        ...


class Local:
    """Processes of this machine, started once for all that is to be done; one worker is this process."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def run(self, work: Callable[[Task], Result], tasks: Iterable[Task]) -> Generator[Result]:
        """Yield `work(task)` for every task, in order; only a few are taken ahead."""
        if self.workers <= 1:
            yield from map(work, tasks)
            return
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_settle)
        waiting: deque[Future[Result]] = deque()
        try:
            for task in tasks:
                waiting.append(self._pool.submit(work, task))
                if len(waiting) >= _AHEAD_PER_WORKER * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise ValueError(f"a worker process ended early; {_REMEDY}") from error
        finally:
            for left in waiting:
                left.cancel()


def _settle() -> None:
    """Leave Ctrl-C to the parent, and threads to the other workers; end when the parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for threads in ("RAYON_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ[threads] = "1"
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
