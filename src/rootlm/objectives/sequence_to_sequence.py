"""A target after its source: −Σ ln p(token | the source, the target before it)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from rootlm.data.pairs import Pairs
from rootlm.models.interface import Ask, Prediction, Ranks, Source, SourceModel, Targets
from rootlm.objectives.objective import Batch, ObjectiveConfig, Reads, Term


class SequenceToSequenceConfig(ObjectiveConfig):
    """Write the second text of a pair after reading the first, such as a translation."""

    reads: ClassVar[Reads] = "pairs"
    asks: ClassVar[type] = SourceModel
    used_by: ClassVar[str] = 'translate {run} "…"'
    kind: Literal["sequence_to_sequence"] = "sequence_to_sequence"
    direction: tuple[str, str] | None = None
    """The names of source and target, such as [zh, en]; null: as the corpus names its pairs."""
    both_ways: bool = False
    """Learn the other direction too, in the same model; what is read tells it what to write."""
    on_long: Literal["stop", "skip"] = "stop"
    """At a pair that is longer than the model's context: stop, or leave it out and say how many."""
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    """Share of the target spread evenly over the vocabulary (Szegedy et al. 2016)."""

    @field_validator("direction")
    @classmethod
    def _two_names(cls, direction: tuple[str, str] | None) -> tuple[str, str] | None:
        if direction is not None and direction[0] == direction[1]:
            raise ValueError(f"direction goes from {direction[0]} to itself; name source and target")
        return direction

    @property
    def is_plain(self) -> bool:
        """True when the loss holds nothing but −ln p."""
        return not self.label_smoothing

    def build(self) -> SequenceToSequence:
        """Return the objective."""
        return SequenceToSequence(self.label_smoothing)


@dataclass(frozen=True)
class SourceBatch(Batch):
    """Targets with their sources (rows, places), of which `source_lengths` (rows,) places are real."""

    sources: Tensor
    source_lengths: Tensor

    @property
    def source(self) -> Source:
        """What is read first."""
        return Source(self.sources, self.source_lengths)


class SequenceToSequence:
    """Term: `loss`, one prediction per token of the target, its end included."""

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def prepare(self, rows: Pairs, generator: torch.Generator) -> SourceBatch:
        """Turn pairs into a batch."""
        sources, lengths, tokens, targets = map(torch.from_numpy, rows[:4])
        return SourceBatch(
            tokens, targets, (targets >= 0).float(), torch.zeros_like(tokens), sources, lengths
        )

    def counts(self, batch: SourceBatch) -> Mapping[str, Tensor]:
        """Return the number of weighted predictions."""
        return {"loss": batch.weights.sum()}

    def loss(self, model: SourceModel, batch: SourceBatch) -> Mapping[str, Term]:
        """Return nats per row, with the counts."""
        ask = Targets(batch.targets, batch.weights, label_smoothing=self.label_smoothing)
        values = _read(model, batch, ask).values
        return {"loss": Term((values * batch.weights).sum(1), batch.weights.sum(1))}

    def judge(self, model: SourceModel, batch: SourceBatch) -> Mapping[str, Term]:
        """Return −ln p of the target's tokens and how often the likeliest was right."""
        values = _read(model, batch, Ranks(batch.targets)).values
        asked = batch.weights.sum(1)
        right = ((values[..., 1] == 0) & (batch.targets >= 0)).sum(1)
        return {"loss": Term(values[..., 0].sum(1), asked), "accuracy": Term(right, asked)}


def _read(model: SourceModel, batch: SourceBatch, ask: Ask) -> Prediction:
    if not isinstance(model, SourceModel):
        raise ValueError(
            f"a {model.config.kind} reads no source; set model.kind=encoder_decoder or another objective"
        )
    prediction: Prediction = model(batch.tokens, source=batch.source, ask=ask)
    return prediction
