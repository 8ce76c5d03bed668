"""ModernBERT: rotary positions, gated parts, most layers see neighbours only."""

from __future__ import annotations

import itertools
from typing import Any

from rootlm.layers.attention import AttentionConfig
from rootlm.layers.feedforward import GeGLUConfig
from rootlm.layers.norms import LayerNormConfig
from rootlm.layers.positions import RotaryConfig
from rootlm.models.encoder import EncoderConfig, LocalConfig
from rootlm.models.foreign import encoder_parts as parts
from rootlm.models.foreign.decoder_parts import MOST_LAYERS, inner_size
from rootlm.models.foreign.encoder_parts import Heads
from rootlm.models.foreign.family import Family
from rootlm.models.foreign.given import Given
from rootlm.models.foreign.key_map import Rule

_HEADS = Heads("ModernBertModel", "ModernBertForMaskedLM", transform="head.dense.weight")
_FULL, _LOCAL = "full_attention", "sliding_attention"


def _read(given: Given) -> EncoderConfig:
    given.only("hidden_activation", "gelu", default="gelu")
    given.only("classifier_activation", "gelu", default="gelu")
    given.only("decoder_bias", True, default=True)
    given.only("tie_word_embeddings", True, default=True)
    for key in parts.UNTRAINED:
        given.get(key)
    depth = given.whole("num_hidden_layers", 22, most=MOST_LAYERS)
    full, local = _bases(given)
    width = given.whole("local_attention", 128) // 2 + 1
    return EncoderConfig(
        preset="modern",
        order="pre",
        depth=depth,
        hidden_size=given.whole("hidden_size", 768),
        n_heads=given.whole("num_attention_heads", 12),
        context=given.whole("max_position_embeddings", 8192),
        norm=LayerNormConfig(eps=given.positive("norm_eps", 1e-5), bias=given.flag("norm_bias", False)),
        position=RotaryConfig(theta=full),
        attention=AttentionConfig(bias=given.flag("attention_bias", False)),
        local=LocalConfig(window=width, every=_every(given, depth), theta=local),
        feedforward=GeGLUConfig(
            size=given.whole("intermediate_size", 1152),
            bias=given.flag("mlp_bias", False),
            approximate="none",
        ),
        embedding_norm=True,
        head_bias=given.flag("classifier_bias", False),
        types=0,
        **_HEADS.named(given),
    )


def _bases(given: Given) -> tuple[float, float]:
    """Return the bases of the rotary frequencies where all is seen and where neighbours are."""
    older = given.positive("global_rope_theta", 160_000.0), given.positive("local_rope_theta", 10_000.0)
    group = given.group("rope_parameters")
    if group is None:
        return older
    found = []
    for name, base in zip((_FULL, _LOCAL), older, strict=True):
        own = group.group(name)
        if own is None:
            raise group.lacks(name, None)
        own.only("rope_type", "default", default="default")
        found.append(own.positive("rope_theta", base))
        own.finish()
    return found[0], found[1]


def _every(given: Given, depth: int) -> int:
    """Return of how many layers the first sees everything; raises ValueError where they do not take turns so."""
    every = given.whole("global_attn_every_n_layers", 3)
    named = given.get("layer_types", _layer_types(depth, every))
    for count in itertools.chain((every,), range(1, depth + 1)):
        if named == _layer_types(depth, count):
            return int(count)
    raise given.lacks("layer_types", named)


def _layer_types(depth: int, every: int) -> list[str]:
    return [_LOCAL if layer % every else _FULL for layer in range(depth)]


def _write(config: EncoderConfig) -> dict[str, Any]:
    local = config.local if isinstance(config.local, LocalConfig) else LocalConfig(every=1)
    theta = getattr(config.position, "theta", 160_000.0)
    bases = {_FULL: theta, _LOCAL: local.theta}
    return {
        "architectures": _HEADS.architecture(config),
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.n_heads,
        "intermediate_size": inner_size(config.feedforward, config.hidden_size),
        "max_position_embeddings": config.context,
        "norm_eps": getattr(config.norm, "eps", None),
        "norm_bias": bool(getattr(config.norm, "bias", False)),
        "attention_bias": bool(config.attention and config.attention.bias),
        "mlp_bias": bool(getattr(config.feedforward, "bias", False)),
        "classifier_bias": bool(config.head_bias),
        "local_attention": 2 * (local.window - 1),
        "global_attn_every_n_layers": local.every,
        "layer_types": _layer_types(config.depth, local.every),
        "rope_parameters": {
            name: {"rope_type": "default", "rope_theta": base} for name, base in bases.items()
        },
    }


def _rules(config: EncoderConfig) -> list[Rule]:
    block, own = "model.layers.{layer}.", "blocks.{layer}."
    return [
        Rule("embedding.weight", ("model.embeddings.tok_embeddings.weight",)),
        Rule("head.weight", ("decoder.weight",)),
        Rule("head.bias", ("decoder.bias",)),
        *parts.pairs(
            {
                "embedding_norm": "model.embeddings.norm",
                "norm": "model.final_norm",
                "transform": "head.dense",
                "transform_norm": "head.norm",
                f"{own}attention.qkv": f"{block}attn.Wqkv",
                f"{own}attention.out": f"{block}attn.Wo",
                f"{own}attention_norm": f"{block}attn_norm",
                f"{own}feedforward.up": f"{block}mlp.Wi",
                f"{own}feedforward.down": f"{block}mlp.Wo",
                f"{own}feedforward_norm": f"{block}mlp_norm",
            },
            0,
        ),
    ]


MODERN_BERT = Family(
    "modernbert",
    _HEADS.masked,
    _read,
    _write,
    _rules,
    parts.layers_of,
    EncoderConfig,
    prefix="model.",
    ignored=(r"rotary_emb\.",),
    held=_HEADS.held,
)
