"""The next token: −Σ ln p(token | all before it in its document)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from rootlm.core.config import Config
from rootlm.data.windows import Windows
from rootlm.models.interface import LanguageModel, Targets
from rootlm.objectives.objective import Batch, Term


class CausalConfig(Config):
    """Predict every next token."""

    kind: Literal["causal"] = "causal"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target spread evenly over the vocabulary (Szegedy et al. 2016)."""
    z_loss: float = Field(0.0, ge=0)
    """Weight of (ln Σ exp logits)², which keeps logits from drifting (Chowdhery et al. 2022)."""
    balance: float = Field(0.01, ge=0)
    """Weight of a mixture's balance loss; without a mixture it does nothing."""

    def build(self) -> Causal:
        """Return the objective."""
        return Causal(self)


class Causal:
    """Terms: `loss`, one prediction per target; `balance`, when the model is a mixture, one per row."""

    def __init__(self, config: CausalConfig) -> None:
        self.config = config

    def prepare(self, windows: Windows, generator: torch.Generator) -> Batch:
        """Turn windows into a batch; raises ValueError when no place asks for anything."""
        targets = torch.from_numpy(windows.targets)
        weights = (targets >= 0).float()
        if not weights.any():
            raise ValueError("every target of this batch is masked, so there is nothing to learn from it")
        return Batch(torch.from_numpy(windows.tokens), targets, weights, torch.from_numpy(windows.segments))

    def counts(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return the number of weighted predictions, and of rows for the balance."""
        rows = torch.tensor(float(len(batch.tokens)), device=batch.tokens.device)
        return {"loss": batch.weights.sum(), "balance": rows}

    def loss(self, model: LanguageModel, batch: Batch) -> Mapping[str, Term]:
        """Return nats per row, with the counts."""
        ask = Targets(
            batch.targets,
            batch.weights,
            label_smoothing=self.config.label_smoothing,
            z_loss=self.config.z_loss,
        )
        prediction = model(batch.tokens, segments=batch.segments, ask=ask)
        terms = {"loss": Term((prediction.values * batch.weights).sum(1), batch.weights.sum(1))}
        if "balance" in prediction.penalties and self.config.balance:
            ones = torch.ones(len(batch.tokens), device=batch.tokens.device)
            terms["balance"] = Term(self.config.balance * prediction.penalties["balance"] * ones, ones)
        return terms
