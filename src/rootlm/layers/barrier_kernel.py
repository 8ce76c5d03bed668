"""Where the threads of one compiled loop wait for each other, without leaving compiled code.

All count themselves in at one number in memory and go on when it has grown by as many as they are. Who waits looks
again and again; after a while it gives its core away between two looks, so that a thread that others hold up can run.
"""

from __future__ import annotations

import sys
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

_LOOKS = 4000
"""Some tens of microseconds, longer than a part of a product is late by."""
_WORD = ir.IntType(64)
_YIELDS = sys.platform != "win32"


@intrinsic  # type: ignore[untyped-decorator]
def _arrive(context: Any, address: Any) -> Any:
    """Add one to the number at the address; what this thread wrote before is seen by who sees it."""

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(arguments[0], _WORD.as_pointer())
        builder.atomic_rmw("add", place, _WORD(1), "seq_cst")
        return target.get_dummy_value()

    return types.void(types.intp), generate


@intrinsic  # type: ignore[untyped-decorator]
def _arrived(context: Any, address: Any) -> Any:
    """Return the number at the address as it is now."""

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(arguments[0], _WORD.as_pointer())
        return builder.load_atomic(place, "acquire", 8)

    return types.int64(types.intp), generate


@intrinsic  # type: ignore[untyped-decorator]
def _give_way(context: Any) -> Any:
    """Let another thread have this core."""

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if _YIELDS:
            kind = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return target.get_dummy_value()

    return types.void(), generate


@njit(nogil=True)
def meet(team, met):  # type: ignore[no-untyped-def]
    """Wait until all of a team have met once more than `met` times; returns that number.

    A team is which thread this is, how many they are, and the address of their counter.
    """
    parts, address = team[1], team[2]
    if parts > 1:
        _arrive(address)
        looks = 0
        while _arrived(address) < (met + 1) * parts:
            looks += 1
            if looks > _LOOKS:
                _give_way()
    return met + 1
