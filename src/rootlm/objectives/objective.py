"""What the trainer needs of an objective, and no more: batches, and named terms with their own counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from rootlm.data.windows import Windows
from rootlm.models.interface import LanguageModel


@dataclass(frozen=True)
class Term:
    """One part of a loss, kept per example: `total` in nats and `count` of predictions asked, both (examples,)."""

    total: Tensor
    count: Tensor


@dataclass(frozen=True)
class Batch:
    """What a model reads and is asked; every tensor is (rows, time).

    `tokens` and `targets` are int64, `targets` negative where nothing is asked; `weights` float32; `segments`
    int64.
    """

    tokens: Tensor
    targets: Tensor
    weights: Tensor
    segments: Tensor

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return Batch(
            *(
                t.to(device, non_blocking=True)
                for t in (self.tokens, self.targets, self.weights, self.segments)
            )
        )

    def split(self, parts: int) -> list[Batch]:
        """Return the rows in `parts` pieces of nearly equal size; fewer when there are fewer rows."""
        pieces = zip(
            *(
                t.tensor_split(min(parts, len(t)))
                for t in (self.tokens, self.targets, self.weights, self.segments)
            ),
            strict=True,
        )
        return [Batch(*piece) for piece in pieces]


class Objective(Protocol):
    """What is asked of a model and how it is judged."""

    def prepare(self, windows: Windows, generator: torch.Generator) -> Batch:
        """Turn windows into a batch; what is random comes from `generator`."""
        ...

    def counts(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return how many predictions each term will ask for, before the model is run."""
        ...

    def loss(self, model: LanguageModel, batch: Batch) -> Mapping[str, Term]:
        """Return the terms of the loss; the trainer sums over the step, then divides by the counts, once."""
        ...
