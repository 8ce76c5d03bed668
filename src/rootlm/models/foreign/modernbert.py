"""ModernBERT: layers that see neighbours between those that see everything, with rotary positions of two bases."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from rootlm.layers.attention import AttentionConfig
from rootlm.layers.feedforward import GeGLUConfig
from rootlm.layers.norms import LayerNormConfig
from rootlm.layers.positions import RotaryConfig
from rootlm.models.encoder_config import EncoderConfig, LocalConfig
from rootlm.models.foreign import decoder_parts, encoder_parts
from rootlm.models.foreign.family import Family
from rootlm.models.foreign.given import Given
from rootlm.models.foreign.key_map import Rule
from rootlm.models.foreign.rotary_settings import read_parameters

_THETA, _LOCAL_THETA = 160_000.0, 10_000.0
_KINDS = ("full_attention", "sliding_attention")


def _read(given: Given) -> EncoderConfig:
    encoder_parts.plain_encoder(given, "ModernBert")
    given.get("layer_norm_eps")  # stands beside norm_eps, which is the one that counts
    given.only("decoder_bias", True, default=True)
    depth = given.whole("num_hidden_layers", most=decoder_parts.MOST_LAYERS)
    theta, local_theta = _bases(given)
    return EncoderConfig(
        preset="modern",
        depth=depth,
        hidden_size=given.whole("hidden_size"),
        n_heads=given.whole("num_attention_heads"),
        context=given.whole("max_position_embeddings", 8192),
        norm=LayerNormConfig(eps=given.positive("norm_eps", 1e-5), bias=given.flag("norm_bias", False)),
        position=RotaryConfig(theta=theta),
        attention=AttentionConfig(bias=given.flag("attention_bias", False)),
        local=_local(given, depth, local_theta),
        feedforward=GeGLUConfig(
            size=given.whole("intermediate_size"),
            bias=given.flag("mlp_bias", False),
            approximate="tanh" if _bend(given, "hidden_activation") == "gelu_tanh" else "none",
        ),
        head_bias=given.flag("classifier_bias", False),
        head_activation=_bend(given, "classifier_activation"),
        types=0,
        pooler="none",
    )


def _bend(given: Given, key: str) -> Literal["gelu", "gelu_tanh"]:
    found = given.only(key, "gelu", *decoder_parts.TANH_GELU, default="gelu")
    return "gelu" if found == "gelu" else "gelu_tanh"


def _local(given: Given, depth: int, theta: float) -> LocalConfig | Literal["none"]:
    """Read which layers see neighbours only, and how far."""
    # The window counts both sides, and a token sees itself besides.
    window = given.whole("local_attention", 128) // 2 + 1
    every = given.whole("global_attn_every_n_layers", 3)
    kinds = given.get("layer_types")
    if kinds is not None:
        steps = (step for step in range(1, depth + 1) if kinds == _kinds(depth, step))
        found = next(steps, None)
        if found is None:
            raise given.lacks("layer_types", kinds)
        every = found
    return "none" if every == 1 else LocalConfig(window=window, every=every, theta=theta)


def _kinds(depth: int, every: int) -> list[str]:
    return [_KINDS[bool(layer % every)] for layer in range(depth)]


def _bases(given: Given) -> tuple[float, float]:
    """Read the bases of layers that see everything and of the others, old way and new."""
    whole = given.positive("global_rope_theta", _THETA)
    near = whole if given.says_null("local_rope_theta") else given.positive("local_rope_theta", _LOCAL_THETA)
    named = given.group("rope_parameters")
    if named is None:
        return whole, near
    found = []
    for kind, base in zip(_KINDS, (whole, near), strict=True):
        group = named.group(kind)
        position = RotaryConfig(theta=base)
        if group is not None:
            position, _ = read_parameters(group, (base, 1.0), 1)
            if position.scaling is not None:
                raise group.lacks("rope_type", position.scaling.kind)
        found.append(position.theta)
    named.finish(())
    return found[0], found[1]


def _write(config: EncoderConfig) -> dict[str, Any]:
    local = config.local if isinstance(config.local, LocalConfig) else LocalConfig(every=1)
    position = config.position if isinstance(config.position, RotaryConfig) else RotaryConfig()
    return {
        "hidden_size": config.hidden_size,
        "intermediate_size": decoder_parts.inner_size(config.feedforward, config.hidden_size),
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.n_heads,
        "max_position_embeddings": config.context,
        "hidden_activation": "gelu_new"
        if getattr(config.feedforward, "approximate", "") == "tanh"
        else "gelu",
        "classifier_activation": "gelu_new" if config.head_activation == "gelu_tanh" else "gelu",
        "classifier_bias": bool(config.head_bias),
        "decoder_bias": True,
        "norm_eps": getattr(config.norm, "eps", None),
        "norm_bias": bool(getattr(config.norm, "bias", False)),
        "attention_bias": bool(config.attention and config.attention.bias),
        "mlp_bias": bool(getattr(config.feedforward, "bias", False)),
        "global_rope_theta": position.theta,
        "local_rope_theta": local.theta,
        "local_attention": 2 * (local.window - 1),
        "global_attn_every_n_layers": local.every,
        # No equation asks for them; left out, they would lie beyond a small vocabulary.
        "cls_token_id": None,
        "sep_token_id": None,
    }


def _rules(config: EncoderConfig) -> list[Rule]:
    block = "model.layers.{layer}."
    return encoder_parts.rules_of(
        config,
        stream={
            "embedding": "model.embeddings.tok_embeddings",
            "embedding_norm": "model.embeddings.norm",
            "norm": "model.final_norm",
        },
        block={
            "attention.out": f"{block}attn.Wo",
            "attention_norm": f"{block}attn_norm",
            "feedforward.up": f"{block}mlp.Wi",
            "feedforward.down": f"{block}mlp.Wo",
            "feedforward_norm": f"{block}mlp_norm",
        },
        qkv=(f"{block}attn.Wqkv",),
        output={"transform": "head.dense", "transform_norm": "head.norm", "head": "decoder"},
    )


def _class_of(config: EncoderConfig) -> str:
    return "ModernBertForMaskedLM" if config.predicts else "ModernBertModel"


MODERNBERT = Family(
    "modernbert",
    "ModernBertForMaskedLM",
    _read,
    _write,
    _rules,
    encoder_parts.layers_of,
    EncoderConfig,
    prefix="model.",
    fitted=partial(encoder_parts.fitted, output="head."),
    opened_by=_class_of,
)
