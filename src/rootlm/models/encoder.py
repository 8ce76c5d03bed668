"""The Transformer encoder: reads a whole text at once and says which token stands at a place, or what the text is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from rootlm.layers.attention import Attention
from rootlm.layers.block import Block
from rootlm.layers.dropout import dropout
from rootlm.layers.initialise import initialise
from rootlm.layers.linear import Embedding, Linear
from rootlm.layers.places import Places, surround
from rootlm.layers.pooling import Pooling, pool
from rootlm.layers.positions import PositionConfig, Positions, RotaryConfig, build_positions
from rootlm.layers.unpad import lines_of
from rootlm.models.answers import answer
from rootlm.models.encoder_config import EncoderConfig, LocalConfig
from rootlm.models.interface import All, Ask, Encoder


class TransformerEncoder(Encoder):
    """Embeddings with their norm, blocks, a last norm in pre-norm order, and heads."""

    config: EncoderConfig
    context: int

    def __init__(self, config: EncoderConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config = config.resolved()
        assert config.hidden_size and config.norm and config.position
        self.vocab_size, self.context, self.hidden_size = vocab_size, config.context, config.hidden_size
        self.predicts = config.predicts
        width, norm = config.hidden_size, config.norm
        self.embedding = Embedding(vocab_size, width)
        self.types = Embedding(config.types, width) if config.types else None
        self.positions = self._build_positions(config.position)
        self.local_positions: Positions | None = None
        if isinstance(config.local, LocalConfig) and isinstance(config.position, RotaryConfig):
            self.local_positions = self._build_positions(RotaryConfig(theta=config.local.theta))
        self.embedding_norm = norm.build(width) if config.embedding_norm else nn.Identity()
        self.dropout = dropout(config.dropout)
        self.blocks = nn.ModuleList(self._block(layer) for layer in range(config.depth))
        self.norm = norm.build(width) if config.order == "pre" else nn.Identity()
        self.transform = Linear(width, width, bias=bool(config.head_bias)) if config.predicts else None
        self.transform_norm = norm.build(width) if config.predicts else None
        self.head = Linear(width, vocab_size, bias=True) if config.predicts else None
        self.pooler = None if config.pooler == "none" else Linear(width, width, bias=True)
        self.heads = nn.ModuleDict(
            {name: Linear(width, size, bias=True) for name, size in config.heads.items()}
        )
        self.tie()
        self.stream_dtype = None
        initialise(self, config.depth)

    def _build_positions(self, position: PositionConfig) -> Positions:
        config = self.config
        assert config.n_heads
        return build_positions(
            position,
            context=config.context,
            width=self.hidden_size,
            n_heads=config.n_heads,
            head_size=self.hidden_size // config.n_heads,
        )

    def _block(self, layer: int) -> Block:
        config, width = self.config, self.hidden_size
        assert config.n_heads and config.norm and config.attention and config.feedforward and config.order
        attention = config.attention
        if isinstance(config.local, LocalConfig) and self._is_local(layer):
            attention = attention.model_copy(update={"window": config.local.window})
        first: nn.Module = config.norm.build(width)
        if layer == 0 and config.order == "pre" and config.embedding_norm:
            first = nn.Identity()
        sizes = {
            "n_heads": config.n_heads,
            "n_kv_heads": config.n_heads,
            "head_size": width // config.n_heads,
        }
        return Block(
            Attention(attention, width=width, **sizes),
            config.feedforward.build(width),
            (first, config.norm.build(width)),
            config.dropout,
            order=config.order,
        )

    def _is_local(self, layer: int) -> bool:
        return isinstance(self.config.local, LocalConfig) and layer % self.config.local.every != 0

    def compiled_parts(self) -> Iterable[nn.Module]:
        """Return the blocks."""
        return self.blocks

    def tie(self) -> None:
        """Make the head's matrix the embedding's."""
        if self.head is not None:
            self.head.weight = self.embedding.weight

    @property
    def dtype(self) -> torch.dtype:
        """The type of the stream: what was set for mixed precision, else the weights' own."""
        return self.stream_dtype or self.embedding.weight.dtype

    def forward(
        self,
        tokens: Tensor,
        lengths: Tensor | None = None,
        segments: Tensor | None = None,
        *,
        types: Tensor | None = None,
    ) -> Tensor:
        """Read `tokens` (batch, time) as `Encoder.forward` says; raises ValueError beyond the context."""
        time = tokens.shape[1]
        if time > self.config.context:
            raise ValueError(f"{time} tokens do not fit a context of {self.config.context}; shorten the text")
        if lengths is None:
            return self.trunk(tokens, segments, types)
        lines = lines_of(lengths, time) if self.config.unpadded else None
        if lines is None:
            return self.trunk(tokens, _with_padding(tokens, lengths, segments), types)
        labels = lines.labels
        if segments is not None:
            # A text begins where another row does, or where its own row says so.
            labels = labels * (int(segments.max()) + 1 - int(segments.min())) + lines.lay(
                segments - segments.min()
            )
        hidden = self.trunk(lines.lay(tokens), labels, None if types is None else lines.lay(types))
        return lines.take_up(hidden, tokens.shape)

    def trunk(self, tokens: Tensor, segments: Tensor | None, types: Tensor | None) -> Tensor:
        """Return the stream of full rows, (batch, time, width)."""
        places = surround(tokens, self.dtype, segments=segments)
        x = self.positions.embed(self.embedding.read(tokens, self.dtype), places.positions)
        if self.types is not None:
            x = x + self.types.read(torch.zeros_like(tokens) if types is None else types, self.dtype)
        x = self.dropout(self.embedding_norm(x))
        nearby = everywhere = places.turn(self.positions, self.dtype)
        if self.local_positions is not None:
            nearby = replace(places).turn(self.local_positions, self.dtype)
        for layer, block in enumerate(self.blocks):
            x = self._read_block(block, x, nearby if self._is_local(layer) else everywhere)
        out: Tensor = self.norm(x)
        return out

    def _read_block(self, block: nn.Module, x: Tensor, places: Places) -> Tensor:
        if self.config.activation_checkpointing and self.training:
            kept: Tensor = checkpoint(block, x, places, self.positions, use_reentrant=False)
            return kept
        read: Tensor = block(x, places, self.positions)
        return read

    def predict(self, hidden: Tensor, ask: Ask = All()) -> Tensor:
        """Say which token stands at each place: softmax(E · norm(gelu(W h)) + b)."""
        if self.transform is None or self.transform_norm is None or self.head is None:
            raise ValueError(
                "this encoder has no output over tokens, only vectors; fine-tune it with objective.kind=masked, or "
                "ask rootlm similarity"
            )
        ready = self.transform_norm(_bent(self.transform(hidden), self.config.head_activation))
        return answer(self.head, ready, None, ask)

    def tell(self, name: str, hidden: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return what the head of that name says of each row, (batch, outputs)."""
        if name not in self.heads:
            raise ValueError(
                f"the model has no head {name}; set model.heads.{name} to how many numbers it says"
            )
        said: Tensor = self.heads[name](self.pooled(hidden, lengths))
        return said

    def pooled(self, hidden: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return tanh(W · the pooled stream + b), (batch, width)."""
        assert self.pooler is not None and self.config.pooler is not None
        how: Pooling = "cls" if self.config.pooler == "cls" else "mean"
        return torch.tanh(self.pooler(pool(hidden, lengths, how)))

    def flops_per_token(self) -> float:
        """Return 6 · weights of the blocks + 12 · Σ over layers of what a token sees · width.

        The output reads masked places only and is left out.
        """
        config = self.config
        used = sum(parameter.numel() for parameter in self.blocks.parameters())
        seen = [
            min(config.context, 2 * config.local.window - 1)
            if isinstance(config.local, LocalConfig) and self._is_local(layer)
            else config.context
            for layer in range(config.depth)
        ]
        return 6.0 * used + 12.0 * sum(seen) * self.hidden_size


def _bent(x: Tensor, how: str) -> Tensor:
    if how == "relu":
        return F.relu(x)
    return F.gelu(x, approximate="tanh" if how == "gelu_tanh" else "none")


def _with_padding(tokens: Tensor, lengths: Tensor, segments: Tensor | None) -> Tensor:
    """Return segments in which all that lies beyond the end of a row is one of its own."""
    real = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
    if segments is None:
        return (~real).long()
    return torch.where(real, segments, segments.max() + 1)
