"""BART and Marian: norms after the parts, biases everywhere, one table for both sides or one for each."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

import torch

from rootlm.layers.attention import AttentionConfig
from rootlm.layers.norms import LayerNormConfig
from rootlm.layers.positions import LearnedConfig, SinusoidalConfig
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
from rootlm.models.foreign.key_map import Change, Rule
from rootlm.models.foreign.pair_parts import READING, WRITING

_BEFORE = 2
"""Rows of BART's tables of positions that no token reads."""
_SHIFTED = Change(
    lambda theirs: theirs[_BEFORE:],
    lambda ours: torch.cat([ours.new_zeros(_BEFORE, ours.shape[1]), ours]),
)
_ONE_ROW = Change(lambda theirs: theirs[0], lambda ours: ours[None])
_BIAS = "final_logits_bias"
_COPIES = (r"^model\.(en|de)coder\.embed_tokens\.weight$", r"(en|de)coder\.version$")


def _read(given: Given, *, marian: bool) -> EncoderDecoderConfig:
    parts.pass_over(given)
    given.only("normalize_before", False, default=False)
    given.only("add_final_layer_norm", False, default=False)
    given.only("normalize_embedding", not marian, default=not marian)
    given.only("tie_word_embeddings", True, default=True)
    shared = given.flag("share_encoder_decoder_embeddings", True) if marian else True
    width = given.whole("d_model", 1024)
    size, heads = (
        _both(given, name, default) for name, default in (("ffn_dim", 4096), ("attention_heads", 16))
    )
    return EncoderDecoderConfig(
        preset="transformer",
        encoder_depth=given.whole("encoder_layers", 12, most=MOST_LAYERS),
        depth=given.whole("decoder_layers", 12, most=MOST_LAYERS),
        hidden_size=width,
        n_heads=heads,
        context=given.whole("max_position_embeddings", 1024),
        order="post",
        norm=LayerNormConfig(),
        position=SinusoidalConfig(halves=True) if marian else LearnedConfig(),
        attention=AttentionConfig(bias=True),
        feedforward=plain_part(given, "activation_function", size, bias=True, default="gelu"),
        tied=True,
        embedding_scale=width**0.5 if given.flag("scale_embedding", False) else 1.0,
        embedding_norm=not marian,
        head_bias=True,
        source_vocab_size=None if shared else given.whole("vocab_size"),
    )


def _both(given: Given, name: str, default: int) -> int:
    """Return a size that encoder and decoder must share."""
    size = given.whole(f"encoder_{name}", default)
    given.only(f"decoder_{name}", size, default=default)
    return size


def _held(config: EncoderDecoderConfig, names: Collection[str]) -> EncoderDecoderConfig:
    return config.model_copy(update={"head_bias": _BIAS in names})


def _write(config: EncoderDecoderConfig, *, marian: bool) -> dict[str, Any]:
    size = inner_size(inner_of(config.feedforward), config.hidden_size)
    written: dict[str, Any] = {
        "is_encoder_decoder": True,
        "d_model": config.hidden_size,
        "encoder_layers": config.encoder_depth,
        "decoder_layers": config.depth,
        "encoder_attention_heads": config.n_heads,
        "decoder_attention_heads": config.n_heads,
        "encoder_ffn_dim": size,
        "decoder_ffn_dim": size,
        "max_position_embeddings": config.context,
        "activation_function": write_plain_part(inner_of(config.feedforward)),
        "scale_embedding": config.embedding_scale != 1.0,
        "tie_word_embeddings": True,
    }
    if marian:
        written["share_encoder_decoder_embeddings"] = config.source_vocab_size is None
        if config.source_vocab_size is not None:
            written["vocab_size"] = config.source_vocab_size
    return written


def _rules(config: EncoderDecoderConfig, *, marian: bool) -> list[Rule]:
    apart = config.source_vocab_size is not None
    rules = [
        Rule("embedding.weight", ("model.decoder.embed_tokens.weight" if apart else "model.shared.weight",)),
        Rule("head.weight", ("lm_head.weight",)),
        *_side(config, READING, "model.encoder.layers.{reading}."),
        *_side(config, WRITING, "model.decoder.layers.{writing}."),
        *_attention(config, f"{WRITING}cross", "model.decoder.layers.{writing}.encoder_attn"),
    ]
    if apart:
        rules.append(Rule("source_embedding.weight", ("model.encoder.embed_tokens.weight",)))
    if config.head_bias:
        rules.append(Rule("head.bias", (_BIAS,), change=_ONE_ROW))
    for side in ("encoder", "decoder") if not marian else ():
        table = f"model.{side}.embed_positions.weight"
        rules.append(Rule(f"{side}.positions.table.weight", (table,), change=_SHIFTED))
        rules += _pairs(f"{side}.embedding_norm", f"model.{side}.layernorm_embedding")
    return rules


def _side(config: EncoderDecoderConfig, ours: str, theirs: str) -> list[Rule]:
    return [
        *_attention(config, f"{ours}attention", f"{theirs}self_attn"),
        *_pairs(f"{ours}feedforward.up", f"{theirs}fc1"),
        *_pairs(f"{ours}feedforward.down", f"{theirs}fc2"),
        *_pairs(f"{ours}feedforward_norm", f"{theirs}final_layer_norm"),
    ]


def _attention(config: EncoderDecoderConfig, ours: str, theirs: str) -> list[Rule]:
    """Return the rules of attention within a text, or of that to a source, and of its norm."""
    heights, names = parts.widths(config), [f"{theirs}.{part}_proj" for part in "qkv"]
    cross = ours.endswith("cross")
    matrices = (
        [*_pairs(f"{ours}.q", names[0]), *parts.joined(f"{ours}.kv", names[1:], heights[1:], bias=True)]
        if cross
        else parts.joined(f"{ours}.qkv", names, heights, bias=True)
    )
    return [
        *matrices,
        *_pairs(f"{ours}.out", f"{theirs}.out_proj"),
        *_pairs(f"{ours}_norm", f"{theirs}_layer_norm"),
    ]


def _pairs(ours: str, theirs: str) -> list[Rule]:
    return parts.joined(ours, (theirs,), (), bias=True)


def _family(name: str, architecture: str, *, marian: bool) -> Family:
    return Family(
        name,
        architecture,
        partial(_read, marian=marian),
        partial(_write, marian=marian),
        partial(_rules, marian=marian),
        parts.layers_of,
        EncoderDecoderConfig,
        prefix="model.",
        ignored=(*_COPIES, r"embed_positions\.weight$") if marian else _COPIES,
        fitted=_held,
        vocabulary="decoder_vocab_size" if marian else "vocab_size",
    )


BART = _family("bart", "BartForConditionalGeneration", marian=False)
MARIAN = _family("marian", "MarianMTModel", marian=True)
