"""The feed-forward language model: the last few words, each a vector, through one hidden layer (Bengio et al. 2003)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from rootlm.layers.dropout import dropout
from rootlm.layers.linear import Embedding, Linear
from rootlm.models.network_config import NetworkConfig
from rootlm.models.streaming import Memory, StreamingModel


class FeedForwardLMConfig(NetworkConfig):
    """y = b + U tanh(d + H x), and W x with `direct`; x is the last `order` − 1 words' vectors, end to end."""

    free: ClassVar[tuple[str, ...]] = ("dropout",)
    kind: Literal["feedforward"] = "feedforward"
    order: int = Field(5, ge=2)
    """Words in a window, the predicted one among them, as in an n-gram."""
    embedding_size: int = Field(64, ge=1)
    """Width of a word's vector."""
    hidden_size: int = Field(256, ge=1)
    """Width of the hidden layer."""
    direct: bool = False
    """Let the vectors reach the head without the hidden layer too (W in Bengio's equation 1)."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of values dropped before the hidden layer and before the head."""

    def build(self, vocab_size: int) -> FeedForwardLM:
        """Return the network with fresh weights, drawn from torch's generator."""
        return FeedForwardLM(self, vocab_size)


class FeedForwardLM(StreamingModel):
    """Embedding, one hidden layer over a window, head. The row after the vocabulary stands before a text begins."""

    config: FeedForwardLMConfig

    def __init__(self, config: FeedForwardLMConfig, vocab_size: int) -> None:
        super().__init__()
        self.config, self.vocab_size, self.context, self.stream_dtype = config, vocab_size, None, None
        read = (config.order - 1) * config.embedding_size
        self.embedding = Embedding(vocab_size + 1, config.embedding_size)
        self.hidden = Linear(read, config.hidden_size, bias=True)
        self.head = Linear(config.hidden_size + read * config.direct, vocab_size, bias=True)
        self.dropout = dropout(config.dropout)
        nn.init.normal_(self.embedding.weight, std=0.1)
        nn.init.normal_(self.hidden.weight, std=read**-0.5)
        nn.init.normal_(self.head.weight, std=0.02)
        for part in (self.hidden, self.head):
            nn.init.zeros_(part.bias)

    def blank(self, rows: int) -> Memory:
        """Return windows in which nothing stands but the beginning."""
        device = self.embedding.weight.device
        return (torch.full((rows, self.config.order - 2), self.vocab_size, dtype=torch.int64, device=device),)

    def trunk(self, tokens: Tensor, sizes: Tensor | None, memory: Memory) -> tuple[Tensor, Memory]:
        """Read every window of the rows at once."""
        dtype = self.stream_dtype or self.embedding.weight.dtype
        seen, held = torch.cat([memory[0], tokens], 1), memory[0].shape[1]
        windows = seen.unfold(1, held + 1, 1)  # (rows, time, order − 1)
        x = self.dropout(self.embedding.read(windows, dtype).flatten(2))
        hidden = self.dropout(torch.tanh(self.hidden(x)))
        ends = torch.full((len(tokens),), tokens.shape[1], device=tokens.device) if sizes is None else sizes
        kept = ends[:, None] + torch.arange(held, device=tokens.device)
        return torch.cat([hidden, x], -1) if self.config.direct else hidden, (seen.gather(1, kept),)

    def flops_per_token(self) -> float:
        """Return 6 · (weights of the hidden layer and the head)."""
        return 6.0 * (self.hidden.weight.numel() + self.head.weight.numel())
