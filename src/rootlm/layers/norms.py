"""Normalisation of the stream: root mean square or mean and variance."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from rootlm.core.config import Config
from rootlm.layers.frugal import rms_norm


class RMSNorm(nn.Module):
    """x / √(mean(x²) + ε) · g (Zhang & Sennrich 2019)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)


class LayerNorm(nn.Module):
    """(x − mean) / √(variance + ε) · g + b (Ba et al. 2016)."""

    def __init__(self, width: int, eps: float, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.layer_norm(x, (x.shape[-1],), self.weight.to(x.dtype), bias, self.eps)


class RMSNormConfig(Config):
    """Root-mean-square normalisation."""

    kind: Literal["rmsnorm"] = "rmsnorm"
    eps: float = Field(1e-6, gt=0)
    """Added to the mean square before the root."""

    def build(self, width: int) -> nn.Module:
        """Return the norm of a stream `width` wide."""
        return RMSNorm(width, self.eps)


class LayerNormConfig(Config):
    """Mean-and-variance normalisation."""

    kind: Literal["layernorm"] = "layernorm"
    eps: float = Field(1e-5, gt=0)
    """Added to the variance before the root."""
    bias: bool = True
    """Learn a shift as well as a scale."""

    def build(self, width: int) -> nn.Module:
        """Return the norm of a stream `width` wide."""
        return LayerNorm(width, self.eps, self.bias)


NormConfig = Annotated[RMSNormConfig | LayerNormConfig, Field(discriminator="kind")]
