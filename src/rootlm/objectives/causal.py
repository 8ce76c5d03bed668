"""The next token: −Σ ln p(token | all before it in its document)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from rootlm.data.windows import Windows
from rootlm.models.interface import Ask, LanguageModel, Prediction, Ranks, Targets
from rootlm.objectives.objective import Batch, ObjectiveConfig, Term


class CausalConfig(ObjectiveConfig):
    """Predict every next token."""

    asks: ClassVar[type] = LanguageModel
    measures_text: ClassVar[bool] = True
    kind: Literal["causal"] = "causal"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target spread evenly over the vocabulary (Szegedy et al. 2016)."""
    z_loss: float = Field(0.0, ge=0)
    """Weight of (ln Σ exp logits)², which keeps logits from drifting (Chowdhery et al. 2022)."""
    balance: float = Field(0.01, ge=0)
    """Weight of a mixture's balance loss; without a mixture it does nothing."""

    @property
    def is_plain(self) -> bool:
        """True when the loss holds nothing but −ln p."""
        return not (self.label_smoothing or self.z_loss)

    def build(self) -> Causal:
        """Return the objective."""
        return Causal(self)


class Causal:
    """Terms: `loss`, one prediction per target; `balance`, when the model is a mixture, one per row."""

    def __init__(self, config: CausalConfig) -> None:
        self.config = config

    def prepare(self, rows: Windows, generator: torch.Generator) -> Batch:
        """Turn windows into a batch."""
        tokens, targets, segments = map(torch.from_numpy, (rows.tokens, rows.targets, rows.segments))
        return Batch(tokens, targets, (targets >= 0).float(), segments)

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
        prediction = self._read(model, batch, ask)
        terms = {"loss": Term((prediction.values * batch.weights).sum(1), batch.weights.sum(1))}
        if "balance" in prediction.penalties and self.config.balance:
            ones = torch.ones(len(batch.tokens), device=batch.tokens.device)
            terms["balance"] = Term(self.config.balance * prediction.penalties["balance"] * ones, ones)
        return terms

    def judge(self, model: LanguageModel, batch: Batch) -> Mapping[str, Term]:
        """Return −ln p and how often the likeliest token was right."""
        values = self._read(model, batch, Ranks(batch.targets)).values
        asked = batch.weights.sum(1)
        right = ((values[..., 1] == 0) & (batch.targets >= 0)).sum(1)
        return {"loss": Term(values[..., 0].sum(1), asked), "accuracy": Term(right, asked)}

    @staticmethod
    def _read(model: LanguageModel, batch: Batch, ask: Ask) -> Prediction:
        carry = batch.carry
        prediction: Prediction = model(
            batch.tokens, None if carry is None else carry.state, segments=batch.segments, ask=ask
        )
        if carry is not None:
            carry.state = prediction.state
        return prediction
