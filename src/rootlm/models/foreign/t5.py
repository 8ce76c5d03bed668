"""T5, T5 1.1 with Flan-T5, and mT5: relative positions, no biases, no scale of attention."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

from rootlm.layers.attention import AttentionConfig
from rootlm.layers.feedforward import GeGLUConfig, SwiGLUConfig
from rootlm.layers.mixture import FeedForwardConfig
from rootlm.layers.norms import RMSNormConfig
from rootlm.layers.positions import RelativeConfig
from rootlm.models.encoder_decoder_config import EncoderDecoderConfig
from rootlm.models.foreign import pair_parts as parts
from rootlm.models.foreign.decoder_parts import (
    MOST_LAYERS,
    inner_of,
    inner_size,
    plain_part,
    write_plain_part,
)
from rootlm.models.foreign.family import Family
from rootlm.models.foreign.given import Given
from rootlm.models.foreign.key_map import Rule
from rootlm.models.foreign.pair_parts import READING, WRITING

_HEAD = "lm_head.weight"
_PART = "feed_forward_proj"
_CONTEXT = 512
# What both were trained with; their positions have no end, and mT5's configs name none.
_COPIES = (
    r"^(en|de)coder\.embed_tokens\.weight$",
    r"^decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight$",
)


def _read(given: Given, *, many: bool) -> EncoderDecoderConfig:
    parts.pass_over(given)
    for key in ("dense_act_fn", "is_gated_act", "n_layers"):
        given.get(key)
    depth = given.whole("num_layers", 8 if many else 6, most=MOST_LAYERS)
    width = given.whole("d_model", 512)
    tied = given.flag("tie_word_embeddings", True)
    # transformers takes the tie of T5's config for this; what it writes itself says both.
    scaled = not many and given.flag("scale_decoder_outputs", tied)
    return EncoderDecoderConfig(
        preset="t5",
        encoder_depth=depth,
        depth=given.whole("num_decoder_layers", depth, most=MOST_LAYERS),
        hidden_size=width,
        n_heads=given.whole("num_heads", 6 if many else 8),
        head_size=given.whole("d_kv", 64),
        context=given.whole("n_positions", _CONTEXT),
        order="pre",
        norm=RMSNormConfig(eps=given.positive("layer_norm_epsilon", 1e-6)),
        position=RelativeConfig(
            buckets=given.whole("relative_attention_num_buckets", 32),
            longest=given.whole("relative_attention_max_distance", 128),
        ),
        attention=AttentionConfig(scale=1.0),
        feedforward=_part(given, given.whole("d_ff", 1024 if many else 2048), many=many),
        tied=tied,
        embedding_scale=1.0,
        head_scale=width**-0.5 if scaled else None,
    )


def _part(given: Given, size: int, *, many: bool) -> FeedForwardConfig:
    name = given.get(_PART, "gated-gelu" if many else "relu")
    if name == "gated-gelu":
        return GeGLUConfig(size=size, approximate="tanh")
    if name == "gated-silu":
        return SwiGLUConfig(size=size)
    return plain_part(given, _PART, size, bias=False, default="relu")


def _held(config: EncoderDecoderConfig, names: Collection[str], *, many: bool) -> EncoderDecoderConfig:
    """Take the head for one of its own where a file has one, but not for a copy of the first T5's table."""
    may_copy = not many and bool(config.tied) and config.head_scale is not None
    return config.model_copy(update={"tied": _HEAD not in names or may_copy})


def _write(config: EncoderDecoderConfig, *, many: bool) -> dict[str, Any]:
    part, position = inner_of(config.feedforward), config.position
    relative = position if isinstance(position, RelativeConfig) else RelativeConfig()
    gates = {"geglu": "gated-gelu", "swiglu": "gated-silu"}
    written: dict[str, Any] = {
        "is_encoder_decoder": True,
        "d_model": config.hidden_size,
        "d_kv": config.head_size,
        "d_ff": inner_size(part, config.hidden_size),
        "num_layers": config.encoder_depth,
        "num_decoder_layers": config.depth,
        "num_heads": config.n_heads,
        "n_positions": config.context,
        "relative_attention_num_buckets": relative.buckets,
        "relative_attention_max_distance": relative.longest,
        "layer_norm_epsilon": getattr(config.norm, "eps", None),
        _PART: gates.get(part.kind) or write_plain_part(part),
        "tie_word_embeddings": bool(config.tied),
    }
    return written if many else written | {"scale_decoder_outputs": config.head_scale is not None}


def _rules(config: EncoderDecoderConfig) -> list[Rule]:
    reading, writing = "encoder.block.{reading}.layer.", "decoder.block.{writing}.layer."
    heights, cross = parts.widths(config), f"{writing}1.EncDecAttention."
    rules = [
        _one("embedding", "shared"),
        _one("head", "lm_head"),
        *_side(config, READING, reading, last=1),
        *_side(config, WRITING, writing, last=2),
        _one(f"{WRITING}cross_norm", f"{writing}1.layer_norm"),
        _one(f"{WRITING}cross.q", f"{cross}q"),
        *parts.joined(f"{WRITING}cross.kv", (f"{cross}k", f"{cross}v"), heights[1:], bias=False),
        _one(f"{WRITING}cross.out", f"{cross}o"),
    ]
    for side in ("encoder", "decoder"):
        table = f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias"
        rules += [_one(f"{side}.positions.table", table), _one(f"{side}.norm", f"{side}.final_layer_norm")]
    return rules


def _side(config: EncoderDecoderConfig, ours: str, theirs: str, *, last: int) -> list[Rule]:
    own, dense = f"{theirs}0.SelfAttention.", f"{theirs}{last}.DenseReluDense."
    inner = inner_size(inner_of(config.feedforward), config.hidden_size)
    gated = isinstance(config.feedforward, GeGLUConfig | SwiGLUConfig)
    ups = ("wi_0", "wi_1") if gated else ("wi",)
    return [
        _one(f"{ours}attention_norm", f"{theirs}0.layer_norm"),
        *parts.joined(
            f"{ours}attention.qkv", [own + part for part in "qkv"], parts.widths(config), bias=False
        ),
        _one(f"{ours}attention.out", f"{own}o"),
        _one(f"{ours}feedforward_norm", f"{theirs}{last}.layer_norm"),
        *parts.joined(
            f"{ours}feedforward.up", [dense + up for up in ups], (inner, inner) if gated else (), bias=False
        ),
        _one(f"{ours}feedforward.down", f"{dense}wo"),
    ]


def _one(ours: str, theirs: str) -> Rule:
    return Rule(f"{ours}.weight", (f"{theirs}.weight",))


def _family(name: str, architecture: str, *, many: bool) -> Family:
    return Family(
        name,
        architecture,
        partial(_read, many=many),
        partial(_write, many=many),
        _rules,
        parts.layers_of,
        EncoderDecoderConfig,
        ignored=_COPIES,
        fitted=partial(_held, many=many),
    )


T5 = _family("t5", "T5ForConditionalGeneration", many=False)
MT5 = _family("mt5", "MT5ForConditionalGeneration", many=True)
