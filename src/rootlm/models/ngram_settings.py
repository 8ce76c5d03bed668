"""The settings of an n-gram model; they are read without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from rootlm.core.config import Config
from rootlm.models.network_config import NetworkConfig
from rootlm.models.smoothing import ModifiedKneserNey, Smoothing

if TYPE_CHECKING:
    from rootlm.models.ngram import Ngram


class PruningConfig(Config):
    """Which n-grams are left out of a finished model; what they held goes to the lower orders."""

    counts: tuple[int, ...] = ()
    """The largest count that is left out, for order 2, 3 …; the last holds for higher orders too."""
    entropy: float = Field(0.0, ge=0)
    """Leave out n-grams without which the model's perplexity rises by less than this share (Stolcke 1998)."""


class NgramConfig(NetworkConfig):
    """An n-gram model: counted in one pass, without gradients."""

    kind: Literal["ngram"] = "ngram"
    order: int = Field(5, ge=1, le=16)
    """The most tokens an n-gram has: it looks back order − 1 tokens."""
    smoothing: Smoothing = ModifiedKneserNey()
    """How counts become probabilities."""
    pruning: PruningConfig = PruningConfig()
    """Which n-grams are left out."""
    memory_mb: int = Field(2000, ge=1)
    """Memory for counting; what does not fit is sorted on disk."""

    def build(self, vocab_size: int) -> Ngram:
        """Return a model that has read nothing: every token is as likely as any other."""
        from rootlm.models.ngram import Ngram

        return Ngram(self, vocab_size)
