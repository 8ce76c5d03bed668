"""Memory that a training step frees is kept for the next one."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell the C library to give nothing back to the system until the process ends; returns whether it can.

    By default glibc maps and unmaps every large tensor, so that each step touches some ten thousand fresh pages;
    a training step spent a tenth of its time there. Elsewhere than on glibc nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = {_MMAP_THRESHOLD: 1 << 30, _TRIM_THRESHOLD: _NEVER, _TOP_PAD: 64 << 20, _ARENA_MAX: 1}
    done = [int(mallopt(name, value)) == 1 for name, value in settings.items()]
    return all(done)
