"""How an encoder–decoder is built: its parts, and the presets that name sets of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from rootlm.layers.attention import AttentionConfig
from rootlm.layers.block import Order
from rootlm.layers.feedforward import GeGLUConfig, ReLUConfig
from rootlm.layers.mixture import FeedForwardConfig
from rootlm.layers.norms import LayerNormConfig, NormConfig, RMSNormConfig
from rootlm.layers.positions import (
    PositionConfig,
    RelativeConfig,
    RotaryConfig,
    SinusoidalConfig,
)
from rootlm.models.network_config import NetworkConfig

if TYPE_CHECKING:
    from rootlm.models.encoder_decoder import EncoderDecoder


class EncoderDecoderConfig(NetworkConfig):
    """A Transformer encoder–decoder; a preset names its parts, and every part can still be set."""

    # How many ids sources have is told by the run's tokenizer.
    free: ClassVar[tuple[str, ...]] = ("preset", "dropout", "source_vocab_size")
    kind: Literal["encoder_decoder"] = "encoder_decoder"
    preset: Literal["transformer", "t5"] = "transformer"
    """Which network the parts that are not set come from: the one of 2017 (Vaswani et al.) or T5 1.1 (Raffel et al.
    2020; T5 1.0 is tied, with a plain `relu` part without biases)."""
    depth: int = Field(6, ge=1)
    """Layers of the decoder, and of the encoder."""
    encoder_depth: int | None = Field(None, ge=1)
    """Layers of the encoder; none takes `depth`."""
    hidden_size: int | None = Field(None, ge=2)
    """Width of the stream; none takes 64 for each layer."""
    n_heads: int | None = Field(None, ge=1)
    """Attention heads; none takes one for each 64 of the width."""
    n_kv_heads: int | None = Field(None, ge=1)
    """Heads that hold keys and values; none takes n_heads."""
    head_size: int | None = Field(None, ge=2)
    """Width of a head; none takes hidden_size / n_heads."""
    context: int = Field(256, ge=2)
    """The most tokens of a source, and of a target, marks included."""
    order: Order | None = None
    """Where the norms stand: `pre` or `post`; none takes the preset's."""
    norm: NormConfig | None = None
    """Normalisation; none takes the preset's."""
    position: PositionConfig | None = None
    """Positions, of encoder and decoder alike; none takes the preset's."""
    attention: AttentionConfig | None = None
    """Attention within a text, and its biases for attention to the source; none takes the preset's."""
    feedforward: FeedForwardConfig | None = None
    """Feed-forward part; none takes the preset's."""
    tied: bool | None = None
    """One matrix for the target's input and the output; none takes the preset's."""
    embedding_scale: float | None = Field(None, gt=0)
    """What embeddings are multiplied by; none takes √hidden_size."""
    embedding_norm: bool = False
    """Normalise each side's embeddings with their positions, as BART does."""
    head_scale: float | None = Field(None, gt=0)
    """What the stream is multiplied by before the head, as in the first T5; none leaves it."""
    head_bias: bool = False
    """Add a bias to every logit, as Marian does."""
    source_vocab_size: int | None = Field(None, ge=1)
    """Ids of the source, where it has a tokenizer and a table of its own; none: it shares the target's."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of values dropped after the embedding and after each part."""
    copies: bool = False
    """Let the decoder copy ids of the source that its last layer listens to (See et al. 2017)."""

    @model_validator(mode="after")
    def _sizes_fit(self) -> EncoderDecoderConfig:
        full = self.resolved()
        assert full.hidden_size and full.n_heads and full.n_kv_heads and full.head_size
        if self.head_size is None and full.hidden_size % full.n_heads:
            raise ValueError(
                f"hidden_size {full.hidden_size} is not a multiple of n_heads {full.n_heads}; "
                "set head_size or another n_heads"
            )
        if full.n_heads % full.n_kv_heads:
            raise ValueError(f"n_heads {full.n_heads} is not a multiple of n_kv_heads {full.n_kv_heads}")
        if isinstance(full.position, RotaryConfig) and full.head_size % 2:
            raise ValueError(f"head_size {full.head_size} is odd; rotary positions turn pairs")
        scaling = full.position.scaling if isinstance(full.position, RotaryConfig) else None
        if scaling is not None and scaling.steady_until is not None:
            raise ValueError(
                f"position.scaling.kind={scaling.kind} turns a text by its length, which is not known while it is "
                "written; take linear, yarn or llama3"
            )
        return self

    @property
    def reach(self) -> int:
        """The most tokens a row may hold."""
        return self.context

    def reading(self, source_vocab_size: int) -> EncoderDecoderConfig:
        """Return the same network for sources with so many ids of their own.

        Raises ValueError where ids of the source are copied.
        """
        if self.copies:
            raise ValueError(
                "source_tokenizer: with model.copies both sides must have the same ids; leave one of them out"
            )
        return self.model_copy(update={"source_vocab_size": source_vocab_size})

    def resolved(self) -> EncoderDecoderConfig:
        """Return the same network with every choice written out."""
        hidden_size = self.hidden_size or 64 * self.depth
        n_heads = self.n_heads or max(1, hidden_size // 64)
        chosen = {name: getattr(self, name) for name in type(self).model_fields}
        filled = {
            "encoder_depth": self.depth,
            "hidden_size": hidden_size,
            "n_heads": n_heads,
            "n_kv_heads": self.n_kv_heads or n_heads,
            "head_size": self.head_size or hidden_size // n_heads,
            **PRESETS[self.preset],
        }
        missing = {name: value for name, value in filled.items() if chosen[name] is None}
        return EncoderDecoderConfig.model_construct(**{**chosen, **missing})

    def build(self, vocab_size: int) -> EncoderDecoder:
        """Return the network with fresh weights, drawn from torch's generator."""
        from rootlm.models.encoder_decoder import EncoderDecoder

        return EncoderDecoder(self, vocab_size)


PRESETS: dict[str, dict[str, object]] = {
    "transformer": {
        "order": "post",
        "norm": LayerNormConfig(),
        "position": SinusoidalConfig(),
        "attention": AttentionConfig(bias=True),
        "feedforward": ReLUConfig(),
        "tied": True,
    },
    "t5": {
        "order": "pre",
        "norm": RMSNormConfig(),
        "position": RelativeConfig(),
        "attention": AttentionConfig(),
        "feedforward": GeGLUConfig(approximate="tanh"),
        "tied": False,
    },
}
