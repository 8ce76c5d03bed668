"""What the settings of every network have in common; they are read without torch."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self

from rootlm.core.config import Config

if TYPE_CHECKING:
    from rootlm.models.interface import Network


class NetworkConfig(Config):
    """Describes a network and builds it; every kind of model has one."""

    kind: str
    free: ClassVar[tuple[str, ...]] = ()
    """Fields that may change when a run begins from another one's weights."""
    added: ClassVar[tuple[str, ...]] = ()
    """How the names of weights begin that are fresh where the run that is begun from has none."""

    @abstractmethod
    def build(self, vocab_size: int) -> Network:
        """Return the network with fresh weights, drawn from torch's generator."""

    @property
    def reach(self) -> int | None:
        """The most tokens a row may hold, or None when there is no limit."""
        return None

    def reading(self, source_vocab_size: int) -> Self:
        """Return the same network for sources with so many ids of their own; raises ValueError where it reads none."""
        raise ValueError(f"source_tokenizer: a {self.kind} reads no source; leave source_tokenizer out")

    def resolved(self) -> Self:
        """Return the same network with every choice written out."""
        return self
