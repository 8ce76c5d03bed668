"""A GGUF file held against what it was made from: llama.cpp beside our reading of it, and what its type loses."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rootlm.models.foreign.gguf_quantising import Kind
from rootlm.models.foreign.gguf_reading import GgufFile
from rootlm.runs.llama_cpp_side import LlamaCppSide
from rootlm.runs.parity_texts import TEXTS
from rootlm.runs.sides import OwnSide
from rootlm.runs.verified import Verified, compare_ids

Read = Sequence[tuple[str, list[int]]]
TOLERANCES: dict[Kind, float] = {"F32": 1e-3, "F16": 2e-2, "BF16": 0.15, "Q8_0": 0.25, "Q4_0": 0.25}
"""By how much llama.cpp's logarithms of probabilities may differ from ours on the same weights, for each unit of the
logits' standard deviation: it rounds the stream before it multiplies it with what is small."""
GELU_TOLERANCE = 2e-2
"""The least of these where there is a GELU, which llama.cpp looks up in a table of F16."""
LOSSES: dict[Kind, float] = {"F32": 1e-6, "F16": 1e-4, "BF16": 1e-2, "Q8_0": 1e-2, "Q4_0": 0.3}
"""The most nats per token that rounding the weights to a type may cost, as KL divergence from the model's own
predictions."""
_CONTINUED = (0, 6, 12, 18, 25, 31, 50, 70)
_MORE = 16
_LONGEST = 256


@dataclass(frozen=True)
class Continued:
    """Greedy continuations, ours and llama.cpp's."""

    texts: int
    alike: int
    """How many are the same to the end."""
    widest: float
    """Where one is not: by how much our logit of llama.cpp's token lies below the highest, at most."""

    @property
    def sentence(self) -> str:
        """What a person wants to know."""
        said = f"{self.alike} of {self.texts} greedy continuations are the same"
        return said if self.alike == self.texts else f"{said}, the others part at a tie ({self.widest:.1e})"


def tolerance_of(file: Path) -> float:
    """Return by how much probabilities from a file may differ, by the roughest type that one of its tensors has."""
    allowed: dict[str, float] = {str(kind): most for kind, most in TOLERANCES.items()}
    widest = max(allowed.values())
    return max(allowed.get(entry.layout.name, widest) for entry in GgufFile(file).tensors.values())


def compare_last(first: OwnSide, second: LlamaCppSide, *, prompts: bool, tolerance: float) -> Verified:
    """Compare ids, and what comes after each text: the logarithms of all probabilities."""
    read, unlike = compare_ids(first, second, prompts=prompts)
    opened = (first.opened_by, second.opened_by)
    if unlike:
        return Verified(*opened, len(read), math.nan, math.nan, "", tuple(unlike), tolerance)
    largest, where, squares = 0.0, "", list[float]()
    for text, ids in read:
        cut = ids[: second.context]
        if not cut:
            continue  # a template that writes nothing
        logits = first.logits(cut)[-1]
        one, other = torch.log_softmax(logits, -1), second.nats(cut)
        difference = float((one - other).abs().max())
        if not difference <= largest:
            largest, where = difference, text
        squares.append(float(logits.double().var()))
    deviation = math.sqrt(sum(squares) / len(squares))
    if math.isnan(largest) or math.isnan(deviation):
        unlike.append(f"logits of {where!r} are no numbers")
    return Verified(*opened, len(read), largest, deviation, where, tuple(unlike), tolerance)


def compare_continuations(first: OwnSide, second: LlamaCppSide) -> Continued:
    """Let llama.cpp go on from some texts, and look at each of its tokens whether it is the likeliest here too."""
    texts, alike, widest = 0, 0, 0.0
    for number in _CONTINUED:
        prompt = first.prompt_ids(TEXTS[number])[: max(1, (second.context or _LONGEST) - _MORE)]
        said = second.greedy(prompt, _MORE)
        values = first.logits([*prompt, *said])[len(prompt) - 1 :]
        short = next((gap for gap in _gaps(values, said) if gap), 0.0)
        texts, alike, widest = texts + 1, alike + (short == 0), max(widest, short)
    return Continued(texts, alike, widest)


def _gaps(values: Tensor, said: Sequence[int]) -> Iterator[float]:
    """Yield how far each token that was said lies below the likeliest; what follows the first gap is another text."""
    for row, token in zip(values, said, strict=False):
        yield float(row.max() - row[token])


def loss(whole: OwnSide, rounded: OwnSide, context: int | None) -> float:
    """Return how many nats per token the second's predictions are away from the first's, on a third of the texts."""
    total, count = 0.0, 0
    for text in TEXTS[::3]:
        ids = whole.prompt_ids(text)[:context]
        one, other = (torch.log_softmax(side.logits(ids).double(), -1) for side in (whole, rounded))
        total += float((one.exp() * (one - other)).sum())
        count += len(ids)
    return max(0.0, total / count)
