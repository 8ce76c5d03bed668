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
    return _compiled(function)


def summing(function: F) -> F:
    """Compile as `compiled` does, and let long sums take their terms in whatever order is fast.

    The order is decided when it is compiled, so the same machine gives the same bits.
    """
    return _compiled(function, fastmath={"reassoc", "contract"})


def _compiled(function: F, **options: object) -> F:
    try:
        return cast(F, njit(cache=True, nogil=True, **options)(function))
    except RuntimeError:  # no folder to keep it in
        return cast(F, njit(nogil=True, **options)(function))
