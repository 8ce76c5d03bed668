"""Muon: momentum whose matrix steps have all singular values near one (Jordan et al. 2024)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rootlm.core.workers import share_like, whole

# Odd quintics p(x) = ax + bx³ + cx⁵ that carry [0.001, 1] towards 1, each the best after those before it
# (Amsel et al. 2025, "The Polar Express"), with their safety factor taken in.
_QUINTICS = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)


class Muon(torch.optim.Optimizer):
    """m ← μ m + (1−μ) g; θ ← θ (1 − ηλ) − η √max(1, rows/columns) · polar((1−μ) g + μ m).

    polar(X) = U Vᵀ of X = U S Vᵀ, by Newton–Schulz steps. A matrix that is several stacked (queries, keys and
    values; gate and value) is taken apart first. Matrices of one shape are stepped together.
    """

    def __init__(
        self,
        matrices: Sequence[tuple[nn.Parameter, Sequence[int]]],
        *,
        lr: float,
        momentum: float,
        weight_decay: float,
        iterations: int,
        products: torch.dtype = torch.float32,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "iterations": iterations}
        self._parts = {id(parameter): list(parts) for parameter, parts in matrices}
        self._products = products
        super().__init__([parameter for parameter, _ in matrices], defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Step every matrix that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            directions = [self._direction(parameter, group["momentum"]) for parameter in moved]
            pieces = [torch.split(d, self._parts[id(p)]) for p, d in zip(moved, directions, strict=True)]
            steps = _polar_of_each(
                [piece for parts in pieces for piece in parts], group["iterations"], self._products
            )
            for parameter, parts in zip(moved, pieces, strict=True):
                step = torch.cat([next(steps) for _ in parts]).to(parameter.dtype)
                if group["weight_decay"]:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(share_like(step, parameter), alpha=-group["lr"])

    def _direction(self, parameter: nn.Parameter, momentum: float) -> Tensor:
        assert parameter.grad is not None
        remembered = self.state[parameter]
        if "momentum" not in remembered:
            remembered["momentum"] = torch.zeros_like(parameter)
        held = remembered["momentum"].lerp_(parameter.grad, 1 - momentum)
        return whole(parameter.grad.lerp(held, momentum))


def _polar_of_each(matrices: list[Tensor], iterations: int, products: torch.dtype) -> Iterator[Tensor]:
    by_shape: dict[torch.Size, list[int]] = {}
    for number, matrix in enumerate(matrices):
        by_shape.setdefault(matrix.shape, []).append(number)
    done: dict[int, Tensor] = {}
    for (rows, columns), numbers in by_shape.items():
        steps = polar(torch.stack([matrices[number] for number in numbers]), iterations, products)
        steps = steps * max(1.0, rows / columns) ** 0.5
        done.update(zip(numbers, steps.unbind(), strict=True))
    return (done[number] for number in range(len(matrices)))


def polar(matrices: Tensor, iterations: int = 5, products: torch.dtype = torch.float32) -> Tensor:
    """Return U Vᵀ of each of `matrices` (count, rows, columns), approximately: singular values 1 ± 0.15 or so.

    Works on the smaller Gram matrix; bfloat16 products are exact enough to train with, float32 to compare runs.
    """
    x = matrices.to(products)
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.transpose(1, 2)
    x = x / (x.norm(dim=(1, 2), keepdim=True) * 1.02 + 1e-7)
    for number in range(iterations):
        a, b, c = _QUINTICS[min(number, len(_QUINTICS) - 1)]
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.transpose(1, 2) if tall else x
