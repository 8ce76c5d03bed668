"""Compile a function to machine code, and keep what was compiled where that is possible.

A file that uses this compiles nothing before the first call, but imports numba: so it is imported only by
who is about to use it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """Return the function as machine code, made at its first call and kept for the next process."""
    try:
        return cast(F, njit(cache=True, nogil=True)(function))
    except RuntimeError:  # no folder to keep it in
        return cast(F, njit(nogil=True)(function))
