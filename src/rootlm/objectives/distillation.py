"""Learning from a teacher's probabilities: what is likely besides the token that came.

Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network". With student logits s, teacher logits t
and a temperature T, a place costs

    (1 − share) · −ln p_s(token) + share · T² · Σ p_t^T · (ln p_t^T − ln p_s^T),   p^T = softmax(· ÷ T)

T² keeps the size of the gradient whatever T is. Both sides need all logits of a batch at once; with
`training.gradient_accumulation_steps` fewer rows are held.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from rootlm.data.windows import Windows
from rootlm.models.catalog import load_model
from rootlm.models.interface import All, LanguageModel
from rootlm.objectives.causal import Causal, CausalConfig
from rootlm.objectives.objective import Batch, ObjectiveConfig, Term

_VALUES_AT_ONCE = 4_194_304


class DistillationConfig(ObjectiveConfig):
    """Predict every next token, and what a teacher holds likely there."""

    measures_text: ClassVar[bool] = True
    kind: Literal["distillation"] = "distillation"
    teacher: str
    """The run folder of a language model with the same tokenizer."""
    temperature: float = Field(2.0, gt=0)
    """Above 1, what the teacher finds unlikely counts more."""
    share: float = Field(0.5, ge=0, le=1)
    """How much of the loss is the teacher's; the rest is the text's."""
    balance: float = Field(0.01, ge=0)
    """Weight of a mixture's balance loss; without a mixture it does nothing."""

    @property
    def is_plain(self) -> bool:
        """Return False: the loss holds the teacher's part too."""
        return False

    @property
    def same_tokenizer(self) -> tuple[str, ...]:
        """Return the run whose tokenizer this run must have."""
        return (self.teacher,)

    def build(self) -> Distillation:
        """Return the objective; raises ValueError when the teacher is no language model."""
        teacher = load_model(Path(self.teacher), dtype=torch.float32)
        if not isinstance(teacher, LanguageModel):
            raise ValueError(
                f"objective.teacher {self.teacher}: holds a model of kind {teacher.config.kind}, which predicts no "
                "next token; name the run of a language model"
            )
        return Distillation(self, teacher.requires_grad_(False))


class Distillation:
    """Terms: `loss`, the text's part, and `teacher`, each one prediction per target; `balance`, of a mixture."""

    def __init__(self, config: DistillationConfig, teacher: LanguageModel) -> None:
        self.config, self.teacher = config, teacher
        self._causal = Causal(CausalConfig(balance=config.balance))

    def prepare(self, rows: Windows, generator: torch.Generator) -> Batch:
        """Turn windows into a batch."""
        return self._causal.prepare(rows, generator)

    def counts(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return the number of weighted predictions for both parts, and of rows for the balance."""
        counts = self._causal.counts(batch)
        return {**counts, "teacher": counts["loss"]}

    def loss(self, model: LanguageModel, batch: Batch) -> Mapping[str, Term]:
        """Return nats per row of both parts, each with its share already in it."""
        if batch.carry is not None:
            raise ValueError(
                "objective.kind distillation reads every window afresh; set training.carry=false"
            )
        prediction = model(batch.tokens, segments=batch.segments, ask=All())
        logits, asked = prediction.values.float(), batch.weights.sum(1)
        own = torch.nn.functional.cross_entropy(
            logits.transpose(1, 2), batch.targets.clamp(min=0), reduction="none"
        )
        own = own * (batch.targets >= 0) * batch.weights
        far = self._divergence(logits, batch) * batch.weights
        share = self.config.share
        terms = {
            "loss": Term((1 - share) * own.sum(1), asked),
            "teacher": Term(share * far.sum(1), asked),
        }
        if "balance" in prediction.penalties and self.config.balance:
            ones = torch.ones(len(batch.tokens), device=batch.tokens.device)
            terms["balance"] = Term(self.config.balance * prediction.penalties["balance"] * ones, ones)
        return terms

    def judge(self, model: LanguageModel, batch: Batch) -> Mapping[str, Term]:
        """Return −ln p and how often the likeliest token was right; the teacher is not asked."""
        return self._causal.judge(model, batch)

    def _divergence(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return T² · KL(teacher ‖ student) at every place, (rows, time)."""
        heat = self.config.temperature
        wanted = self._teacher_logprobs(batch, logits.shape[-1])
        said = torch.log_softmax(logits / heat, -1)
        return heat**2 * torch.nn.functional.kl_div(said, wanted, reduction="none", log_target=True).sum(-1)

    @torch.no_grad()
    def _teacher_logprobs(self, batch: Batch, vocab_size: int) -> Tensor:
        """Return ln p of everything by the softened teacher, a few rows at a time, (rows, time, vocabulary)."""
        teacher = self.teacher.to(batch.tokens.device)
        if teacher.vocab_size != vocab_size:
            raise ValueError(
                f"objective.teacher {self.config.teacher}: knows {teacher.vocab_size:,} tokens, "
                f"the model {vocab_size:,}; train the model with the teacher's tokenizer"
            )
        rows, time = batch.tokens.shape
        if teacher.context is not None and time > teacher.context:
            raise ValueError(
                f"objective.teacher {self.config.teacher}: reads {teacher.context} tokens and a window has {time}; "
                f"set training.window={teacher.context}"
            )
        found = torch.empty(rows, time, vocab_size, device=batch.tokens.device)
        size = max(1, _VALUES_AT_ONCE // (time * vocab_size))
        for start in range(0, rows, size):
            part = slice(start, start + size)
            values = teacher(batch.tokens[part], segments=batch.segments[part], ask=All()).values
            torch.log_softmax(values.float() / self.config.temperature, -1, out=found[part])
        return found
