"""Figures of a model on held-out text: bits per byte, perplexity, accuracy, each with an interval."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rootlm.evaluation.intervals import Floats, Interval, difference, ratio
from rootlm.evaluation.likelihood import Scored, score
from rootlm.evaluation.pseudo_likelihood import CAVEAT, pseudo_score
from rootlm.models.interface import Encoder, LanguageModel
from rootlm.text.document import Document
from rootlm.tokenizers.tokenizer import Tokenizer

_BITS_PER_BYTE = 8
_PER_TOKEN = "perplexity and accuracy are per token: compare them only between models of one tokenizer"


@dataclass(frozen=True)
class Evaluation:
    """Sums for every document, one array entry each, and the figures made of them."""

    nats: Floats
    """−ln p of all that was predicted, the document's end included."""
    tokens: Floats
    """Tokens predicted, the end token included."""
    correct: Floats
    """Tokens that were the model's likeliest."""
    bytes: Floats
    """UTF-8 bytes of the raw text."""
    lost_bytes: Floats
    """Of these, bytes that the ids do not determine."""
    seconds: float = 0.0
    pseudo: bool = False
    """Each token was hidden and told from both sides, so that no probability of a text comes out."""

    @property
    def bits(self) -> Floats:
        """What each document costs, lost bytes at 8 bits each."""
        return self.nats / math.log(2) + _BITS_PER_BYTE * self.lost_bytes

    def bits_per_byte(self, seed: int = 0) -> Interval:
        """Return the one figure that compares models of any tokenizer: bits of all tokens ÷ bytes of text."""
        return ratio(self.bits, self.bytes, seed=seed)

    def perplexity(self, seed: int = 0) -> Interval:
        """Return exp(nats per token); not comparable between tokenizers."""
        return ratio(self.nats, self.tokens, seed=seed).map(math.exp)

    def accuracy(self, seed: int = 0) -> Interval:
        """Return the share of tokens that were the model's likeliest; not comparable between tokenizers."""
        return ratio(self.correct, self.tokens, seed=seed)

    def to_plain(self, seed: int = 0) -> dict[str, Any]:
        """Return every figure as JSON-ready data."""
        before = "pseudo_" if self.pseudo else ""
        intervals = {
            f"{before}bits_per_byte": self.bits_per_byte(seed),
            f"{before}perplexity": self.perplexity(seed),
            "masked_accuracy" if self.pseudo else "accuracy": self.accuracy(seed),
        }
        figures: dict[str, Any] = {name: asdict(found) for name, found in intervals.items()}
        sums = {name: int(getattr(self, name).sum()) for name in ("tokens", "bytes", "lost_bytes")}
        note = CAVEAT if self.pseudo else _PER_TOKEN
        return {
            **figures,
            "documents": len(self.nats),
            **sums,
            "seconds": round(self.seconds, 3),
            "note": note,
        }


def evaluate(
    model: LanguageModel | Encoder, tokenizer: Tokenizer, documents: Iterable[Document]
) -> Evaluation:
    """Score documents and keep the sums of each; raises ValueError when there is no text to score."""
    started = time.perf_counter()
    pseudo = isinstance(model, Encoder)
    scores = (
        pseudo_score(model, tokenizer, documents)
        if isinstance(model, Encoder)
        else score(model, tokenizer, documents)
    )
    sums = [_sums(scored) for scored in scores]
    if not sums or not any(row[3] for row in sums):
        raise ValueError("there is no text to score: every document is empty, or there is none")
    nats, tokens, correct, sizes, lost = np.array(sums, np.float64).T
    seconds = time.perf_counter() - started
    return Evaluation(nats, tokens, correct, sizes, lost, seconds=seconds, pseudo=pseudo)


def compare(first: Evaluation, second: Evaluation, seed: int = 0) -> Interval:
    """Return by how many bits per byte the first is above the second, on the same documents, in pairs."""
    if first.pseudo != second.pseudo:
        raise ValueError("what an encoder pays for hidden tokens cannot be compared with what a text costs")
    if not np.array_equal(first.bytes, second.bytes):
        raise ValueError("two models are compared on the same documents; these differ in their bytes")
    return difference((first.bits, first.bytes), (second.bits, second.bytes), seed=seed)


def _sums(scored: Scored) -> tuple[float, int, int, int, int]:
    correct = int((scored.ranks == 0).sum())
    size = len(scored.document.text.encode())
    return float(scored.nats.sum()), len(scored.ids), correct, size, scored.lost_bytes
