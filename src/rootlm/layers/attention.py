"""Self-attention: multi-head, grouped-query, sliding-window, with normalised queries and keys or without."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from rootlm.core.config import Config
from rootlm.layers.dense_attention import attend, attend_capped
from rootlm.layers.key_values import KeyValues
from rootlm.layers.linear import Linear
from rootlm.layers.places import Places
from rootlm.layers.positions import Positions, rotate


class AttentionConfig(Config):
    """Self-attention."""

    bias: bool = False
    """Add biases to all four projections."""
    out_bias: bool | None = None
    """Add a bias to the last projection; none does as `bias` says."""
    scale: float | None = Field(None, gt=0)
    """What scores are multiplied by; none takes 1 / √head_size."""
    softcap: float | None = Field(None, gt=0)
    """Scores become c · tanh(scores / c), as in Gemma 2; none leaves them."""
    qk_norm: bool = False
    """Normalise queries and keys per head (Henry et al. 2020; as in Qwen3)."""
    qk_norm_whole: bool = False
    """Normalise all heads together instead, as in OLMo 2."""
    qk_norm_about_one: bool = False
    """Hold the gains as what they differ from 1 by, as Gemma does."""
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
        self.config = config
        self.window = config.window
        parts = (n_heads * head_size, n_kv_heads * head_size, n_kv_heads * head_size)
        self.qkv = Linear(width, sum(parts), bias=config.bias, parts=parts)
        out_bias = config.bias if config.out_bias is None else config.out_bias
        self.out = Linear(n_heads * head_size, width, bias=out_bias)
        still = torch.zeros if config.qk_norm_about_one else torch.ones
        q_size, k_size = parts[:2] if config.qk_norm_whole else (head_size, head_size)
        self.q_norm = nn.Parameter(still(q_size)) if config.qk_norm else None
        self.k_norm = nn.Parameter(still(k_size)) if config.qk_norm else None
        self.qk_norm_eps = config.qk_norm_eps
        # What queries are multiplied by, so that scores over √head_size have the scale that was asked for.
        self.q_factor = None if config.scale is None else config.scale * head_size**0.5

    def forward(
        self, x: Tensor, places: Places, positions: Positions, memory: tuple[KeyValues, int] | None = None
    ) -> Tensor:
        """Return (batch, time, width); with `memory`, a state and the layer's number, keys are kept there."""
        batch, time, _ = x.shape
        turned = self.n_heads + self.n_kv_heads
        qkv = self.qkv(x).view(batch, time, turned + self.n_kv_heads, self.head_size)
        qk, v = qkv[:, :, :turned], qkv[:, :, turned:]
        if self.q_norm is not None and self.k_norm is not None:
            qk = self._normed(qk, self.q_norm, self.k_norm)
        rotation = places.rotation if self.window is None else places.window_rotation or places.rotation
        if rotation is not None:
            qk = rotate(qk, rotation)
        q, k = qk[:, :, : self.n_heads].transpose(1, 2), qk[:, :, self.n_heads :].transpose(1, 2)
        v = v.transpose(1, 2)
        if self.q_factor is not None:
            q = q * self.q_factor
        if memory is not None:
            state, layer = memory
            k, v = state.write(layer, k, v, places.slots)
            q = q.to(k.dtype)
        mask = places.mask(self.window, positions)
        is_causal, softcap = mask is None and places.is_causal, self.config.softcap
        if softcap is None:
            mixed = attend(q, k, v, mask, is_causal=is_causal)
        else:
            mixed = attend_capped(q, k, v, mask, is_causal=is_causal, softcap=softcap)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, time, -1).to(x.dtype))
        return out

    def _normed(self, qk: Tensor, q_norm: Tensor, k_norm: Tensor) -> Tensor:
        """Return queries and keys (batch, time, heads, head_size) at unit scale, times their gains."""
        if self.config.qk_norm_about_one:
            q_norm, k_norm = 1 + q_norm.float(), 1 + k_norm.float()
        if self.config.qk_norm_whole:
            parts = zip(torch.split(qk, [self.n_heads, self.n_kv_heads], 2), (q_norm, k_norm), strict=True)
            normed = [
                F.rms_norm(part.flatten(2), (gain.numel(),), gain.to(part.dtype), self.qk_norm_eps)
                for part, gain in parts
            ]
            return torch.cat(normed, -1).view_as(qk)
        gains = torch.cat([q_norm.expand(self.n_heads, -1), k_norm.expand(self.n_kv_heads, -1)])
        return F.rms_norm(qk, (self.head_size,), eps=self.qk_norm_eps) * gains.to(qk.dtype)
