"""Blocks of numbers in steps of eight or four bits, written and read, compiled; in float32, as ggml's code has it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rootlm.core.compiled import compiled
from rootlm.layers.weight_blocks import BLOCK, Bytes, Values

Steps = NDArray[np.int8]

_HALF, _ZERO, _ONE = np.float32(0.5), np.float32(0), np.float32(1)


@compiled
def round_eights(values: Values, steps: Values, made: Steps) -> None:
    """Leave the step of each block of `values` (blocks, 32) in `steps`, its numbers as bytes in `made` (blocks, 32).

    The largest takes 127 steps; halves are rounded away from zero.
    """
    for block in range(len(values)):
        largest = _ZERO
        for place in range(BLOCK):
            largest = max(largest, abs(values[block, place]))
        step = largest / np.float32(127)
        steps[block] = step
        inverse = _ONE / step if step > _ZERO else _ZERO
        for place in range(BLOCK):
            scaled = values[block, place] * inverse
            whole = np.trunc(scaled)
            # The rest is exact; adding a half before cutting would round twice.
            rest = scaled - whole
            if rest >= _HALF:
                whole += _ONE
            elif rest <= -_HALF:
                whole -= _ONE
            made[block, place] = np.int8(whole)


@compiled
def round_fours(values: Values, steps: Values, made: Bytes) -> None:
    """Leave the step of each block of `values` (blocks, 32) in `steps`, its numbers as halves of `made` (blocks, 16).

    The value farthest from zero takes eight steps down, so that it is met exactly whatever its sign.
    """
    half = BLOCK // 2
    for block in range(len(values)):
        farthest = _ZERO
        for place in range(BLOCK):
            if abs(values[block, place]) > abs(farthest):
                farthest = values[block, place]
        step = farthest / np.float32(-8)
        steps[block] = step
        inverse = _ONE / step if step != _ZERO else _ZERO
        for place in range(half):
            low = np.trunc(values[block, place] * inverse + np.float32(8.5))
            high = np.trunc(values[block, half + place] * inverse + np.float32(8.5))
            made[block, place] = np.uint8(min(low, np.float32(15))) | np.uint8(min(high, np.float32(15))) << 4


@compiled
def read_eights(made: Steps, steps: Values, values: Values) -> None:
    """Leave in `values` (blocks, 32) what the bytes `made` (blocks, 32) are at these steps."""
    for block in range(len(made)):
        for place in range(BLOCK):
            values[block, place] = steps[block] * np.float32(made[block, place])


@compiled
def read_fours(made: Bytes, steps: Values, values: Values) -> None:
    """Leave in `values` (blocks, 32) what the halves of the bytes `made` (blocks, 16) are at these steps."""
    half = BLOCK // 2
    for block in range(len(made)):
        for place in range(half):
            pair = made[block, place]
            values[block, place] = steps[block] * np.float32(np.int32(pair & 15) - 8)
            values[block, half + place] = steps[block] * np.float32(np.int32(pair >> 4) - 8)
