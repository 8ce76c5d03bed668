"""The Transformer decoder: one network from built parts, many names for ways of building it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rootlm.layers.attention import Attention, AttentionConfig
from rootlm.layers.block import Block, DecoderOrder
from rootlm.layers.dropout import dropout
from rootlm.layers.feedforward import GeLUConfig, SwiGLUConfig
from rootlm.layers.initialise import initialise
from rootlm.layers.key_values import KeyValues
from rootlm.layers.linear import Embedding, Head
from rootlm.layers.mixture import FeedForwardConfig, Mixture
from rootlm.layers.norms import LayerNormConfig, NormConfig, RMSNormConfig
from rootlm.layers.places import Places, locate
from rootlm.layers.positions import LearnedConfig, PositionConfig, RotaryConfig, build_positions
from rootlm.models import reading_again
from rootlm.models.answers import answer
from rootlm.models.few_tokens import FewTokens
from rootlm.models.interface import All, Ask, LanguageModel, Prediction, State
from rootlm.models.network_config import NetworkConfig


class DecoderConfig(NetworkConfig):
    """A Transformer decoder; a preset names its parts, `depth` its size, and every part can still be set."""

    free: ClassVar[tuple[str, ...]] = ("preset", "dropout", "activation_checkpointing")
    kind: Literal["decoder"] = "decoder"
    preset: Literal["gpt2", "llama", "qwen3"] = "qwen3"
    """Which network the parts that are not set come from."""
    depth: int = Field(6, ge=1)
    """Layers; the sizes that are not set follow from it."""
    hidden_size: int | None = Field(None, ge=2)
    """Width of the stream; none takes 64 for each layer."""
    n_heads: int | None = Field(None, ge=1)
    """Attention heads; none takes one for each 64 of the width."""
    n_kv_heads: int | None = Field(None, ge=1)
    """Heads that hold keys and values; none takes n_heads."""
    head_size: int | None = Field(None, ge=2)
    """Width of a head; none takes hidden_size / n_heads."""
    context: int = Field(256, ge=2)
    """The most tokens it reads at once."""
    norm: NormConfig | None = None
    """Normalisation; none takes the preset's."""
    position: PositionConfig | None = None
    """Positions; none takes the preset's."""
    attention: AttentionConfig | None = None
    """Attention; none takes the preset's."""
    feedforward: FeedForwardConfig | None = None
    """Feed-forward part; none takes the preset's."""
    order: DecoderOrder = "pre"
    """Where the norms of a block stand: pre, parallel (GPT-NeoX), around (Gemma 2) or after (OLMo 2)."""
    full_layers: tuple[int, ...] = ()
    """Layers, counted from 0, that see all although `attention.window` is set."""
    embedding_scale: float | None = Field(None, gt=0)
    """What the embedding is multiplied by; none leaves it."""
    logit_softcap: float | None = Field(None, gt=0)
    """Logits become c · tanh(logits / c), as in Gemma 2; none leaves them."""
    tied: bool | None = None
    """One matrix for the input and the output; none takes the preset's."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of values dropped after the embedding and after each part."""
    activation_checkpointing: bool = False
    """Forget activations within blocks and compute them again: less memory, more time."""

    @model_validator(mode="after")
    def _sizes_fit(self) -> DecoderConfig:
        full = self.resolved()
        assert full.hidden_size and full.n_heads and full.n_kv_heads and full.head_size
        if self.head_size is None and full.hidden_size % full.n_heads:
            raise ValueError(
                f"hidden_size {full.hidden_size} is not a multiple of n_heads {full.n_heads}; "
                "set head_size or another n_heads"
            )
        if full.n_heads % full.n_kv_heads:
            raise ValueError(f"n_heads {full.n_heads} is not a multiple of n_kv_heads {full.n_kv_heads}")
        if isinstance(full.position, RotaryConfig) and full.position.turned(full.head_size) % 2:
            raise ValueError(
                f"head_size {full.head_size} with position.share {full.position.share} is odd; rotary positions "
                "turn pairs"
            )
        if isinstance(full.position, RotaryConfig):
            full.position.check(full.head_size)
        if any(not 0 <= layer < full.depth for layer in full.full_layers):
            raise ValueError(
                f"full_layers names layer {max(full.full_layers)}; there are {full.depth}, from 0"
            )
        return self

    @property
    def reach(self) -> int:
        """The most tokens a row may hold."""
        return self.context

    def attention_of(self, layer: int) -> AttentionConfig:
        """Return the attention of a layer of a resolved config."""
        assert self.attention is not None
        return (
            self.attention.model_copy(update={"window": None})
            if layer in self.full_layers
            else self.attention
        )

    def resolved(self) -> DecoderConfig:
        """Return the same network with every choice written out."""
        hidden_size = self.hidden_size or 64 * self.depth
        n_heads = self.n_heads or max(1, hidden_size // 64)
        chosen = {name: getattr(self, name) for name in type(self).model_fields}
        filled = {
            "hidden_size": hidden_size,
            "n_heads": n_heads,
            "n_kv_heads": self.n_kv_heads or n_heads,
            "head_size": self.head_size or hidden_size // n_heads,
            **PRESETS[self.preset],
        }
        missing = {name: value for name, value in filled.items() if chosen[name] is None}
        return DecoderConfig.model_construct(**{**chosen, **missing})

    def build(self, vocab_size: int) -> Decoder:
        """Return the network with fresh weights, drawn from torch's generator."""
        return Decoder(self, vocab_size)


PRESETS: dict[str, dict[str, object]] = {
    "gpt2": {
        "norm": LayerNormConfig(),
        "position": LearnedConfig(),
        "attention": AttentionConfig(bias=True),
        "feedforward": GeLUConfig(),
        "tied": True,
    },
    "llama": {
        "norm": RMSNormConfig(eps=1e-5),
        "position": RotaryConfig(),
        "attention": AttentionConfig(),
        "feedforward": SwiGLUConfig(),
        "tied": False,
    },
    "qwen3": {
        "norm": RMSNormConfig(),
        "position": RotaryConfig(theta=1_000_000.0),
        "attention": AttentionConfig(qk_norm=True),
        "feedforward": SwiGLUConfig(),
        "tied": True,
    },
}


class Decoder(LanguageModel):
    """Embedding, blocks, norm, head."""

    config: DecoderConfig
    context: int

    def __init__(self, config: DecoderConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config = config.resolved()
        assert config.hidden_size and config.n_heads and config.n_kv_heads and config.head_size
        assert config.norm and config.attention and config.position and config.feedforward
        self.vocab_size, self.context = vocab_size, config.context
        width = config.hidden_size
        sizes = {"n_heads": config.n_heads, "head_size": config.head_size}
        self.embedding = Embedding(vocab_size, width)
        self.positions = build_positions(
            config.position,
            context=config.context,
            width=width,
            n_heads=config.n_heads,
            head_size=config.head_size,
        )
        self.dropout = dropout(config.dropout)
        norm, feedforward = config.norm, config.feedforward
        norms = 4 if config.order == "around" else 2
        self.blocks = nn.ModuleList(
            Block(
                Attention(config.attention_of(layer), width=width, n_kv_heads=config.n_kv_heads, **sizes),
                feedforward.build(width),
                tuple(norm.build(width) for _ in range(norms)),
                config.dropout,
                order=config.order,
            )
            for layer in range(config.depth)
        )
        self.norm = norm.build(width)
        self.head = Head(width, vocab_size, softcap=config.logit_softcap)
        self.tie()
        self.stream_dtype = None
        self._mixtures = [part for part in self.modules() if isinstance(part, Mixture)]
        self.few_tokens = FewTokens(self)
        self.short_until = reading_again.short_until(config)
        initialise(self, config.depth)

    def compiled_parts(self) -> Iterable[nn.Module]:
        """Return the blocks."""
        return self.blocks

    def tie(self) -> None:
        """Make the head's matrix the embedding's, when the config says so."""
        if self.config.tied:
            self.head.weight = self.embedding.weight

    @property
    def dtype(self) -> torch.dtype:
        """The type of the stream: what was set for mixed precision, else the weights' own."""
        return self.stream_dtype or self.embedding.weight.dtype

    def begin(self, rows: int, capacity: int | None = None) -> KeyValues:
        """Return an empty state for `rows` sequences."""
        config = self.config
        assert config.n_kv_heads and config.head_size
        capacity = min(config.context, capacity or 64)
        # One query over bfloat16 keys takes torch's CPU kernel five times as long as over float32 ones.
        plain = self.embedding.weight.device.type == "cpu" and not self.few_tokens.suits(self, rows)
        dtype = torch.float32 if plain else self.dtype
        like = torch.empty(0, dtype=dtype, device=self.embedding.weight.device)
        state = KeyValues.empty(config.depth, rows, (config.n_kv_heads, capacity, config.head_size), like)
        return state if self.short_until is None else reading_again.remember(state)

    def forward(
        self,
        tokens: Tensor,
        state: State | None = None,
        *,
        lengths: Tensor | None = None,
        segments: Tensor | None = None,
        ask: Ask = All(),
    ) -> Prediction:
        """Read `tokens` (batch, time) as `LanguageModel.forward` says.

        Raises ValueError when the state and the tokens together exceed the context.
        """
        assert state is None or isinstance(state, KeyValues)
        read = tokens.shape[1] + (state.filled if state else 0)
        if read > self.config.context:
            raise ValueError(f"{read} tokens do not fit a context of {self.config.context}; shorten the text")
        if segments is None:
            logits = self.few_tokens.read(self, tokens, state, lengths, ask)
            if logits is not None and state is not None:
                return Prediction(logits, state.advance(tokens.shape[1], lengths, None, None))
        hidden, state = self._read(tokens, state, lengths, segments)
        return Prediction(answer(self.head, hidden, lengths, ask), state, self._penalties())

    def _read(
        self, tokens: Tensor, state: KeyValues | None, lengths: Tensor | None, segments: Tensor | None
    ) -> tuple[Tensor, KeyValues | None]:
        """Return the stream before the head, (batch, time, width), and the state after it."""
        places = locate(tokens, state, lengths, segments, self.dtype if state is None else state.keys.dtype)
        if state is None:
            return self.trunk(tokens, places), None
        border = self.short_until
        if border is not None:
            reading_again.note(state, tokens)
        if border is not None and reading_again.must_read_again(state, places, border):
            hidden, state = reading_again.read_again(self, state, tokens.shape[1], lengths, segments)
        else:
            hidden = self.trunk(tokens, places, state)
            state = state.advance(tokens.shape[1], lengths, places.lows, segments)
        if border is not None:
            state.is_long = state.lengths - (0 if state.starts is None else state.starts) > border
        return hidden, state

    def flops_per_token(self) -> float:
        """Return 6 · (weights used per token, the input table left out) + 6 · layers · context · width."""
        config = self.config
        assert config.hidden_size and config.n_heads and config.head_size
        idle = sum(part.idle_weights for part in self._mixtures)
        used = (
            sum(parameter.numel() for parameter in self.blocks.parameters()) - idle + self.head.weight.numel()
        )
        return 6.0 * used + 6.0 * config.depth * config.context * config.n_heads * config.head_size

    def trunk(self, tokens: Tensor, places: Places, state: KeyValues | None = None) -> Tensor:
        """Return the stream before the head, (batch, time, width)."""
        x = self.embedding.read(tokens, self.dtype)
        if self.config.embedding_scale is not None:
            x = x * self.config.embedding_scale
        x = self.dropout(self.positions.embed(x, places.positions))
        places.turn(self.positions, self.dtype)
        for layer, block in enumerate(self.blocks):
            memory = None if state is None else (state, layer)
            if self.config.activation_checkpointing and self.training and memory is None:
                x = checkpoint(block, x, places, self.positions, use_reentrant=False)
            else:
                x = block(x, places, self.positions, memory)
        out: Tensor = self.norm(x)
        return out

    def _penalties(self) -> dict[str, Tensor]:
        balances = [part.balance for part in self._mixtures if part.balance is not None]
        return {"balance": torch.stack(balances).mean()} if balances else {}
