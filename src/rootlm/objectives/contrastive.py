"""Texts that belong together lie near, all others far: InfoNCE (van den Oord et al. 2018; Gao et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from rootlm.data.whole_texts import Texts
from rootlm.layers.pooling import Pooling, pool
from rootlm.models.encoder_config import EncoderConfig
from rootlm.models.interface import Encoder
from rootlm.models.network_config import NetworkConfig
from rootlm.objectives.objective import Batch, ObjectiveConfig, Reads, Term


class ContrastiveConfig(ObjectiveConfig):
    """Bring texts that belong together near each other, and away from all others of the batch."""

    reads: ClassVar[Reads] = "documents"
    asks: ClassVar[type] = Encoder
    hub_task: ClassVar[str] = "sentence-similarity"
    used_by: ClassVar[str] = 'similarity {run} "…" "…"'
    kind: Literal["contrastive"] = "contrastive"
    positives: Literal["twins", "lines"] = "twins"
    """What belongs together: `twins` are one document read twice with other dropout (SimCSE); `lines` are the two
    lines of a document, such as a question and its answer."""
    pooling: Pooling | None = None
    """What of a text's tokens its vector is made of; none takes what the folder of `init_from` says, else the mean."""
    temperature: float = Field(0.05, gt=0)
    """τ: cosines are divided by it."""

    def network(self, model: NetworkConfig) -> NetworkConfig:
        """Return the network; raises ValueError for twins that would be the same."""
        if self.positives == "twins" and isinstance(model, EncoderConfig) and not model.dropout:
            raise ValueError(
                "objective.positives=twins reads each text twice with other dropout, and model.dropout is 0; "
                "set model.dropout=0.1"
            )
        return model

    def build(self) -> Contrastive:
        """Return the objective."""
        return Contrastive(self)


@dataclass(frozen=True)
class TextBatch(Batch):
    """Whole texts: `lengths` and `documents` are (rows,), and so are the lengths of the partners."""

    lengths: Tensor = field(kw_only=True)
    documents: Tensor = field(kw_only=True)
    partners: Tensor | None = field(default=None, kw_only=True)
    partner_lengths: Tensor | None = field(default=None, kw_only=True)
    numbers: Tensor | None = field(default=None, kw_only=True)


def text_batch(rows: Texts) -> TextBatch:
    """Turn whole texts into a batch that asks for no token."""
    tokens, lengths = torch.from_numpy(rows.tokens), torch.from_numpy(rows.lengths)
    real = torch.arange(tokens.shape[1]) < lengths[:, None]
    partners = (None, None) if rows.partners is None else tuple(map(torch.from_numpy, rows.partners))
    return TextBatch(
        tokens,
        torch.full_like(tokens, -1),
        real.float(),
        (~real).long(),
        lengths=lengths,
        documents=torch.from_numpy(rows.documents),
        partners=partners[0],
        partner_lengths=partners[1],
        numbers=None if rows.numbers is None else torch.from_numpy(rows.numbers),
    )


def info_nce(first: Tensor, second: Tensor, temperature: float, owners: Tensor) -> tuple[Tensor, Tensor]:
    """Return −ln softmax(cos(aᵢ, bⱼ) / τ) at j = i for each row of (rows, width), and whether bᵢ is nearest.

    Another row of the same owner is no negative: it is left out.
    """
    cosines = F.normalize(first.float(), dim=-1) @ F.normalize(second.float(), dim=-1).t()
    rows = torch.arange(len(first), device=first.device)
    own = (owners[:, None] == owners) & (rows[:, None] != rows)
    scores = (cosines / temperature).masked_fill(own, -torch.inf)
    return F.cross_entropy(scores, rows, reduction="none"), scores.argmax(1) == rows


class Contrastive:
    """Term: `loss`, one a row. It looks at all rows of a piece at once, so it changes with the pieces of a step."""

    def __init__(self, config: ContrastiveConfig) -> None:
        self.config = config

    def prepare(self, rows: Texts, generator: torch.Generator) -> TextBatch:
        """Turn whole texts into a batch."""
        return text_batch(rows)

    def counts(self, batch: TextBatch) -> Mapping[str, Tensor]:
        """Return the number of rows."""
        return {"loss": torch.tensor(float(len(batch)), device=batch.tokens.device)}

    def loss(self, model: Encoder, batch: TextBatch) -> Mapping[str, Term]:
        """Return what every row costs."""
        nats, _ = self._compare(model, batch)
        return {"loss": Term(nats, torch.ones_like(nats))}

    def judge(self, model: Encoder, batch: TextBatch) -> Mapping[str, Term]:
        """Return the loss, and how often the partner is nearest; twins are read with the same dropout each time."""
        if self.config.positives == "lines":
            nats, right = self._compare(model, batch)
        else:
            training = model.training
            with torch.random.fork_rng():
                torch.manual_seed(0)
                nats, right = self._compare(model.train(), batch)
            model.train(training)
        ones = torch.ones_like(nats)
        return {"loss": Term(nats, ones), "accuracy": Term(right.to(nats.dtype), ones)}

    def _compare(self, model: Encoder, batch: TextBatch) -> tuple[Tensor, Tensor]:
        how, partners, lengths = self.config.pooling or "mean", batch.partners, batch.partner_lengths
        if partners is None or lengths is None:
            partners, lengths = batch.tokens, batch.lengths
        first = pool(model(batch.tokens, batch.lengths), batch.lengths, how)
        second = pool(model(partners, lengths), lengths, how)
        return info_nce(first, second, self.config.temperature, batch.documents)
