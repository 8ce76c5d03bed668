"""The ways in which GGUF writes numbers, and their values again: plain types and blocks with a common scale.

Layouts as ggml defines them (`block_q4_0` and so on). A block lies within one row; its values are computed in
float32, in ggml's own order of operations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rootlm.layers.weight_blocks import BLOCK, EIGHTS, FOURS, Bytes, Values
from rootlm.layers.weight_blocks import half as _half


@dataclass(frozen=True)
class Layout:
    """One of ggml's types: how many values share a block, and how many bytes that takes."""

    number: int
    name: str
    values: int
    width: int
    read: Callable[[Bytes], Values] | None = None
    """Turns blocks (count, width) into values (count, values); None for the plain types."""

    def bytes_of(self, shape: tuple[int, ...]) -> int:
        """Return the bytes of a tensor of this shape; its rows must be whole blocks."""
        count = 1
        for size in shape:
            count *= size
        return count // self.values * self.width


def _nibbles(packed: Bytes) -> Bytes:
    """Return the lower halves of all bytes of a block, then the upper ones."""
    return np.concatenate([packed & 15, packed >> 4], axis=-1)


def _fifth_bits(blocks: Bytes, start: int) -> Bytes:
    """Return 16 where the bit that a value has beyond its four is set, (count, 32)."""
    bits = np.unpackbits(np.ascontiguousarray(blocks[:, start : start + 4]), axis=-1, bitorder="little")
    return np.left_shift(bits, 4, dtype=np.uint8)


def _q4_1(blocks: Bytes) -> Values:
    return _half(blocks, 0) * _nibbles(blocks[:, 4:]).astype(np.float32) + _half(blocks, 2)


def _q5_0(blocks: Bytes) -> Values:
    whole = _nibbles(blocks[:, 6:]) | _fifth_bits(blocks, 2)
    return _half(blocks, 0) * (whole.astype(np.float32) - 16)


def _q5_1(blocks: Bytes) -> Values:
    whole = _nibbles(blocks[:, 8:]) | _fifth_bits(blocks, 4)
    return _half(blocks, 0) * whole.astype(np.float32) + _half(blocks, 2)


def _q4_k(blocks: Bytes) -> Values:
    """Eight groups of 32 values: a scale and a lowest value of six bits each, packed into twelve bytes."""
    packed = blocks[:, 4:16]
    low, high, mixed = packed[:, 0:4], packed[:, 4:8], packed[:, 8:12]
    scales = np.concatenate([low & 63, (mixed & 15) | (low >> 6 << 4)], axis=-1)
    lowest = np.concatenate([high & 63, (mixed >> 4) | (high >> 6 << 4)], axis=-1)
    steps = (_half(blocks, 0) * scales.astype(np.float32))[:, :, None]
    starts = (_half(blocks, 2) * lowest.astype(np.float32))[:, :, None]
    pairs = blocks[:, 16:].reshape(-1, 4, 1, 32)
    quants = np.concatenate([pairs & 15, pairs >> 4], axis=2).reshape(-1, 8, 32)
    return (steps * quants.astype(np.float32) - starts).reshape(-1, 256)


def _q6_k(blocks: Bytes) -> Values:
    """Two halves of 128 values; every 16 have a scale. Four bits lie in one place, two in another."""
    low = blocks[:, :128].reshape(-1, 2, 1, 64)
    four = np.concatenate([low & 15, low >> 4], axis=2).reshape(-1, 2, 4, 32)
    high = blocks[:, 128:192].reshape(-1, 2, 1, 32)
    two = (high >> np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 4, 1)) & 3
    quants = (four | (two << 4)).astype(np.float32) - 32
    scales = np.ascontiguousarray(blocks[:, 192:208]).view(np.int8).astype(np.float32)
    steps = _half(blocks, 208) * scales
    made: Values = (steps[:, :, None] * quants.reshape(-1, 16, 16)).reshape(-1, 256)
    return made


F32 = Layout(0, "F32", 1, 4)
F16 = Layout(1, "F16", 1, 2)
BF16 = Layout(30, "BF16", 1, 2)
Q4_0 = Layout(2, "Q4_0", BLOCK, FOURS.width, FOURS.values)
Q8_0 = Layout(8, "Q8_0", BLOCK, EIGHTS.width, EIGHTS.values)
_ALL = (
    F32,
    F16,
    BF16,
    Q4_0,
    Layout(3, "Q4_1", 32, 20, _q4_1),
    Layout(6, "Q5_0", 32, 22, _q5_0),
    Layout(7, "Q5_1", 32, 24, _q5_1),
    Q8_0,
    Layout(12, "Q4_K", 256, 144, _q4_k),
    Layout(14, "Q6_K", 256, 210, _q6_k),
)
LAYOUTS = {layout.number: layout for layout in _ALL}
"""The types that are read, by ggml's numbers."""

_OTHERS = "Q8_1 Q2_K Q3_K - Q5_K - Q8_K IQ2_XXS IQ2_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ2_S IQ4_XS I8 I16 I32 I64 F64 IQ1_M"
OTHERS = dict(enumerate(_OTHERS.split(), 9))
"""Names of the types that are not, for messages."""


def values(blocks: Bytes, layout: Layout, out: Any) -> None:
    """Write the values of a tensor's bytes into `out`, float32 and flat, a few million at a time."""
    assert layout.read is not None
    table = blocks.reshape(-1, layout.width)
    at_once = (1 << 21) // layout.values
    for start in range(0, len(table), at_once):
        made = layout.read(table[start : start + at_once])
        out[start * layout.values : start * layout.values + made.size] = made.reshape(-1)
