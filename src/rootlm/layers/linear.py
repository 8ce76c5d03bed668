"""Linear maps and embeddings that follow the type of the stream: float32 weights, bfloat16 work."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Linear(nn.Linear):
    """y = x Wᵀ + b, computed in the type of x; the weights keep their own type.

    Master weights stay float32 while the stream is bfloat16; the gradient comes back in float32. `parts` are the
    heights of the matrices that W stacks, when it is several in one.
    """

    def __init__(self, width: int, outputs: int, *, bias: bool, parts: tuple[int, ...] = ()) -> None:
        super().__init__(width, outputs, bias=bias)
        assert not parts or sum(parts) == outputs
        self.parts = parts

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name that torch gave it
        bias = None if self.bias is None else self.bias.to(input.dtype)
        return F.linear(input, self.weight.to(input.dtype), bias)


class Embedding(nn.Embedding):
    """A row of the table per id, in the type that is asked for."""

    def read(self, ids: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the rows of `ids` (…) as (…, width) in `dtype`."""
        return F.embedding(ids, self.weight).to(dtype)
