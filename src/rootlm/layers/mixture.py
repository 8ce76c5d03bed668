"""A mixture of experts that drops no token: each goes to its best few feed-forward parts."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from rootlm.core.config import Config
from rootlm.layers.feedforward import (
    GeGLUConfig,
    GeLUConfig,
    ReLU2Config,
    ReLUConfig,
    SiLUConfig,
    SwiGLUConfig,
)
from rootlm.layers.linear import Linear

DenseConfig = Annotated[
    SwiGLUConfig | GeLUConfig | GeGLUConfig | ReLUConfig | ReLU2Config | SiLUConfig,
    Field(discriminator="kind"),
]


class Mixture(nn.Module):
    """Σ over the best k experts of p_e(x) · expert_e(x) (Shazeer et al. 2017).

    With `renormalise` the probabilities of the chosen sum to 1.

    After a read, `balance` holds E · Σ_e (share of choices)_e · (mean probability)_e, which is 1 when the load
    is even (Fedus et al. 2022).
    """

    def __init__(
        self, experts: list[nn.Module], width: int, chosen: int, *, renormalise: bool = True
    ) -> None:
        super().__init__()
        self.experts = nn.ModuleList(experts)
        self.router = Linear(width, len(experts), bias=False)
        self.chosen, self.renormalise = chosen, renormalise
        self.balance: Tensor | None = None

    @property
    def idle_weights(self) -> int:
        """Weights that a token does not use."""
        one = sum(parameter.numel() for parameter in self.experts[0].parameters())
        return one * (len(self.experts) - self.chosen)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])  # (tokens, width)
        probabilities = self.router(flat.float()).softmax(-1)
        weights, experts = probabilities.topk(self.chosen, dim=-1)
        if self.renormalise:
            weights = weights / weights.sum(-1, keepdim=True)
        weights = weights.to(x.dtype)
        order = experts.flatten().argsort(stable=True)
        counts = torch.bincount(experts.flatten(), minlength=len(self.experts))
        tokens = order // self.chosen
        parts = torch.split(flat[tokens], counts.tolist())
        mixed = torch.cat([expert(part) for expert, part in zip(self.experts, parts, strict=True)])
        mixed = mixed * weights.flatten()[order][:, None]
        shares = counts.to(probabilities.dtype) / experts.numel()
        self.balance = len(self.experts) * (shares * probabilities.mean(0)).sum()
        return torch.zeros_like(flat).index_add(0, tokens, mixed).view_as(x)


class MixtureConfig(Config):
    """Several feed-forward parts, of which each token uses a few."""

    kind: Literal["mixture"] = "mixture"
    experts: int = Field(8, ge=2)
    """How many there are."""
    chosen: int = Field(2, ge=1)
    """How many each token uses."""
    expert: DenseConfig = SwiGLUConfig()
    """What one expert is."""
    renormalise: bool = True
    """Let the probabilities of the chosen sum to 1."""

    @model_validator(mode="after")
    def _enough(self) -> MixtureConfig:
        if self.chosen > self.experts:
            raise ValueError(f"chosen is {self.chosen}, but there are {self.experts} experts")
        return self

    def build(self, width: int) -> nn.Module:
        """Return the part for a stream `width` wide."""
        experts = [self.expert.build(width) for _ in range(self.experts)]
        return Mixture(experts, width, self.chosen, renormalise=self.renormalise)


FeedForwardConfig = Annotated[
    SwiGLUConfig | GeLUConfig | GeGLUConfig | ReLUConfig | ReLU2Config | SiLUConfig | MixtureConfig,
    Field(discriminator="kind"),
]
