"""Matrices as flat arrays whose rows are as wide as vector instructions like it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

LANES = 16
"""Numbers taken at once; processors with shorter registers take several."""
_APART = 128
"""Bytes of two lines of the cache."""
_MOST_NUMBERS = 1 << 22


def width_of(size: int) -> int:
    """Return how many numbers a row of `size` takes; what it does not need stays zero.

    >>> width_of(100), width_of(16)
    (112, 16)
    """
    return -(-size // LANES) * LANES


def aligned(count: int, kind: type[np.generic] = np.float32) -> NDArray[Any]:
    """Return an array of zeros that begins where a line of the cache begins and has its lines to itself.

    What two workers write on must not share a line, nor lie in two that the processor fetches together: each would
    take it from the other at every step, and learning on two cores was slower than on one.
    """
    size = count * np.dtype(kind).itemsize
    memory = np.zeros(size + 2 * _APART, np.uint8)
    start = -memory.ctypes.data % _APART
    return memory[start : start + size].view(kind)


def scattered(rows: int, size: int, most: float, seed: int) -> Floats:
    """Return a matrix (rows · width,) of random numbers between −most and most."""
    width = width_of(size)
    matrix = aligned(rows * width)
    generator = np.random.default_rng(seed)
    at_once = max(1, _MOST_NUMBERS // size)
    for first in range(0, rows, at_once):
        some = matrix.reshape(rows, width)[first : first + at_once, :size]
        some[:] = generator.random(some.shape, np.float32)
        some -= 0.5
        some *= 2 * most
    return matrix


def unpadded(matrix: Floats, size: int) -> Floats:
    """Return the matrix (rows, size)."""
    return np.ascontiguousarray(matrix.reshape(-1, width_of(size))[:, :size])
