"""Text with spans cut out, and the spans as the answer: T5's span corruption (Raffel et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from rootlm.data.windows import PADDING, Ids, Windows
from rootlm.models.interface import SourceModel
from rootlm.objectives.objective import ObjectiveConfig, Reads, Term, Vocabulary
from rootlm.objectives.sequence_to_sequence import SequenceToSequence, SourceBatch


class DenoisingConfig(ObjectiveConfig):
    """Write the spans that were cut out of a text, each after the sentinel that stands in its place.

    A window is one text: marks say where one of its documents ends and another begins.
    """

    reads: ClassVar[Reads] = "windows"
    hub_task: ClassVar[str] = "text2text-generation"
    asks: ClassVar[type] = SourceModel
    kind: Literal["denoising"] = "denoising"
    rate: float = Field(0.15, gt=0, lt=1)
    """Share of the tokens that is cut out, drawn anew for every batch."""
    mean_span: float = Field(3.0, ge=1)
    """Mean length of a span."""
    sentinels: int = Field(100, ge=2)
    """How many places can be told apart; no more spans than that are cut out of one window. One ends the answer."""
    sentinel_ids: tuple[int, ...] = ()
    """Their ids, filled in when a run begins: tokens that no text makes, added to the tokenizer."""

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """The names of the sentinels, as T5 has them."""
        return tuple(f"<extra_id_{number}>" for number in range(self.sentinels))

    def fitted(self, vocabulary: Vocabulary) -> DenoisingConfig:
        """Return the objective with the ids of its tokens."""
        return self.model_copy(update={"sentinel_ids": tuple(vocabulary.asked)})

    def build(self) -> Denoising:
        """Return the objective; raises ValueError before the sentinels are known."""
        return Denoising(self)


class Denoising:
    """Term: `loss`, one prediction per token cut out, per sentinel and for the end."""

    def __init__(self, config: DenoisingConfig) -> None:
        if not config.sentinel_ids:
            raise ValueError(
                "objective.kind=denoising needs a tokenizer with sentinels; set objective.sentinel_ids"
            )
        self.config, self._asking = config, SequenceToSequence()

    def prepare(self, rows: Windows, generator: torch.Generator) -> SourceBatch:
        """Cut spans out of windows, at places drawn from `generator`."""
        draws = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
        parts = [
            self._cut(row[asked != PADDING], draws)
            for row, asked in zip(rows.tokens, rows.targets, strict=True)
        ]
        sources, lengths = _padded([source for source, _ in parts], 0)
        answers, _ = _padded([answer for _, answer in parts], PADDING)
        # What is read begins with the first token of the text, which is a begin mark or as good as one.
        first = torch.from_numpy(rows.tokens[:, :1])
        tokens = torch.cat([first, answers[:, :-1].clamp(min=0)], 1)
        weights = (answers >= 0).float()
        return SourceBatch(tokens, answers, weights, torch.zeros_like(tokens), sources, lengths)

    def counts(self, batch: SourceBatch) -> Mapping[str, Tensor]:
        """Return the number of weighted predictions."""
        return self._asking.counts(batch)

    def loss(self, model: SourceModel, batch: SourceBatch) -> Mapping[str, Term]:
        """Return nats per row, with the counts."""
        return self._asking.loss(model, batch)

    def judge(self, model: SourceModel, batch: SourceBatch) -> Mapping[str, Term]:
        """Return −ln p of what was cut out and how often the likeliest token was right."""
        return self._asking.judge(model, batch)

    def _cut(self, text: Ids, draws: np.random.Generator) -> tuple[Ids, Ids]:
        """Return what is left of a text, a sentinel for each span, and the spans, each after its sentinel."""
        sentinels = np.array(self.config.sentinel_ids)
        if not len(text):
            return sentinels[:1], np.array([PADDING])
        hidden = spans(len(text), self.config.rate, self.config.mean_span, len(sentinels) - 1, draws)
        begins = hidden & ~np.concatenate([[False], hidden[:-1]])
        marked = np.where(begins, sentinels[np.cumsum(begins) - begins], text)
        # A place where a span begins stands twice, so that its sentinel comes before its first token.
        twice = np.repeat(text, 1 + begins)
        twice[np.flatnonzero(begins) + np.arange(begins.sum())] = sentinels[: begins.sum()]
        answer = twice[np.repeat(hidden, 1 + begins)]
        return marked[~hidden | begins], np.append(answer, sentinels[begins.sum()])


def spans(
    length: int, rate: float, mean_span: float, most: int, draws: np.random.Generator
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which of `length` tokens are cut out: about `rate` of them, in spans of about `mean_span`.

    Lengths of spans, and of what stands between, are drawn evenly among all that come to the same sums, as T5 does.
    The first token always stays.

    >>> spans(20, 0.3, 3, 9, np.random.default_rng(0)).sum()
    np.int64(6)
    """
    hidden = min(max(round(length * rate), 1), length - 1)
    if hidden < 1:
        return np.zeros(length, np.bool_)
    count = min(max(round(hidden / mean_span), 1), hidden, length - hidden, most)
    sizes = np.stack([_shares(length - hidden, count, draws), _shares(hidden, count, draws)], 1)
    return np.repeat(np.tile([False, True], count), sizes.reshape(-1))


def _shares(total: int, parts: int, draws: np.random.Generator) -> Ids:
    """Return `parts` positive numbers with this sum, every such choice as likely as any other."""
    borders = np.sort(draws.permutation(total - 1)[: parts - 1]) + 1
    return np.diff(np.concatenate([[0], borders, [total]])).astype(np.int64)


def _padded(rows: Sequence[Ids], value: int) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(row) for row in rows])
    tensors = [torch.from_numpy(np.ascontiguousarray(row, np.int64)) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value), lengths
