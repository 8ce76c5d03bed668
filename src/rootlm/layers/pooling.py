"""One vector for a whole text, from the vectors of its tokens."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Pooling = Literal["cls", "mean", "last", "max"]
"""Of the tokens of a text: the first, the mean of all, the last, or the largest number at each place."""


def pool(hidden: Tensor, lengths: Tensor | None, how: Pooling) -> Tensor:
    """Return (batch, width) from `hidden` (batch, time, width), of which `lengths` (batch,) are real.

    >>> hidden = torch.tensor([[[1.0], [3.0], [9.0]]])
    >>> [float(pool(hidden, torch.tensor([2]), how)) for how in ("cls", "mean", "last", "max")]
    [1.0, 2.0, 3.0, 3.0]
    """
    if how == "cls":
        return hidden[:, 0]
    time = hidden.shape[1]
    if lengths is None:
        return hidden.mean(1) if how == "mean" else hidden[:, -1] if how == "last" else hidden.amax(1)
    if how == "last":
        return hidden[torch.arange(len(hidden), device=hidden.device), lengths - 1]
    real = torch.arange(time, device=hidden.device) < lengths[:, None]
    if how == "max":
        return hidden.masked_fill(~real[:, :, None], -torch.inf).amax(1)
    # What lies beyond the end means nothing, and may be no number.
    total = hidden.masked_fill(~real[:, :, None], 0.0).sum(1)
    return total / lengths[:, None].to(hidden.dtype)
