"""The settings of a Transformer encoder: a preset names its parts, each of which can still be set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from rootlm.core.config import Config
from rootlm.layers.attention import AttentionConfig
from rootlm.layers.block import Order
from rootlm.layers.feedforward import GeGLUConfig, GeLUConfig
from rootlm.layers.mixture import DenseConfig
from rootlm.layers.norms import LayerNormConfig, NormConfig
from rootlm.layers.positions import LearnedConfig, PositionConfig, RotaryConfig
from rootlm.models.network_config import NetworkConfig

if TYPE_CHECKING:
    from rootlm.models.encoder import TransformerEncoder


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
    added: ClassVar[tuple[str, ...]] = ("heads.", "pooler.", "transform.", "transform_norm.", "head.")
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
    head_activation: Literal["gelu", "gelu_tanh", "relu"] = "gelu"
    """What bends that transform: the exact Gaussian unit, its tanh form, or a rectifier."""
    predicts: bool = True
    """Has an output that says which token stands at a place; a published sentence encoder comes without one."""
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

    def with_output(self) -> EncoderConfig:
        """Return the network with an output over tokens; its weights are fresh where there was none."""
        return self.model_copy(update={"predicts": True})

    def build(self, vocab_size: int) -> TransformerEncoder:
        """Return the network with fresh weights, drawn from torch's generator."""
        from rootlm.models.encoder import TransformerEncoder

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
