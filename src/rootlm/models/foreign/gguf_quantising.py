"""Numbers into GGUF's types, rounded as ggml's reference code rounds them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from rootlm.layers.weight_blocks import EIGHTS, FOURS
from rootlm.models.foreign.gguf_blocks import BF16, F16, F32, Q4_0, Q8_0, Layout

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
    return (EIGHTS if layout is Q8_0 else FOURS).rounded(values.reshape(-1, layout.values))
