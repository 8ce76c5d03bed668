"""Linear maps and embeddings that follow the type of the stream: float32 weights, bfloat16 work."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rootlm.layers import few_vectors
from rootlm.layers.low_rank import LowRank
from rootlm.layers.quantised import Quantised
from rootlm.layers.weight_blocks import Bits


class Linear(nn.Linear):
    """y = x Wᵀ + b, computed in the type of x; the weights keep their own type.

    Master weights stay float32 while the stream is bfloat16; the gradient comes back in float32. `parts` are the
    heights of the matrices that W stacks, when it is several in one. An `adapter` changes what W says. Once it is
    `quantised` it can be read, no longer learned: there is no `weight`.
    """

    def __init__(self, width: int, outputs: int, *, bias: bool, parts: tuple[int, ...] = ()) -> None:
        super().__init__(width, outputs, bias=bias)
        assert not parts or sum(parts) == outputs
        self.parts = parts
        self.adapter: LowRank | None = None
        self.quantised: Quantised | None = None
        self._packed: tuple[Tensor, int] | None = None

    def keep_packed(self, packed: Tensor) -> None:
        """Use a laid-out copy of the present weights for reading, until they change."""
        self._packed = (packed, self.weight._version)

    def forget_packed(self) -> None:
        """Use the weights themselves again."""
        self._packed = None

    def quantise(self, bits: Bits) -> int:
        """Keep the weights in so many bits from now on; returns the bytes that takes."""
        assert self.adapter is None
        self.forget_packed()
        self.quantised = Quantised(self.weight, bits)
        self.register_parameter("weight", None)
        return self.quantised.blocks.nbytes

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name that torch gave it
        product = self._product(input)
        if self.adapter is None:
            return product
        changed: Tensor = self.adapter(input, product, self.weight, self.bias)
        return changed

    def _product(self, input: Tensor) -> Tensor:  # noqa: A002 - as above
        if self.quantised is not None:
            quantised: Tensor = self.quantised(input, self.bias)
            return quantised
        if self._packed is not None and not torch.is_grad_enabled() and input.dtype == self.weight.dtype:
            packed, version = self._packed
            if version == self.weight._version:
                product: Tensor = torch.ops.mkldnn._linear_pointwise(input, packed, self.bias, "none", [], "")
                return product
        bias = None if self.bias is None else self.bias.to(input.dtype)
        if few_vectors.pays(input, self.weight):
            made = few_vectors.multiplied(input.reshape(-1, self.in_features), self.weight, input.dtype)
            made = made.view(*input.shape[:-1], -1)
            return made if bias is None else made + bias
        return F.linear(input, self.weight.to(input.dtype), bias)


class Head(Linear):
    """The last map, to logits; with a `softcap` c they are c · tanh(logits / c), as in Gemma 2."""

    def __init__(self, width: int, outputs: int, *, softcap: float | None = None) -> None:
        super().__init__(width, outputs, bias=False)
        self.softcap = softcap

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name that torch gave it
        logits = super().forward(input)
        return logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)


class Embedding(nn.Embedding):
    """A row of the table per id, in the type that is asked for."""

    def read(self, ids: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the rows of `ids` (…) as (…, width) in `dtype`."""
        return F.embedding(ids, self.weight).to(dtype)
