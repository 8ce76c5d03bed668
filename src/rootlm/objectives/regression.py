"""A number said of a text: the mean of (said − true)²."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

from rootlm.data.whole_texts import Texts
from rootlm.models.encoder_config import EncoderConfig
from rootlm.models.interface import Encoder
from rootlm.models.network_config import NetworkConfig
from rootlm.objectives.contrastive import TextBatch, text_batch
from rootlm.objectives.objective import ObjectiveConfig, Reads, Term

HEAD = "number"


class RegressionConfig(ObjectiveConfig):
    """Say the number that is known of each document."""

    reads: ClassVar[Reads] = "documents"
    asks: ClassVar[type] = Encoder
    hub_task: ClassVar[str] = "text-classification"
    used_by: ClassVar[str] = 'similarity {run} "…" "…"'
    kind: Literal["regression"] = "regression"
    key: str = "score"
    """Where the number stands in a document's meta."""

    def network(self, model: NetworkConfig) -> NetworkConfig:
        """Return the network with a head that says one number."""
        return model.with_heads({HEAD: 1}) if isinstance(model, EncoderConfig) else model

    def build(self) -> Regression:
        """Return the objective."""
        return Regression()


class Regression:
    """Term: `loss`, the squared error of each row."""

    def prepare(self, rows: Texts, generator: torch.Generator) -> TextBatch:
        """Turn whole texts into a batch."""
        return text_batch(rows)

    def counts(self, batch: TextBatch) -> Mapping[str, Tensor]:
        """Return the number of rows."""
        return {"loss": torch.tensor(float(len(batch)), device=batch.tokens.device)}

    def loss(self, model: Encoder, batch: TextBatch) -> Mapping[str, Term]:
        """Return the squared error of every row."""
        errors = self._errors(model, batch)
        return {"loss": Term(errors.square(), torch.ones_like(errors))}

    def judge(self, model: Encoder, batch: TextBatch) -> Mapping[str, Term]:
        """Return the squared error and the absolute one."""
        errors = self._errors(model, batch)
        ones = torch.ones_like(errors)
        return {"loss": Term(errors.square(), ones), "absolute_error": Term(errors.abs(), ones)}

    @staticmethod
    def _errors(model: Encoder, batch: TextBatch) -> Tensor:
        assert batch.numbers is not None
        said = model.tell(HEAD, model(batch.tokens, batch.lengths), batch.lengths)[:, 0]
        return said.float() - batch.numbers.float()
