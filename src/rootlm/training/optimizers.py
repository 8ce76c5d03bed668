"""Optimizers, each with its formula; θ are the weights, g the gradient, η the learning rate, λ the decay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from rootlm.core.config import Config
from rootlm.layers.linear import Linear
from rootlm.training.muon import Muon

Named = Iterable[tuple[str, nn.Parameter]]


class _Optimizer(Config):
    learning_rate: float = Field(1e-3, gt=0)
    """The highest step size; the schedule scales it."""
    weight_decay: float = Field(0.0, ge=0)
    """λ, for matrices only; norms and biases are never decayed."""


class GradientDescentConfig(_Optimizer):
    """θ ← θ − η g, with g over the whole corpus in every step (Cauchy 1847)."""

    kind: Literal["gradient_descent"] = "gradient_descent"
    learning_rate: float = Field(0.5, gt=0)
    """The step size."""

    def build(self, model: nn.Module) -> list[torch.optim.Optimizer]:
        """Return the optimizer of a model's parameters."""
        return [torch.optim.SGD(_groups(model.named_parameters(), self.weight_decay), lr=self.learning_rate)]


class SGDConfig(_Optimizer):
    """θ ← θ − η g, with g over one batch (Robbins & Monro 1951)."""

    kind: Literal["sgd"] = "sgd"
    learning_rate: float = Field(0.1, gt=0)
    """The step size."""

    def build(self, model: nn.Module) -> list[torch.optim.Optimizer]:
        """Return the optimizer of a model's parameters."""
        return [torch.optim.SGD(_groups(model.named_parameters(), self.weight_decay), lr=self.learning_rate)]


class MomentumConfig(_Optimizer):
    """v ← μ v + g; θ ← θ − η v, or with Nesterov's look-ahead θ ← θ − η (g + μ v) (Polyak 1964; Nesterov 1983)."""

    kind: Literal["momentum"] = "momentum"
    learning_rate: float = Field(0.03, gt=0)
    """The step size."""
    momentum: float = Field(0.9, gt=0, lt=1)
    """μ: how much of the last direction is kept."""
    nesterov: bool = False
    """Look ahead along the direction."""

    def build(self, model: nn.Module) -> list[torch.optim.Optimizer]:
        """Return the optimizer of a model's parameters."""
        groups = _groups(model.named_parameters(), self.weight_decay)
        return [
            torch.optim.SGD(groups, lr=self.learning_rate, momentum=self.momentum, nesterov=self.nesterov)
        ]


class AdamConfig(_Optimizer):
    """m ← β₁m + (1−β₁)g; v ← β₂v + (1−β₂)g²; θ ← θ − η m̂ / (√v̂ + ε), λθ added to g (Kingma & Ba 2015)."""

    kind: Literal["adam"] = "adam"
    beta1: float = Field(0.9, ge=0, lt=1)
    """β₁, the memory of the mean."""
    beta2: float = Field(0.95, ge=0, lt=1)
    """β₂, the memory of the square."""
    eps: float = Field(1e-8, gt=0)
    """ε."""

    def build(self, model: nn.Module) -> list[torch.optim.Optimizer]:
        """Return the optimizer of a model's parameters."""
        groups = _groups(model.named_parameters(), self.weight_decay)
        return [
            torch.optim.Adam(
                groups, lr=self.learning_rate, betas=(self.beta1, self.beta2), eps=self.eps, fused=True
            )
        ]


class AdamWConfig(_Optimizer):
    """As Adam, with the decay apart from the gradient: θ ← θ − η (m̂ / (√v̂ + ε) + λθ) (Loshchilov & Hutter 2019)."""

    kind: Literal["adamw"] = "adamw"
    weight_decay: float = Field(0.1, ge=0)
    """λ, for matrices only; norms and biases are never decayed."""
    beta1: float = Field(0.9, ge=0, lt=1)
    """β₁, the memory of the mean."""
    beta2: float = Field(0.95, ge=0, lt=1)
    """β₂, the memory of the square."""
    eps: float = Field(1e-8, gt=0)
    """ε."""

    def build(self, model: nn.Module) -> list[torch.optim.Optimizer]:
        """Return the optimizer of a model's parameters."""
        return [self.optimizer(model.named_parameters())]

    def optimizer(self, named: Named) -> torch.optim.Optimizer:
        """Return the optimizer of the parameters given."""
        groups, betas = _groups(named, self.weight_decay), (self.beta1, self.beta2)
        return torch.optim.AdamW(groups, lr=self.learning_rate, betas=betas, eps=self.eps, fused=True)


class MuonConfig(_Optimizer):
    """Muon for the matrices inside blocks, AdamW for tables, head, norms and biases."""

    kind: Literal["muon"] = "muon"
    learning_rate: float = Field(0.02, gt=0)
    """η of Muon: the root-mean-square size of one step of a square matrix's singular values."""
    weight_decay: float = Field(0.0, ge=0)
    """λ, for Muon's matrices."""
    momentum: float = Field(0.95, gt=0, lt=1)
    """μ: how much of the last direction is kept."""
    iterations: int = Field(5, ge=1, le=5)
    """Steps of the polar iteration; fewer are cheaper and less exact."""
    rest: AdamWConfig = AdamWConfig(learning_rate=3e-3, weight_decay=0.0)
    """The optimizer of all other parameters."""

    def build(self, model: nn.Module) -> list[torch.optim.Optimizer]:
        """Return Muon and the optimizer of the rest."""
        matrices = {
            f"{name}.weight": part.parts or (part.out_features,)
            for name, part in model.named_modules()
            if isinstance(part, Linear) and "blocks" in name.split(".")
        }
        if not matrices:
            raise ValueError(
                "this model has no matrices inside blocks, so muon has nothing to do; set training.optimizer.kind=adamw"
            )
        named = dict(model.named_parameters())
        muon = Muon(
            [(named[name], parts) for name, parts in matrices.items()],
            lr=self.learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            iterations=self.iterations,
            products=getattr(model, "stream_dtype", None) or torch.float32,
        )
        rest = ((name, parameter) for name, parameter in named.items() if name not in matrices)
        return [muon, self.rest.optimizer(rest)]


OptimizerConfig = Annotated[
    GradientDescentConfig | SGDConfig | MomentumConfig | AdamConfig | AdamWConfig | MuonConfig,
    Field(discriminator="kind"),
]


def add_penalties(named: Named, l1: float, l2: float) -> None:
    """Add the gradients of l1 · Σ|θ| and ½ · l2 · Σθ² of all matrices (Tibshirani 1996; Tikhonov 1963)."""
    with torch.no_grad():
        for _, parameter in named:
            if parameter.grad is None or parameter.ndim < 2:
                continue
            if l1:
                parameter.grad.add_(parameter.sign(), alpha=l1)
            if l2:
                parameter.grad.add_(parameter, alpha=l2)


def state_tensors(optimizers: Iterable[torch.optim.Optimizer], names: Mapping[int, str]) -> dict[str, Tensor]:
    """Return all that optimizers remember, by `key.parameter`; `names` maps id(parameter) to its name."""
    return {
        f"{key}.{names[id(parameter)]}": value if isinstance(value, Tensor) else torch.tensor(value)
        for optimizer in optimizers
        for parameter, remembered in optimizer.state.items()
        for key, value in remembered.items()
        if value is not None
    }


def restore_state(
    optimizers: Iterable[torch.optim.Optimizer], names: Mapping[int, str], tensors: Mapping[str, Tensor]
) -> None:
    """Give optimizers back what `state_tensors` returned."""
    by_parameter: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        key, _, parameter = name.partition(".")
        by_parameter.setdefault(parameter, {})[key] = value
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                held = by_parameter.get(names[id(parameter)])
                if held:
                    optimizer.state[parameter] = dict(held)


def _groups(named: Named, weight_decay: float) -> list[dict[str, object]]:
    everything = list(named)
    matrices = [parameter for _, parameter in everything if parameter.ndim >= 2]
    others = [parameter for _, parameter in everything if parameter.ndim < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
