"""A low-rank change of one matrix: LoRA (Hu et al. 2021), and DoRA, which learns the lengths of rows too."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from rootlm.core.config import Config


class LoraConfig(Config):
    """W x becomes W x + s · B A x; only A and B, of few rows and columns, are learned (Hu et al. 2021)."""

    kind: Literal["lora"] = "lora"
    rank: int = Field(8, ge=1)
    """Rows of A and columns of B."""
    alpha: float = Field(16.0, gt=0)
    """s is alpha / rank."""
    rank_stabilised: bool = False
    """s is alpha / √rank instead (Kalajdzievski 2023), so that a higher rank learns no slower."""
    decomposed: bool = False
    """Learn the length of each row apart from its direction (DoRA, Liu et al. 2024)."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of what A reads that is dropped in training."""
    targets: list[str] = Field(default_factory=list)
    """Which matrices, by the end of their names, `*` standing for anything: attention.qkv is all of that matrix,
    attention.q its first part. None takes all but the head, each part of a matrix on its own."""

    @property
    def scale(self) -> float:
        """What B A is multiplied by."""
        return self.alpha / (self.rank**0.5 if self.rank_stabilised else self.rank)


class LowRank(nn.Module):
    """The change of a matrix (rows, width) that stacks parts of these `heights`; each of the `chosen` has its own.

    `down` (chosen · rank, width) lays the A of each part below the last, `up` (their rows, rank) every B. A fresh one
    changes nothing: B is zero, and `magnitude` the lengths that the rows have.
    """

    def __init__(
        self, config: LoraConfig, weight: Tensor, heights: tuple[int, ...], chosen: tuple[int, ...]
    ) -> None:
        super().__init__()
        assert sum(heights) == len(weight)
        self.config, self.heights, self.chosen = config, heights, chosen
        self._own = [heights[part] for part in chosen]
        self.down = nn.Parameter(weight.new_empty(len(chosen) * config.rank, weight.shape[1]))
        self.up = nn.Parameter(weight.new_zeros(sum(self._own), config.rank))
        self.magnitude = nn.Parameter(_lengths(self._rows(weight.detach()))) if config.decomposed else None
        nn.init.uniform_(self.down, -(weight.shape[1] ** -0.5), weight.shape[1] ** -0.5)

    def forward(self, x: Tensor, product: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return what the changed matrix makes of `x` (…, width), given `product`, W x + b (…, rows)."""
        heard = F.dropout(x, self.config.dropout, self.training)
        inner = torch.split(F.linear(heard, self.down.to(x.dtype)), self.config.rank, -1)
        ups = torch.split(self.up.to(x.dtype), self._own)
        change = torch.cat([F.linear(one, up) for one, up in zip(inner, ups, strict=True)], -1)
        change = change * self.config.scale
        if self.magnitude is not None:
            plain = self._rows(product, -1)
            if bias is not None:
                plain = plain - self._rows(bias).to(plain.dtype)
            gain = self._gain(weight).to(x.dtype)
            change = gain * change + (gain - 1) * plain
        return self._added(product, change, -1)

    def matrix(self, weight: Tensor) -> Tensor:
        """Return the changed matrix (rows, width)."""
        change = self._product()
        if self.magnitude is not None:
            gain, plain = self._gain(weight)[:, None], self._rows(weight)
            change = gain * change + (gain - 1) * plain
        return self._added(weight, change, 0)

    def _product(self) -> Tensor:
        """Return s · B A for the rows that are changed."""
        pairs = zip(torch.split(self.up, self._own), torch.split(self.down, self.config.rank), strict=True)
        return torch.cat([up @ down for up, down in pairs]) * self.config.scale

    def _gain(self, weight: Tensor) -> Tensor:
        """Return magnitude / ‖row of W + s · B A‖; no gradient goes through the length, as in the paper."""
        assert self.magnitude is not None
        with torch.no_grad():
            lengths = _lengths(self._rows(weight) + self._product())
        return self.magnitude / lengths

    def _rows(self, whole: Tensor, dim: int = 0) -> Tensor:
        """Return those of the rows that are changed."""
        if len(self.chosen) == len(self.heights):
            return whole
        parts = torch.split(whole, list(self.heights), dim)
        return torch.cat([parts[number] for number in self.chosen], dim)

    def _added(self, whole: Tensor, change: Tensor, dim: int) -> Tensor:
        if len(self.chosen) == len(self.heights):
            return whole + change
        parts = list(torch.split(whole, list(self.heights), dim))
        for number, own in zip(self.chosen, torch.split(change, self._own, dim), strict=True):
            parts[number] = parts[number] + own
        return torch.cat(parts, dim)


def _lengths(rows: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=1)
    return lengths
