"""The same function over many parts, in one process or several; results come in the order of the parts."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

Part = TypeVar("Part")
Result = TypeVar("Result")
_AHEAD_PER_WORKER = 3
_REMEDY = "set workers=1, or put a script's own code below `if __name__ == '__main__':`"


def ordered(function: Callable[[Part], Result], parts: Iterable[Part], workers: int) -> Generator[Result]:
    """Yield `function(part)` for every part, in order; one worker is this process, more are fresh ones.

    Only a few parts are read ahead. `function` and the parts must be picklable. Raises ValueError when a
    process was killed.
    """
    if workers <= 1:
        yield from map(function, parts)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_settle)
    waiting: deque[Future[Result]] = deque()
    try:
        for part in parts:
            waiting.append(pool.submit(function, part))
            if len(waiting) >= _AHEAD_PER_WORKER * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise ValueError(f"a worker process ended early; {_REMEDY}") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _settle() -> None:
    """Leave Ctrl-C to the parent, and threads to the other workers; end when the parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["RAYON_NUM_THREADS"] = "1"
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
