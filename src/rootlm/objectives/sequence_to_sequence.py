"""A target after its source: −Σ ln p(token | the source, the target before it), and where it should listen."""

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
    hub_task: ClassVar[str] = "translation"
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
    subword_dropout: float = Field(0.0, ge=0, lt=1)
    """While learning, each token of both sides that a merge has made is taken apart with this chance, and so are its
    parts; close to BPE-dropout (Provilkov et al. 2020). A step then holds some more than `training.batch_tokens`."""
    guided: float = Field(0.0, ge=0)
    """Weight of the term `alignment`: −ln of the attention that a token gives to the place of the source which it says
    again (Chen et al. 2016), as word alignment of the training pairs has found it; 0 leaves it out."""

    @field_validator("direction")
    @classmethod
    def _two_names(cls, direction: tuple[str, str] | None) -> tuple[str, str] | None:
        if direction is not None and direction[0] == direction[1]:
            raise ValueError(f"direction goes from {direction[0]} to itself; name source and target")
        return direction

    @property
    def is_plain(self) -> bool:
        """True when the loss holds nothing but −ln p."""
        return not (self.label_smoothing or self.guided)

    @property
    def needs_links(self) -> bool:
        """True when the attention is guided."""
        return self.guided > 0

    def build(self) -> SequenceToSequence:
        """Return the objective."""
        return SequenceToSequence(self.label_smoothing, self.guided)


@dataclass(frozen=True)
class SourceBatch(Batch):
    """Targets with their sources (rows, places), of which `source_lengths` (rows,) places are real.

    `links` (rows, time) is the place that each target says again, negative where none is known.
    """

    sources: Tensor
    source_lengths: Tensor
    links: Tensor | None = None

    @property
    def source(self) -> Source:
        """What is read first."""
        return Source(self.sources, self.source_lengths)

    @property
    def linked(self) -> Tensor:
        """Which targets have a place to listen to, (rows, time)."""
        asked = self.weights > 0
        return torch.zeros_like(asked) if self.links is None else asked & (self.links >= 0)


class SequenceToSequence:
    """Terms: `loss`, one prediction per token of the target, its end included; `alignment`, one per token linked."""

    def __init__(self, label_smoothing: float = 0.0, guided: float = 0.0) -> None:
        self.label_smoothing, self.guided = label_smoothing, guided

    def prepare(self, rows: Pairs, generator: torch.Generator) -> SourceBatch:
        """Turn pairs into a batch."""
        sources, lengths, tokens, targets = map(torch.from_numpy, rows[:4])
        links = torch.from_numpy(rows.links) if self.guided else None
        return SourceBatch(
            tokens, targets, (targets >= 0).float(), torch.zeros_like(tokens), sources, lengths, links
        )

    def counts(self, batch: SourceBatch) -> Mapping[str, Tensor]:
        """Return the number of weighted predictions, and of tokens linked."""
        linked = {"alignment": batch.linked.sum()} if self.guided else {}
        return {"loss": batch.weights.sum(), **linked}

    def loss(self, model: SourceModel, batch: SourceBatch) -> Mapping[str, Term]:
        """Return nats per row, with the counts."""
        ask = Targets(batch.targets, batch.weights, label_smoothing=self.label_smoothing)
        prediction = _read(model, batch, ask, watched=self.guided > 0)
        terms = {"loss": Term((prediction.values * batch.weights).sum(1), batch.weights.sum(1))}
        if self.guided:
            terms["alignment"] = self._alignment(prediction, batch)
        return terms

    def judge(self, model: SourceModel, batch: SourceBatch) -> Mapping[str, Term]:
        """Return −ln p of the target's tokens and how often the likeliest was right."""
        values = _read(model, batch, Ranks(batch.targets)).values
        asked = batch.weights.sum(1)
        right = ((values[..., 1] == 0) & (batch.targets >= 0)).sum(1)
        return {"loss": Term(values[..., 0].sum(1), asked), "accuracy": Term(right, asked)}

    def _alignment(self, prediction: Prediction, batch: SourceBatch) -> Term:
        assert prediction.attention is not None and batch.links is not None
        heard = prediction.attention.gather(2, batch.links.clamp(min=0)[..., None])[..., 0].float()
        # An attention of nearly nothing would have a slope without bounds.
        nats = -(heard.clamp(min=0) + 1e-4).log() * batch.linked
        return Term(self.guided * nats.sum(1), batch.linked.sum(1).to(nats.dtype))


def _read(model: SourceModel, batch: SourceBatch, ask: Ask, *, watched: bool = False) -> Prediction:
    if not isinstance(model, SourceModel):
        raise ValueError(
            f"a {model.config.kind} reads no source; set model.kind=encoder_decoder or another objective"
        )
    prediction: Prediction = model(batch.tokens, source=batch.source._replace(watched=watched), ask=ask)
    return prediction
