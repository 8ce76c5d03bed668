"""Threads of this process for compiled loops, which hold no lock of Python's while they run."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Lock

import torch

from rootlm.core import machine

_ONE_TEAM = Lock()


def size() -> int:
    """Return how many threads a team has: torch's number, but no more than there are cores with own arithmetic."""
    return min(torch.get_num_threads(), _cores(os.getpid()))


def together(work: Callable[[int], None], parts: int) -> None:
    """Let so many threads, this one among them, do a part each, all at the same time.

    One such team at a time: two that were each half started would wait for ever where their parts meet.
    """
    if parts == 1:
        work(0)
        return
    with _ONE_TEAM:
        others = [helpers().submit(work, part) for part in range(1, parts)]
        work(0)
        for other in others:
            other.result()


def helpers() -> ThreadPoolExecutor:
    """Return threads of this process; a forked child has none of its parent's."""
    return _helpers(os.getpid())


@cache
def _helpers(process: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="rootlm-rows")


@cache
def _cores(process: int) -> int:
    """Asking the machine opens files, which would take longer than many a product."""
    return machine.physical_cores()
