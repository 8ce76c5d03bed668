"""The gated convolutional language model (Dauphin et al. 2017)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from rootlm.layers.dropout import dropout
from rootlm.layers.gated_convolution import GatedConvolution
from rootlm.layers.initialise import initialise
from rootlm.layers.linear import Embedding, Linear
from rootlm.layers.norms import NormConfig, RMSNormConfig
from rootlm.models.network_config import NetworkConfig
from rootlm.models.streaming import Memory, StreamingModel


class ConvolutionalConfig(NetworkConfig):
    """Blocks of causal gated convolutions between an embedding and a head; it sees depth · (kernel − 1) tokens back."""

    free: ClassVar[tuple[str, ...]] = ("dropout",)
    kind: Literal["convolutional"] = "convolutional"
    depth: int = Field(6, ge=1)
    """Convolutions, one after the other."""
    hidden_size: int = Field(384, ge=1)
    """Width of the stream."""
    kernel: int = Field(4, ge=1)
    """Tokens that a convolution sees at once, the present one among them."""
    norm: NormConfig = RMSNormConfig()
    """Normalises what each convolution and the head read; the paper normalises weights instead."""
    tied: bool = True
    """One matrix for the input and the output."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of values dropped after the embedding and after each convolution."""

    def build(self, vocab_size: int) -> Convolutional:
        """Return the network with fresh weights, drawn from torch's generator."""
        return Convolutional(self, vocab_size)


class Convolutional(StreamingModel):
    """Embedding, residual blocks of norm and gated convolution, norm, head."""

    config: ConvolutionalConfig

    def __init__(self, config: ConvolutionalConfig, vocab_size: int) -> None:
        super().__init__()
        self.config, self.vocab_size, self.context, self.stream_dtype = config, vocab_size, None, None
        width = config.hidden_size
        self.embedding = Embedding(vocab_size, width)
        self.blocks = nn.ModuleList(GatedConvolution(width, config.kernel) for _ in range(config.depth))
        self.norms = nn.ModuleList(config.norm.build(width) for _ in range(config.depth + 1))
        self.dropout = dropout(config.dropout)
        self.head = Linear(width, vocab_size, bias=True)
        initialise(self, config.depth)
        self.tie()

    def tie(self) -> None:
        """Make the head's matrix the embedding's, when the config says so."""
        if self.config.tied:
            self.head.weight = self.embedding.weight

    def blank(self, rows: int) -> Memory:
        """Return zeros for the columns before a text begins."""
        device, config = self.embedding.weight.device, self.config
        shape = (rows, config.kernel - 1, config.hidden_size)
        return tuple(torch.zeros(shape, device=device) for _ in range(config.depth))

    def trunk(self, tokens: Tensor, sizes: Tensor | None, memory: Memory) -> tuple[Tensor, Memory]:
        """Read the rows at once, each convolution after the columns it has seen last."""
        dtype = self.stream_dtype or self.embedding.weight.dtype
        x, after = self.dropout(self.embedding.read(tokens, dtype)), list[Tensor]()
        for block, norm, held in zip(self.blocks, self.norms, memory, strict=False):
            given, columns = block(norm(x), sizes, held)
            after.append(columns)
            x = x + self.dropout(given)
        return self.norms[-1](x), tuple(after)

    def flops_per_token(self) -> float:
        """Return 6 · (weights of the convolutions and the head)."""
        used = sum(parameter.numel() for parameter in self.blocks.parameters()) + self.head.weight.numel()
        return 6.0 * used
