"""Work on the parts of a range at once, in threads: for compiled functions, which run without Python's lock."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

THREADS = 2


def in_shares(work: Callable[[int, int], None], begin: int, end: int) -> None:
    """Call `work` with the borders of each part of begin … end, and wait for all of them.

    >>> in_shares(lambda low, high: print(high - low), 0, 10)
    5
    5
    """
    borders = [begin + (end - begin) * part // THREADS for part in range(THREADS + 1)]
    with ThreadPoolExecutor(THREADS) as threads:
        for done in [threads.submit(work, *pair) for pair in itertools.pairwise(borders)]:
            done.result()
