"""Small composable changes of the logits before a token is chosen.

Each is a frozen object, called with float32 logits of shape (rows, vocabulary) and the `History` of the rows,
which returns new logits. What is ruled out becomes −inf; at least one token always remains.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rootlm.generation.sampling import Sampling


class History:
    """What each row has read and written, counted only when a transform asks.

    `written` are the rows' own lists, which grow outside; `add` is told of each new token.
    """

    def __init__(
        self,
        prompts: Sequence[Sequence[int]],
        written: Sequence[list[int]],
        vocab_size: int,
        device: torch.device,
    ) -> None:
        self._prompts = prompts
        self._written = written
        self._vocab_size = vocab_size
        self.device = device
        self._seen: Tensor | None = None
        self._said: Tensor | None = None

    def add(self, tokens: Tensor, rows: Sequence[int] | None = None) -> None:
        """Count a new token of each row, int64 of shape (rows,), or of some rows."""
        numbers = torch.arange(len(self._written)) if rows is None else torch.tensor(rows)
        numbers = numbers.to(self.device)
        if self._said is not None:
            self._said[numbers, tokens] += 1
        if self._seen is not None:
            self._seen[numbers, tokens] = True

    def ahead(self) -> tuple[History, list[list[int]]]:
        """Return a history that goes its own way, and the lists of what its rows write."""
        chosen = self.select(range(len(self._written)))
        chosen._written = written = [list(tokens) for tokens in self._written]
        return chosen, written

    def select(self, order: Sequence[int]) -> History:
        """Return the history of the given rows, in that order."""
        prompts, written = [self._prompts[row] for row in order], [self._written[row] for row in order]
        chosen = History(prompts, written, self._vocab_size, self.device)
        rows = torch.tensor(order, dtype=torch.int64, device=self.device)
        chosen._seen = None if self._seen is None else self._seen[rows]
        chosen._said = None if self._said is None else self._said[rows]
        return chosen

    def texts(self) -> Iterator[list[int]]:
        """Yield what each row has read and written, end to end."""
        for prompt, written in zip(self._prompts, self._written, strict=True):
            yield [*prompt, *written]

    @property
    def sizes(self) -> list[int]:
        """How many tokens each row has written."""
        return [len(tokens) for tokens in self._written]

    @property
    def said(self) -> Tensor:
        """How often each token stands in the new text, float32 of shape (rows, vocabulary)."""
        if self._said is None:
            self._said = self._count(self._written)
        return self._said

    @property
    def seen(self) -> Tensor:
        """Whether each token stands in the prompt or the new text, bool of shape (rows, vocabulary)."""
        if self._seen is None:
            self._seen = (self._count(self._prompts) + self._count(self._written)) > 0
        return self._seen

    def _count(self, texts: Sequence[Sequence[int]]) -> Tensor:
        counts = torch.zeros(len(texts), self._vocab_size, device=self.device)
        for row, ids in enumerate(texts):
            counts[row] = torch.bincount(
                torch.tensor(ids, dtype=torch.int64, device=self.device), minlength=self._vocab_size
            )
        return counts


_HEAD = 128

Transform = Callable[[Tensor, History], Tensor]


@dataclass(frozen=True)
class Temperature:
    """Divide the logits: below 1 sharpens, above 1 flattens."""

    temperature: float

    def __call__(self, logits: Tensor, history: History) -> Tensor:
        return logits / self.temperature


@dataclass(frozen=True)
class TopK:
    """Keep the k likeliest tokens, and those that tie with the last of them."""

    k: int

    def __call__(self, logits: Tensor, history: History) -> Tensor:
        if self.k >= logits.shape[-1]:
            return logits
        least = logits.topk(self.k, dim=-1, sorted=False).values.amin(-1, keepdim=True)
        return logits.masked_fill(logits < least, -math.inf)


@dataclass(frozen=True)
class TopP:
    """Keep a token while the tokens likelier than it hold less than `p` together (Holtzman et al. 2020).

    Tokens that tie are kept or left out together.
    """

    p: float

    def __call__(self, logits: Tensor, history: History) -> Tensor:
        if self.p >= 1:
            return logits
        shares = logits.softmax(-1)
        # Most of the mass sits in a short head, which is found much faster than a full order.
        ordered = shares.topk(min(_HEAD, shares.shape[-1])).values
        before = ordered.cumsum(-1) - ordered
        if not bool((before[:, -1] >= self.p).all()):
            ordered = _descending(shares)
            before = ordered.cumsum(-1) - ordered
        last = (before < self.p).sum(-1, keepdim=True).sub_(1).clamp_(min=0)
        return logits.masked_fill(shares < ordered.gather(-1, last), -math.inf)


def _descending(values: Tensor) -> Tensor:
    if values.device.type != "cpu":
        return values.sort(descending=True).values
    # numpy's vectorised sort takes a third of torch's time.
    return torch.from_numpy(np.sort(values.numpy())).flip(-1)


@dataclass(frozen=True)
class MinP:
    """Keep tokens at least `p` times as likely as the likeliest (Nguyen et al. 2024)."""

    p: float

    def __call__(self, logits: Tensor, history: History) -> Tensor:
        return logits.masked_fill(logits < logits.amax(-1, keepdim=True) + math.log(self.p), -math.inf)


@dataclass(frozen=True)
class RepetitionPenalty:
    """Divide positive and multiply negative logits of tokens already read or written (Keskar et al. 2019)."""

    penalty: float

    def __call__(self, logits: Tensor, history: History) -> Tensor:
        punished = torch.where(logits > 0, logits / self.penalty, logits * self.penalty)
        return torch.where(history.seen, punished, logits)


@dataclass(frozen=True)
class FrequencyPenalty:
    """Take `penalty` off a token's logit for each time it was written."""

    penalty: float

    def __call__(self, logits: Tensor, history: History) -> Tensor:
        return logits - self.penalty * history.said


@dataclass(frozen=True)
class PresencePenalty:
    """Take `penalty` off the logit of every token that was written."""

    penalty: float

    def __call__(self, logits: Tensor, history: History) -> Tensor:
        return logits - self.penalty * (history.said > 0)


@dataclass(frozen=True)
class NoRepeatedNgrams:
    """Rule out tokens that would end a run of `size` tokens that stands in the row already (Paulus et al. 2018)."""

    size: int

    def __call__(self, logits: Tensor, history: History) -> Tensor:
        rows: list[int] = []
        tokens: list[int] = []
        for row, text in enumerate(history.texts()):
            before = text[len(text) - self.size + 1 :] if len(text) >= self.size else None
            for start in range(len(text) - self.size + 1) if before is not None else ():
                if text[start : start + self.size - 1] == before:
                    rows.append(row)
                    tokens.append(text[start + self.size - 1])
        if not rows:
            return logits
        banned = logits.clone()
        banned[rows, tokens] = -math.inf
        # Where every token is ruled out, one must be said all the same.
        stuck = banned.isneginf().all(-1, keepdim=True)
        return torch.where(stuck, logits, banned)


@dataclass(frozen=True, eq=False)
class Banned:
    """Rule tokens out; `bias` is −inf at them and 0 elsewhere, of shape (vocabulary,)."""

    bias: Tensor

    @classmethod
    def ids(cls, ids: Iterable[int], vocab_size: int, device: torch.device) -> Banned:
        """Rule the given ids out."""
        bias = torch.zeros(vocab_size, device=device)
        bias[torch.tensor(sorted(ids), dtype=torch.int64, device=device)] = -math.inf
        return cls(bias)

    def __call__(self, logits: Tensor, history: History) -> Tensor:
        return logits + self.bias


def from_settings(sampling: Sampling) -> list[Transform]:
    """Return the transforms that settings ask for, in the order of `transformers`; defaults give none."""
    steps: list[Transform] = []
    if sampling.repetition_penalty != 1:
        steps.append(RepetitionPenalty(sampling.repetition_penalty))
    if sampling.frequency_penalty:
        steps.append(FrequencyPenalty(sampling.frequency_penalty))
    if sampling.presence_penalty:
        steps.append(PresencePenalty(sampling.presence_penalty))
    if sampling.no_repeat_ngram_size:
        steps.append(NoRepeatedNgrams(sampling.no_repeat_ngram_size))
    if sampling.greedy:
        return steps
    if sampling.temperature != 1:
        steps.append(Temperature(sampling.temperature))
    if sampling.top_k:
        steps.append(TopK(sampling.top_k))
    if sampling.top_p < 1:
        steps.append(TopP(sampling.top_p))
    if sampling.min_p:
        steps.append(MinP(sampling.min_p))
    return steps
