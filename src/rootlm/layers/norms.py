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


class RMSNormAboutOne(nn.Module):
    """x / √(mean(x²) + ε) · (1 + w): the gain is held as what it differs from 1 by."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        # In float32: a small weight would be lost beside the 1 in bfloat16.
        normed = F.rms_norm(x.float(), (x.shape[-1],), eps=self.eps)
        return (normed * (1 + self.weight.float())).to(x.dtype)


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
    about_one: bool = False
    """Hold the gain as what it differs from 1 by, as Gemma does."""

    def build(self, width: int) -> nn.Module:
        """Return the norm of a stream `width` wide."""
        return RMSNormAboutOne(width, self.eps) if self.about_one else RMSNorm(width, self.eps)


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
