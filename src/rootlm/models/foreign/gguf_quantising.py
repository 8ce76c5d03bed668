"""Numbers into GGUF's types, rounded as ggml's reference code rounds them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from rootlm.models.foreign.gguf_blocks import BF16, F16, F32, Q4_0, Q8_0, Bytes, Layout, Values

Kind = Literal["F32", "F16", "BF16", "Q8_0", "Q4_0"]
KINDS: dict[Kind, Layout] = {"F32": F32, "F16": F16, "BF16": BF16, "Q8_0": Q8_0, "Q4_0": Q4_0}
"""The types a file can be written in."""
_WHOLE = ("position_embd.weight", "token_types.weight")
_VALUES_AT_ONCE = 1 << 22


def layout_of(name: str, shape: tuple[int, ...], kind: Kind, *, tied: bool) -> Layout:
    """Return how a tensor is written in a file of this kind.

    What llama.cpp adds or multiplies one by one stays F32. Rows that are no whole blocks stay F16. The matrix that
    makes logits decides most: where others have four bits it has eight.
    """
    layout = KINDS[kind]
    if len(shape) < 2 or name in _WHOLE:
        return F32
    if shape[-1] % layout.values:
        return F16
    if layout is Q4_0 and name == ("token_embd.weight" if tied else "output.weight"):
        return Q8_0
    return layout


def encoded(tensor: Tensor, layout: Layout, name: str) -> Any:
    """Yield the bytes of a tensor, a few million values at a time.

    Raises ValueError naming a tensor that holds a number which the type cannot hold.
    """
    flat = tensor.detach().reshape(-1)
    at_once = _VALUES_AT_ONCE // layout.values * layout.values
    for start in range(0, flat.numel(), at_once):
        part = flat[start : start + at_once].to("cpu")
        if not bool(torch.isfinite(part).all()):
            raise ValueError(f"{name} holds a number that is not finite; the network is broken, not written")
        yield _encoded(part, layout, name).tobytes()


def _encoded(part: Tensor, layout: Layout, name: str) -> Any:
    if layout is BF16:
        return part.to(torch.bfloat16).view(torch.int16).numpy()
    values = part.to(torch.float32).numpy()
    if layout is F32:
        return values
    if layout is F16:
        with np.errstate(over="ignore"):
            halves = values.astype(np.float16)
        if not np.isfinite(halves).all():
            raise ValueError(
                f"{name} holds {float(np.abs(values).max()):.4g}, too much for F16; write BF16 or F32"
            )
        return halves
    blocks = values.reshape(-1, layout.values)
    return _q8_0(blocks) if layout is Q8_0 else _q4_0(blocks)


def _inverse(steps: Values) -> Values:
    """Return 1 / step, and 0 where a block is all zeros."""
    return np.divide(np.float32(1), steps, out=np.zeros_like(steps), where=steps != 0)


def _halves(steps: Values) -> Bytes:
    return steps.astype(np.float16).view(np.uint8)


def _q8_0(blocks: Values) -> Bytes:
    """The largest value takes 127 steps; halves are rounded away from zero."""
    steps = np.abs(blocks).max(axis=-1, keepdims=True) / np.float32(127)
    scaled = blocks * _inverse(steps)
    whole = np.trunc(scaled)
    # The rest is exact; adding a half before cutting would round twice.
    whole += np.sign(scaled) * (np.abs(scaled - whole) >= np.float32(0.5))
    return np.concatenate([_halves(steps), whole.astype(np.int8).view(np.uint8)], axis=-1)


def _q4_0(blocks: Values) -> Bytes:
    """The value farthest from zero takes eight steps down, so that it is met exactly whatever its sign."""
    farthest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=-1, keepdims=True), axis=-1)
    steps = farthest / np.float32(-8)
    whole = np.clip(np.trunc(blocks * _inverse(steps) + np.float32(8.5)), 0, 15).astype(np.uint8)
    low, high = np.hsplit(whole, 2)
    return np.concatenate([_halves(steps), low | (high << 4)], axis=-1)
