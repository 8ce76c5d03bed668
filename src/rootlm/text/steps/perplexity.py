"""How surprising a text is to a language model; what is too strange or says nothing new is dropped."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from rootlm.core.config import Config
from rootlm.text.document import Document, Rule

if TYPE_CHECKING:
    from rootlm import Run


class Perplexity(Config):
    """Drop documents that a language model finds too surprising, or hardly surprising at all.

    The measure is bits per byte, document end included, which compares Chinese with English and one tokenizer with
    another; perplexity per token, by which CCNet keeps pages (Wenzek et al. 2020), does neither.
    """

    run: str
    """A run folder whose model reads every document; an n-gram trained on text of the wanted kind is fast."""
    max_bits_per_byte: Annotated[float, Field(gt=0)] | None = None
    """Drop what takes more; null: no limit. `rootlm score` shows what documents take."""
    min_bits_per_byte: Annotated[float, Field(ge=0)] | None = None
    """Drop what takes less, such as text without end that repeats itself; null: no limit."""

    @model_validator(mode="after")
    def _has_a_limit(self) -> Perplexity:
        low, high = self.min_bits_per_byte, self.max_bits_per_byte
        if low is None and high is None:
            raise ValueError("perplexity has no limit; set max_bits_per_byte or min_bits_per_byte")
        if low is not None and high is not None and low >= high:
            raise ValueError(f"min_bits_per_byte {low} leaves nothing below max_bits_per_byte {high}")
        return self

    @property
    def files(self) -> list[Path]:
        """The files that decide what the model says."""
        return [Path(self.run) / name for name in ("config.json", "model.safetensors", "tokenizer.json")]

    def build(self) -> Rule:
        """Return the rule; raises ValueError when the folder holds no language model."""
        run = _opened(self.run)
        low, high = self.min_bits_per_byte, self.max_bits_per_byte

        def judge(document: Document) -> str | None:
            bits = bits_per_byte(run, document)
            if high is not None and bits > high:
                return f"more than {high:g} bits per byte"
            if low is not None and bits < low:
                return f"less than {low:g} bits per byte"
            return None

        return judge


def bits_per_byte(run: Run, document: Document) -> float:
    """Return −log₂ p of a document's tokens and its end, and 8 for each byte they do not determine, over its bytes."""
    (scored,) = run.score([document])
    bits = float(scored.nats.sum()) / math.log(2) + 8 * scored.lost_bytes
    return bits / max(1, len(document.text.encode()))


@cache
def _opened(folder: str) -> Run:
    # Through the public door: nothing else of the rooms where models live is known here.
    import rootlm

    run = rootlm.load(folder, device="cpu", precision="float32")
    run.language_model  # noqa: B018 - refuses what predicts no next token, word vectors too
    assert isinstance(run, rootlm.Run)
    return run
