"""One side of an encoder–decoder: blocks with their positions, and the norms before and after them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from rootlm.layers.attention import Attention, AttentionConfig
from rootlm.layers.block import Block, Order
from rootlm.layers.cross_attention import CrossAttention, Heard
from rootlm.layers.dropout import dropout
from rootlm.layers.key_values import KeyValues
from rootlm.layers.mixture import FeedForwardConfig
from rootlm.layers.norms import NormConfig
from rootlm.layers.places import Places
from rootlm.layers.positions import PositionConfig, build_positions


@dataclass(frozen=True)
class Parts:
    """What a side is made of."""

    norm: NormConfig
    attention: AttentionConfig
    position: PositionConfig
    feedforward: FeedForwardConfig
    order: Order
    embedding_norm: bool = False
    """Normalise what comes in, its positions added."""


@dataclass(frozen=True)
class Sizes:
    """How wide its parts are."""

    width: int
    n_heads: int
    n_kv_heads: int
    head_size: int
    context: int


class Stack(nn.Module):
    """Blocks with their positions, and the norm after them; one that `writes` listens to another."""

    def __init__(self, parts: Parts, sizes: Sizes, *, depth: int, share_dropped: float, writes: bool) -> None:
        super().__init__()
        width, attention, norm = sizes.width, parts.attention, parts.norm
        heads = {"n_heads": sizes.n_heads, "head_size": sizes.head_size}
        every = {"width": width, "n_kv_heads": sizes.n_kv_heads, **heads}
        self.positions = build_positions(
            parts.position, context=sizes.context, width=width, both_ways=not writes, **heads
        )
        self.embedding_norm = norm.build(width) if parts.embedding_norm else nn.Identity()
        self.dropout = dropout(share_dropped)

        def listening() -> CrossAttention:
            return CrossAttention(**every, bias=attention.bias, scale=attention.scale)

        self.blocks = nn.ModuleList(
            Block(
                Attention(attention, **every),
                parts.feedforward.build(width),
                (norm.build(width), norm.build(width)),
                share_dropped,
                order=parts.order,
                cross=(listening(), norm.build(width)) if writes else None,
            )
            for _ in range(depth)
        )
        self.norm = norm.build(width) if parts.order == "pre" else nn.Identity()

    @property
    def listeners(self) -> Iterator[CrossAttention]:
        """The attention to the source of every layer."""
        return (part for part in self.modules() if isinstance(part, CrossAttention))

    def forward(
        self, x: Tensor, places: Places, state: KeyValues | None = None, heard: Heard | None = None
    ) -> Tensor:
        """Return the stream after all blocks, (batch, time, width)."""
        x = self.dropout(self.embedding_norm(self.positions.embed(x, places.positions)))
        places.turn(self.positions, x.dtype)
        for layer, block in enumerate(self.blocks):
            memory = None if state is None else (state, layer)
            x = block(x, places, self.positions, memory, None if heard is None else (heard, layer))
        out: Tensor = self.norm(x)
        return out
