"""A recurrent encoder that reads a document from both ends, to label its tokens (Schuster & Paliwal 1997)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from rootlm.core.config import Config
from rootlm.layers.cells import CellName
from rootlm.layers.linear import Embedding
from rootlm.layers.pieces import cut
from rootlm.layers.recurrent_layer import Recurrent
from rootlm.layers.steps import Steps
from rootlm.layers.variational import locked


class BidirectionalConfig(Config):
    """Layers of two readers each, the second from the end; both read what both of the layer before gave."""

    cell: CellName = "lstm"
    """rnn, gru or lstm."""
    depth: int = Field(1, ge=1)
    """Layers."""
    hidden_size: int = Field(256, ge=2, multiple_of=2)
    """Width of what a token gets, half from each direction."""
    embedding_size: int = Field(128, ge=1)
    """Width of the table."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of places dropped after the embedding and after each layer, the same in all steps of a document."""

    def build(self, vocab_size: int) -> Bidirectional:
        """Return the encoder with fresh weights, drawn from torch's generator."""
        return Bidirectional(self, vocab_size)


class Bidirectional(nn.Module):
    """Embedding and layers; every token's vector knows the whole of its document."""

    def __init__(self, config: BidirectionalConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(vocab_size, config.embedding_size)
        widths = [config.embedding_size, *[config.hidden_size] * (config.depth - 1)]
        half = config.hidden_size // 2
        self.forwards = nn.ModuleList(Recurrent(config.cell, width, half) for width in widths)
        self.backwards = nn.ModuleList(Recurrent(config.cell, width, half) for width in widths)
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.stream_dtype: torch.dtype | None = None

    def forward(
        self, tokens: Tensor, lengths: Tensor | None = None, segments: Tensor | None = None
    ) -> Tensor:
        """Return (batch, time, hidden) of `tokens` (batch, time), zero beyond a row's length.

        `lengths` and `segments` mean what they mean to a language model: neither direction crosses a border.
        """
        pieces = cut(tokens, lengths, segments, None)
        if pieces is None:
            return self._read(tokens, None)
        if not len(pieces.rows):
            return self._read(tokens, None) * 0
        return pieces.put_back(self._read(pieces.take(tokens), pieces.sizes), tokens.shape[1])

    def _read(self, tokens: Tensor, sizes: Tensor | None) -> Tensor:
        rows, time = tokens.shape
        steps = Steps.of(rows, time, sizes, tokens.device)
        mirror, dropout = steps.mirror, self.config.dropout if self.training else 0.0
        dtype = self.stream_dtype or self.embedding.weight.dtype
        x = locked(self.embedding.read(steps.pack(tokens), dtype), dropout, steps)
        for onward, back in zip(self.forwards, self.backwards, strict=True):
            assert isinstance(onward, Recurrent) and isinstance(back, Recurrent)
            ahead, _ = onward(x, steps, onward.blank(rows))
            behind, _ = back(x[mirror], steps, back.blank(rows))
            x = locked(torch.cat([ahead, behind[mirror]], -1), dropout, steps)
        return steps.unpack(x, time)
