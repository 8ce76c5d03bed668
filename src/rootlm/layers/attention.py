"""Self-attention: multi-head, grouped-query, sliding-window, with normalised queries and keys or without."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from rootlm.core.config import Config
from rootlm.layers.dense_attention import attend
from rootlm.layers.key_values import KeyValues
from rootlm.layers.linear import Linear
from rootlm.layers.places import Places
from rootlm.layers.positions import Positions, rotate


class AttentionConfig(Config):
    """Self-attention."""

    bias: bool = False
    """Add biases to all four projections."""
    qk_norm: bool = False
    """Normalise queries and keys per head (Henry et al. 2020; as in Qwen3)."""
    qk_norm_eps: float = Field(1e-6, gt=0)
    """Added to the mean square before the root."""
    window: int | None = Field(None, ge=1)
    """A token sees itself and the window − 1 tokens before it (and after it in an encoder); none sees all."""


class Attention(nn.Module):
    """softmax(q kᵀ / √d + mask) v per head, `n_heads` queries sharing `n_kv_heads` keys and values.

    One matrix makes queries, keys and values, in that order.
    """

    def __init__(
        self, config: AttentionConfig, *, width: int, n_heads: int, n_kv_heads: int, head_size: int
    ) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads, self.head_size = n_heads, n_kv_heads, head_size
        self.window = config.window
        parts = (n_heads * head_size, n_kv_heads * head_size, n_kv_heads * head_size)
        self.qkv = Linear(width, sum(parts), bias=config.bias, parts=parts)
        self.out = Linear(n_heads * head_size, width, bias=config.bias)
        self.q_norm = nn.Parameter(torch.ones(head_size)) if config.qk_norm else None
        self.k_norm = nn.Parameter(torch.ones(head_size)) if config.qk_norm else None
        self.qk_norm_eps = config.qk_norm_eps

    def forward(
        self, x: Tensor, places: Places, positions: Positions, memory: tuple[KeyValues, int] | None = None
    ) -> Tensor:
        """Return (batch, time, width); with `memory`, a state and the layer's number, keys are kept there."""
        batch, time, _ = x.shape
        turned = self.n_heads + self.n_kv_heads
        qkv = self.qkv(x).view(batch, time, turned + self.n_kv_heads, self.head_size)
        qk, v = qkv[:, :, :turned], qkv[:, :, turned:]
        if self.q_norm is not None and self.k_norm is not None:
            scale = torch.cat([self.q_norm.expand(self.n_heads, -1), self.k_norm.expand(self.n_kv_heads, -1)])
            qk = F.rms_norm(qk, (self.head_size,), eps=self.qk_norm_eps) * scale.to(qk.dtype)
        if places.rotation is not None:
            qk = rotate(qk, places.rotation)
        q, k = qk[:, :, : self.n_heads].transpose(1, 2), qk[:, :, self.n_heads :].transpose(1, 2)
        v = v.transpose(1, 2)
        if memory is not None:
            state, layer = memory
            k, v = state.write(layer, k, v, places.slots)
            q = q.to(k.dtype)
        mask = places.mask(self.window, positions)
        mixed = attend(q, k, v, mask, is_causal=mask is None and places.is_causal)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, time, -1).to(x.dtype))
        return out
