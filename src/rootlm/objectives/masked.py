"""Tokens that were hidden: −Σ ln p(token | all of its text but what is hidden) (Devlin et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from rootlm.data.windows import PADDING, Windows
from rootlm.models.encoder_config import EncoderConfig
from rootlm.models.interface import Ask, Encoder, Ranks, Targets
from rootlm.models.network_config import NetworkConfig
from rootlm.objectives.masking import Unit, draw_spans, draw_units, replaced, unit_numbers
from rootlm.objectives.objective import Batch, ObjectiveConfig, Term, Vocabulary
from rootlm.objectives.text_pairs import pair_up

NEXT, ORDER = "next_sentence", "sentence_order"


class MaskedConfig(ObjectiveConfig):
    """Predict tokens that were hidden, from both sides."""

    asks: ClassVar[type] = Encoder
    hub_task: ClassVar[str] = "fill-mask"
    used_by: ClassVar[str] = 'fill {run} "… <mask> …"'
    kind: Literal["masked"] = "masked"
    rate: float = Field(0.15, gt=0, lt=1)
    """Share of the tokens that is asked, drawn anew for every batch (Liu et al. 2019)."""
    unit: Unit = "token"
    """What is hidden whole: a token; a word, Chinese ones by segmentation (Cui et al. 2019); or a span of words."""
    mask_share: float = Field(0.8, ge=0, le=1)
    """Share of what is asked that the mask token hides."""
    random_share: float = Field(0.1, ge=0, le=1)
    """Share of what is asked that becomes a random token; the rest stays as it is."""
    next_sentence: float = Field(0.0, ge=0)
    """Weight of telling whether a second half follows the first or comes from another text (Devlin et al. 2019)."""
    sentence_order: float = Field(0.0, ge=0)
    """Weight of telling whether two halves stand in their order (Lan et al. 2020)."""
    vocabulary: Vocabulary | None = None
    """What it must know of the tokenizer; filled in when a run begins."""

    @model_validator(mode="after")
    def _shares_fit(self) -> MaskedConfig:
        if self.mask_share + self.random_share > 1:
            raise ValueError(
                "mask_share and random_share are more than everything together; lower one of them"
            )
        return self

    @property
    def needs_words(self) -> bool:
        """True when it must be told where words begin."""
        return self.unit != "token"

    @property
    def needs_mask(self) -> bool:
        """True: the tokenizer needs a token that hides others."""
        return True

    def fitted(self, vocabulary: Vocabulary) -> MaskedConfig:
        """Return the objective with what it must know of the tokenizer."""
        return self.model_copy(update={"vocabulary": vocabulary})

    def network(self, model: NetworkConfig) -> NetworkConfig:
        """Return the network with an output over tokens, and with the heads that the terms on pairs need."""
        heads = {name: 2 for name in (NEXT, ORDER) if getattr(self, name)}
        if not isinstance(model, EncoderConfig):
            return model
        model = model if model.predicts else model.with_output()
        return model.with_heads(heads) if heads else model

    def build(self) -> Masked:
        """Return the objective."""
        return Masked(self)


@dataclass(frozen=True)
class MaskedBatch(Batch):
    """A batch with hidden tokens; the rest is there for pairs only, the last three a number a row."""

    types: Tensor | None = field(default=None, kw_only=True)
    lengths: Tensor | None = field(default=None, kw_only=True)
    next_sentence: Tensor | None = field(default=None, kw_only=True)
    sentence_order: Tensor | None = field(default=None, kw_only=True)


class Masked:
    """Terms: `loss`, one prediction per hidden token; `next_sentence` and `sentence_order`, one per row asked."""

    def __init__(self, config: MaskedConfig) -> None:
        known = config.vocabulary
        if known is None or known.mask_id is None:
            raise ValueError(
                "objective.kind=masked needs a tokenizer with a mask token; Tokenizer.with_mask() adds one"
            )
        self.config, self.mask_id, self.known = config, known.mask_id, known
        special = torch.tensor(sorted(known.special_ids), dtype=torch.int64)
        every = torch.arange(known.size)
        self._plain = every[~torch.isin(every, special)]
        self._special = special

    def prepare(self, rows: Windows, generator: torch.Generator) -> MaskedBatch:
        """Hide tokens of windows; marks around documents are never hidden."""
        tokens, _, segments, documents, starts = map(torch.from_numpy, rows)
        extra: dict[str, Any] = {}
        if self.config.next_sentence or self.config.sentence_order:
            bare = torch.where(torch.isin(tokens, self._special), PADDING, documents)
            kinds = bool(self.config.next_sentence), bool(self.config.sentence_order)
            marks = self.known.bos_id, self.known.eos_id
            pairs = pair_up((tokens, starts, bare), marks, kinds, generator)
            tokens, starts, segments = pairs.tokens, pairs.starts, pairs.segments
            documents = torch.where(segments == 0, 0, PADDING)
            extra = {"types": pairs.types, "lengths": pairs.lengths}
            asked = ((NEXT, pairs.next_sentence), (ORDER, pairs.sentence_order))
            extra |= {name: answers for name, answers in asked if getattr(self.config, name)}
        maskable = (documents != PADDING) & ~torch.isin(tokens, self._special)
        given, hidden = self._hide(tokens, (starts, segments), maskable, generator)
        targets = torch.where(hidden, tokens, PADDING)
        return MaskedBatch(given, targets, hidden.float(), segments, **extra)

    def _hide(
        self, tokens: Tensor, borders: tuple[Tensor, Tensor], maskable: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return what is read, and which places are asked."""
        starts, segments = borders
        config = self.config
        groups = torch.arange(tokens.numel()).view_as(tokens)
        if config.unit == "span":
            units = unit_numbers(starts, segments, maskable)
            hidden, groups = draw_spans(units, segments, maskable, config.rate, generator)
        else:
            units = groups if config.unit == "token" else unit_numbers(starts, segments, maskable)
            hidden = draw_units(units, maskable, config.rate, generator)
        by, shares = (self.mask_id, self._plain), (config.mask_share, config.random_share)
        return replaced(tokens, torch.where(hidden, groups, -1), by, shares, generator), hidden

    def counts(self, batch: MaskedBatch) -> Mapping[str, Tensor]:
        """Return the number of weighted predictions, and of pairs asked."""
        pairs = {name: (answers >= 0).float().sum() for name, answers in _answers(batch)}
        return {"loss": batch.weights.sum(), **pairs}

    def loss(self, model: Encoder, batch: MaskedBatch) -> Mapping[str, Term]:
        """Return nats per row, with the counts."""
        hidden = _read(model, batch)
        rows, nats = self._ask(model, hidden, batch, ranked=False)
        terms = {
            "loss": Term(
                _by_row(nats[:, 0] * batch.weights[batch.targets >= 0], rows, batch), batch.weights.sum(1)
            )
        }
        for name, answers in _answers(batch):
            asked = (answers >= 0).float()
            said = model.tell(name, hidden, batch.lengths).float()
            cost = F.cross_entropy(said, answers.clamp(min=0), reduction="none")
            terms[name] = Term(getattr(self.config, name) * cost * asked, asked)
        return terms

    def judge(self, model: Encoder, batch: MaskedBatch) -> Mapping[str, Term]:
        """Return −ln p of what was hidden, how often the likeliest token was right, and how often a pair was told."""
        hidden = _read(model, batch)
        rows, values = self._ask(model, hidden, batch, ranked=True)
        asked = batch.weights.sum(1)
        terms = {
            "loss": Term(_by_row(values[:, 0], rows, batch), asked),
            "accuracy": Term(_by_row((values[:, 1] == 0).to(values.dtype), rows, batch), asked),
        }
        for name, answers in _answers(batch):
            right = model.tell(name, hidden, batch.lengths).argmax(-1) == answers
            terms[f"{name}_accuracy"] = Term(right.float(), (answers >= 0).float())
        return terms

    @staticmethod
    def _ask(model: Encoder, hidden: Tensor, batch: MaskedBatch, *, ranked: bool) -> tuple[Tensor, Tensor]:
        """Return the row of every place asked, and what the model says there; the output sees no other place."""
        places = batch.targets >= 0
        ids, weights = batch.targets[places][None], batch.weights[places][None]
        ask: Ask = Ranks(ids) if ranked else Targets(ids, weights)
        values = model.predict(hidden[places][None], ask)[0]
        return places.nonzero()[:, 0], values if ranked else values[:, None]


def _read(model: Encoder, batch: MaskedBatch) -> Tensor:
    hidden: Tensor = model(batch.tokens, segments=batch.segments, types=batch.types)
    return hidden


def _answers(batch: MaskedBatch) -> list[tuple[str, Tensor]]:
    held = ((NEXT, batch.next_sentence), (ORDER, batch.sentence_order))
    return [(name, answers) for name, answers in held if answers is not None]


def _by_row(values: Tensor, rows: Tensor, batch: Batch) -> Tensor:
    return values.new_zeros(len(batch)).index_add(0, rows, values)
