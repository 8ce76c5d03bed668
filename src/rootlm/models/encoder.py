"""The Transformer encoder: reads a whole text at once and says which token stands at a place, or what the text is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from rootlm.core.config import Config
from rootlm.layers.attention import Attention, AttentionConfig
from rootlm.layers.block import Block, Order
from rootlm.layers.dropout import dropout
from rootlm.layers.feedforward import GeGLUConfig, GeLUConfig
from rootlm.layers.initialise import initialise
from rootlm.layers.linear import Embedding, Linear
from rootlm.layers.mixture import DenseConfig
from rootlm.layers.norms import LayerNormConfig, NormConfig
from rootlm.layers.places import Places, surround
from rootlm.layers.pooling import Pooling, pool
from rootlm.layers.positions import LearnedConfig, PositionConfig, Positions, RotaryConfig, build_positions
from rootlm.layers.unpad import lines_of
from rootlm.models.answers import answer
from rootlm.models.interface import All, Ask, Encoder
from rootlm.models.network_config import NetworkConfig


class LocalConfig(Config):
    """Most layers see a token's neighbours only; every few see all of the text (Beltagy et al. 2020)."""

    window: int = Field(65, ge=1)
    """A token of a local layer sees itself and the window − 1 tokens on either side."""
    every: int = Field(3, ge=1)
    """Of so many layers the first sees everything."""
    theta: float = Field(10_000.0, gt=1)
    """The base of the rotary frequencies in local layers."""


class EncoderConfig(NetworkConfig):
    """A Transformer encoder; a preset names its parts, `depth` its size, and every part can still be set."""

    free: ClassVar[tuple[str, ...]] = ("preset", "dropout", "activation_checkpointing", "unpadded")
    added: ClassVar[tuple[str, ...]] = ("heads.", "pooler.")
    kind: Literal["encoder"] = "encoder"
    preset: Literal["bert", "modern"] = "modern"
    """Which network the parts that are not set come from: `bert` (Devlin et al. 2019) or one with rotary positions,
    norms before the parts, gated feed-forward and no biases (as ModernBERT, Warner et al. 2024)."""
    depth: int = Field(6, ge=1)
    """Layers; the sizes that are not set follow from it."""
    hidden_size: int | None = Field(None, ge=2)
    """Width of the stream; none takes 64 for each layer."""
    n_heads: int | None = Field(None, ge=1)
    """Attention heads; none takes one for each 64 of the width."""
    context: int = Field(256, ge=2)
    """The most tokens it reads at once."""
    order: Order | None = None
    """Where the norms stand; none takes the preset's."""
    norm: NormConfig | None = None
    """Normalisation; none takes the preset's."""
    position: PositionConfig | None = None
    """Positions; none takes the preset's."""
    attention: AttentionConfig | None = None
    """Attention; none takes the preset's."""
    local: LocalConfig | Literal["none"] | None = None
    """Layers that see neighbours only, or `none` for none; unset takes the preset's."""
    feedforward: DenseConfig | None = None
    """Feed-forward part; none takes the preset's."""
    embedding_norm: bool | None = None
    """Normalise the stream where it begins; in pre-norm order the first attention then has no norm of its own."""
    head_bias: bool | None = None
    """Add a bias to the transform before the output; none takes the preset's."""
    types: int | None = Field(None, ge=0)
    """Kinds of places, such as the two texts of a pair, each with a vector; none takes the preset's."""
    pooler: Literal["cls", "mean", "none"] | None = None
    """What the heads see of a text, through a dense layer with tanh; none takes the preset's."""
    heads: dict[str, int] = Field(default_factory=dict)
    """Numbers said of a whole text: a name, and how many; an objective adds those that it needs."""
    unpadded: bool | None = None
    """Lay ragged rows end to end instead of computing padding; none takes the preset's."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of values dropped after the embedding and after each part."""
    activation_checkpointing: bool = False
    """Forget activations within blocks and compute them again: less memory, more time."""

    @model_validator(mode="after")
    def _sizes_fit(self) -> EncoderConfig:
        full = self.resolved()
        assert full.hidden_size and full.n_heads
        if full.hidden_size % full.n_heads:
            raise ValueError(
                f"hidden_size {full.hidden_size} is not a multiple of n_heads {full.n_heads}; set another n_heads"
            )
        if isinstance(full.position, RotaryConfig) and full.hidden_size // full.n_heads % 2:
            raise ValueError(
                f"a head is {full.hidden_size // full.n_heads} wide; rotary positions turn pairs"
            )
        if full.heads and full.pooler == "none":
            raise ValueError(f"heads {', '.join(full.heads)} need a pooler; set pooler to cls or mean")
        return self

    @property
    def reach(self) -> int:
        """The most tokens a row may hold."""
        return self.context

    def resolved(self) -> EncoderConfig:
        """Return the same network with every choice written out."""
        hidden_size = self.hidden_size or 64 * self.depth
        chosen = {name: getattr(self, name) for name in type(self).model_fields}
        filled = {
            "hidden_size": hidden_size,
            "n_heads": self.n_heads or max(1, hidden_size // 64),
            **PRESETS[self.preset],
        }
        if self.heads and self.pooler is None and filled["pooler"] == "none":
            filled["pooler"] = "mean"
        missing = {name: value for name, value in filled.items() if chosen[name] is None}
        return EncoderConfig.model_construct(**{**chosen, **missing})

    def with_heads(self, heads: Mapping[str, int]) -> EncoderConfig:
        """Return the network with further heads, and with a pooler for them where it has none."""
        plain = self.model_dump() | {"heads": {**self.heads, **heads}}
        if self.pooler == "none":
            plain["pooler"] = "mean"
        return EncoderConfig.model_validate(plain)

    def build(self, vocab_size: int) -> TransformerEncoder:
        """Return the network with fresh weights, drawn from torch's generator."""
        return TransformerEncoder(self, vocab_size)


PRESETS: dict[str, dict[str, object]] = {
    "bert": {
        "order": "post",
        "norm": LayerNormConfig(eps=1e-12),
        "position": LearnedConfig(),
        "attention": AttentionConfig(bias=True),
        "local": "none",
        "feedforward": GeLUConfig(approximate="none"),
        "embedding_norm": True,
        "head_bias": True,
        "types": 2,
        "pooler": "cls",
        "unpadded": False,
    },
    "modern": {
        "order": "pre",
        "norm": LayerNormConfig(bias=False),
        "position": RotaryConfig(theta=160_000.0),
        "attention": AttentionConfig(),
        "local": LocalConfig(),
        "feedforward": GeGLUConfig(approximate="none"),
        "embedding_norm": True,
        "head_bias": False,
        "types": 0,
        "pooler": "none",
        "unpadded": True,
    },
}


class TransformerEncoder(Encoder):
    """Embeddings with their norm, blocks, a last norm in pre-norm order, and heads."""

    config: EncoderConfig
    context: int

    def __init__(self, config: EncoderConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config = config.resolved()
        assert config.hidden_size and config.norm and config.position
        self.vocab_size, self.context, self.hidden_size = vocab_size, config.context, config.hidden_size
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
        self.transform = Linear(width, width, bias=bool(config.head_bias))
        self.transform_norm = norm.build(width)
        self.head = Linear(width, vocab_size, bias=True)
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
        everywhere = replace(
            places, rotation=self.positions.rotation(places.positions, self.dtype, places.keys)
        )
        nearby = everywhere
        if self.local_positions is not None:
            nearby = replace(
                places, rotation=self.local_positions.rotation(places.positions, self.dtype, places.keys)
            )
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
        ready = self.transform_norm(F.gelu(self.transform(hidden)))
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


def _with_padding(tokens: Tensor, lengths: Tensor, segments: Tensor | None) -> Tensor:
    """Return segments in which all that lies beyond the end of a row is one of its own."""
    real = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
    if segments is None:
        return (~real).long()
    return torch.where(real, segments, segments.max() + 1)
