"""Two functions that keep less for the backward pass than torch's own do on a CPU, and make it again there.

What training holds between the two passes is most of its memory. Compiled code sees to this by itself, and so do
the fused kernels of a GPU, so both get torch's functions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Return x / √(mean(x²) + ε) · g over the last dimension, in the type of x; keeps x and a number a row."""
    if _keeps(x):
        normed: Tensor = _RMSNorm.apply(x, weight, eps)  # type: ignore[no-untyped-call]
        return normed
    return F.rms_norm(x, (x.shape[-1],), weight.to(x.dtype), eps)


def gated(streams: Tensor) -> Tensor:
    """Return silu(a) ⊙ b for the halves a, b of the last dimension; keeps the two and not silu(a)."""
    if _keeps(streams):
        product: Tensor = _Gated.apply(streams)  # type: ignore[no-untyped-call]
        return product
    gate, value = streams.chunk(2, -1)
    return F.silu(gate) * value


def _keeps(x: Tensor) -> bool:
    """Say whether torch's own functions would hold several copies of `x`."""
    return x.device.type == "cpu" and torch.is_grad_enabled() and not torch.compiler.is_compiling()


class _RMSNorm(torch.autograd.Function):
    """With n = x / r and r = √(mean(x²) + ε): dx = (dn − n · mean(dn ⊙ n)) / r."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = x.float()
        inverse = torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
        ctx.save_for_backward(x, weight, inverse)
        return (wide * inverse).to(x.dtype) * weight.to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, inverse = ctx.saved_tensors
        given = upstream[0].float()
        # Never in place here: in float32 these are the caller's own tensors.
        normed = x.float() * inverse
        slope = given * weight.float()
        weight_gradient = (given * normed).flatten(0, -2).sum(0).to(weight.dtype)
        along = (slope * normed).mean(-1, keepdim=True)
        return slope.sub_(normed.mul_(along)).mul_(inverse).to(x.dtype), weight_gradient, None


class _Gated(torch.autograd.Function):
    """d a = d ⊙ b ⊙ silu′(a), d b = d ⊙ silu(a)."""

    @staticmethod
    def forward(ctx: Any, streams: Tensor) -> Tensor:
        ctx.save_for_backward(streams)
        gate, value = streams.chunk(2, -1)
        return F.silu(gate).mul_(value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> Tensor:
        (streams,) = ctx.saved_tensors
        gate, value = streams.chunk(2, -1)
        made = torch.empty_like(streams)
        gate_gradient, value_gradient = made.chunk(2, -1)
        torch.mul(F.silu(gate), upstream[0], out=value_gradient)
        torch.ops.aten.silu_backward.grad_input(upstream[0] * value, gate, grad_input=gate_gradient)
        return made
