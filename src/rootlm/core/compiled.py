"""Compile a function to machine code, and keep what was compiled where that is possible.

A file that uses this compiles nothing before the first call, but imports numba: so it is imported only by
who is about to use it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """Return the function as machine code, made at its first call and kept for the next process."""
    return compiled_with(function)


def summing(function: F) -> F:
    """Compile as `compiled` does, and let long sums take their terms in whatever order is fast.

    The order is decided when it is compiled, so the same machine gives the same bits.
    """
    return compiled_with(function, fastmath={"reassoc", "contract"})


def compiled_with(function: F, **options: object) -> F:
    """Compile as `compiled` does, with numba's options."""
    options = {"nogil": True, **options}
    try:
        made = njit(cache=True, **options)(function)
    except RuntimeError:  # no folder to keep it in
        return cast(F, njit(**options)(function))
    # numba looks at the function's own file alone, and would keep code into which another file's, since changed, has
    # been laid.
    kept = made._cache._cache_file
    kept._source_stamp = (kept._source_stamp, _stamp())
    return cast(F, made)


@cache
def _stamp() -> tuple[tuple[str, int, int], ...]:
    """Return name, time and size of every file whose code may be laid into other code."""
    package = Path(__file__).resolve().parent.parent
    files = sorted([*package.rglob("*_kernel.py"), *package.rglob("*_arithmetic.py")])
    return tuple((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files)
