"""Attention that holds its probabilities: on a CPU, for short contexts, twice as fast as the fused kernel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

LONGEST = 512
"""Queries times keys beyond the square of this would hold too much; the fused kernel takes over."""


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, *, is_causal: bool) -> Tensor:
    """Return softmax(q kᵀ / √d + mask) v, all (batch, heads, time, head_size); fewer heads in k and v are shared."""
    queries, keys = q.shape[2], k.shape[2]
    if q.device.type == "cpu" and q.requires_grad and queries * keys <= LONGEST**2:
        if is_causal:
            mask = torch.full((queries, keys), float("-inf"), dtype=q.dtype).triu_(1)
        shared = q.shape[1] // k.shape[1]
        if shared > 1:
            k, v = k.repeat_interleave(shared, 1), v.repeat_interleave(shared, 1)
        mixed: Tensor = _DenseAttention.apply(  # type: ignore[no-untyped-call]
            q.contiguous(), k.contiguous(), v.contiguous(), mask
        )
        return mixed
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=is_causal, enable_gqa=q.shape[1] != k.shape[1]
    )


def attend_capped(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, *, is_causal: bool, softcap: float
) -> Tensor:
    """Return what `attend` does, with scores c · tanh(scores / c) before the mask, as in Gemma 2."""
    shared = q.shape[1] // k.shape[1]
    if shared > 1:
        k, v = k.repeat_interleave(shared, 1), v.repeat_interleave(shared, 1)
    scores = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-1, -2))
    scores = softcap * torch.tanh(scores / softcap)
    if is_causal:
        future = torch.full(scores.shape[-2:], float("-inf"), dtype=q.dtype, device=q.device)
        mask = future.triu_(1)
    if mask is not None:
        scores = scores + mask
    return torch.matmul(torch.softmax(scores, -1), v)


class _DenseAttention(torch.autograd.Function):
    """Keeps the probabilities for the backward pass, where dS = P ⊙ (dP − rowsum(dO ⊙ O))."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        scores = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-1, -2))
        if mask is not None:
            scores = scores.add_(mask)
        shares = torch.softmax(scores, -1)
        mixed = torch.matmul(shares, v)
        ctx.save_for_backward(q, k, v, shares, mixed)
        ctx.mask_shape = None if mask is None or not mask.requires_grad else mask.shape
        return mixed

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, shares, mixed = ctx.saved_tensors
        scale = q.shape[-1] ** -0.5
        given = upstream[0]
        along = (given * mixed).sum(-1, keepdim=True)
        slope = torch.matmul(given, v.transpose(-1, -2)).sub_(along).mul_(shares)
        q_gradient = torch.matmul(slope, k).mul_(scale)
        k_gradient = torch.matmul(slope.transpose(-1, -2), q).mul_(scale)
        v_gradient = torch.matmul(shares.transpose(-1, -2), given)
        # A mask that is learned (relative positions) holds one value for all that it was spread over.
        mask_gradient = None if ctx.mask_shape is None else slope.sum_to_size(ctx.mask_shape)
        return q_gradient, k_gradient, v_gradient, mask_gradient
