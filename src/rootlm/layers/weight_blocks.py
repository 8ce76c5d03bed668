"""Matrices in blocks of 32 numbers with a common scale: what int8 and int4 weights are.

The layouts are ggml's `block_q8_0` and `block_q4_0`, so what is rounded here is rounded as in a GGUF file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Values = NDArray[np.float32]
Bits = Literal["int8", "int4"]
Weights = Literal["stored", "int8", "int4"]
"""How weights are kept while they are read: in their own type, or in fewer bits."""
BLOCK = 32
"""Numbers that share a scale."""


@dataclass(frozen=True)
class Form:
    """How many bytes a block takes, the scale's two among them."""

    bits: Bits
    width: int

    def line(self, count: int) -> int:
        """Return the bytes of a row of so many numbers, which must be whole blocks."""
        assert count % BLOCK == 0
        return count // BLOCK * self.width

    def rounded(self, blocks: Values) -> Bytes:
        """Return blocks (count, 32) as bytes (count, width)."""
        from rootlm.layers.blocks_kernel import round_eights, round_fours

        made = np.empty((len(blocks), self.width), np.uint8)
        steps = np.empty(len(blocks), np.float32)
        if self.bits == "int8":
            round_eights(blocks, steps, made[:, 2:].view(np.int8))
        else:
            round_fours(blocks, steps, made[:, 2:])
        with np.errstate(over="ignore"):
            made[:, :2] = steps.astype(np.float16).view(np.uint8).reshape(-1, 2)
        return made

    def values(self, made: Bytes) -> Values:
        """Return the numbers (count, 32) that bytes (count, width) stand for."""
        from rootlm.layers.blocks_kernel import read_eights, read_fours

        found = np.empty((len(made), BLOCK), np.float32)
        steps = half(made, 0)[:, 0]
        if self.bits == "int8":
            read_eights(made[:, 2:].view(np.int8), steps, found)
        else:
            read_fours(made[:, 2:], steps, found)
        return found


EIGHTS, FOURS = Form("int8", 34), Form("int4", 18)
FORMS: dict[Bits, Form] = {"int8": EIGHTS, "int4": FOURS}


def half(blocks: Bytes, start: int) -> Values:
    """Return the float16 at a place of each block, (count, 1)."""
    return np.ascontiguousarray(blocks[:, start : start + 2]).view(np.float16).astype(np.float32)
