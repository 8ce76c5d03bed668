"""Gemma 2 and the text part of Gemma 3: norms around each part, gains about 1, layers with and without a window."""

from __future__ import annotations

from functools import partial
from typing import Any

from rootlm.layers.attention import AttentionConfig
from rootlm.layers.feedforward import GeGLUConfig
from rootlm.layers.positions import RotaryConfig
from rootlm.models.decoder import DecoderConfig
from rootlm.models.foreign import decoder_parts as parts
from rootlm.models.foreign.family import Family
from rootlm.models.foreign.given import Given
from rootlm.models.foreign.rotary_settings import read_parameters, read_rotary, write_rotary, write_scaling

_NORMS = {
    "attention_norm": "input_layernorm",
    "attention_end_norm": "post_attention_layernorm",
    "feedforward_norm": "pre_feedforward_layernorm",
    "feedforward_end_norm": "post_feedforward_layernorm",
}


def _read(given: Given, *, third: bool) -> DecoderConfig:
    shape = parts.sizes(given, n_kv_heads=4, head_size=256)
    given.only("use_bidirectional_attention", False, default=False)
    given.only("hidden_activation", "gelu_pytorch_tanh", default="gelu_pytorch_tanh")
    given.get("hidden_act")  # an old key that no version reads
    context = given.whole("max_position_embeddings", 131072 if third else 8192)
    position, context = _turning(given, context) if third else read_rotary(given, context)
    norm = parts.rms_norm(given, about_one=True)
    every = given.whole("sliding_window_pattern", given.whole("_sliding_window_pattern", 6 if third else 2))
    full = [layer for layer in range(shape["depth"]) if (layer + 1) % every == 0]
    window = given.whole("sliding_window", 4096)
    seen = parts.windows(given, shape["depth"], window, full=full)
    attention = AttentionConfig(
        bias=given.flag("attention_bias", False),
        scale=given.positive("query_pre_attn_scalar", 256) ** -0.5,
        softcap=_softcap(given, "attn_logit_softcapping", None if third else 50.0),
        qk_norm=third,
        qk_norm_about_one=third,
        qk_norm_eps=norm.eps if third else 1e-6,
        window=seen["window"],
    )
    return DecoderConfig(
        **shape,
        context=context,
        norm=norm,
        position=position,
        attention=attention,
        full_layers=seen["full_layers"],
        feedforward=GeGLUConfig(size=given.whole("intermediate_size"), approximate="tanh"),
        order="around",
        embedding_scale=shape["hidden_size"] ** 0.5,
        logit_softcap=_softcap(given, "final_logit_softcapping", None if third else 30.0),
        tied=given.flag("tie_word_embeddings", True),
    )


def _softcap(given: Given, key: str, default: float | None) -> float | None:
    return None if given.says_null(key) else given.number(key, default)


def _turning(given: Given, context: int) -> tuple[RotaryConfig, int]:
    """Return Gemma 3's positions: a base for layers that see all, another for those with a window."""
    base, local = given.positive("rope_theta", 1e6), given.positive("rope_local_base_freq", 10000.0)
    named = given.group("rope_parameters")
    if named is None:
        position, context = read_rotary(given, context, theta=base)
    else:
        whole, near = named.group("full_attention"), named.group("sliding_attention")
        if whole is None or near is None:
            raise ValueError(f"{given.place}: rope_parameters needs full_attention and sliding_attention")
        named.finish(())
        position, context = read_parameters(whole, (base, 1.0), context)
        near_position, _ = read_parameters(near, (local, 1.0), context)
        if near_position.scaling is not None:
            raise near.lacks("rope_type", near_position.scaling.kind)
        local = near_position.theta
    return position.model_copy(update={"window_theta": local}), context


def _write(config: DecoderConfig, *, third: bool) -> dict[str, Any]:
    attention, position = config.attention, parts.turns(config)
    assert attention and config.head_size
    written = {**parts.write_common(config), **write_rotary(position, config.context)}
    written.pop("hidden_act")
    if third:
        written["rope_local_base_freq"] = position.window_theta or position.theta
        written["rope_scaling"] = write_scaling(position.scaling)
    scale = attention.scale or config.head_size**-0.5
    return {
        **written,
        "hidden_activation": "gelu_pytorch_tanh",
        "attention_bias": attention.bias,
        "query_pre_attn_scalar": round(scale**-2),
        "attn_logit_softcapping": attention.softcap,
        "final_logit_softcapping": config.logit_softcap,
        "sliding_window": attention.window or config.context,
        "layer_types": parts.write_layer_types(config),
    }


def _family(model_type: str, architecture: str, third: bool) -> Family:
    return Family(
        model_type,
        architecture,
        partial(_read, third=third),
        partial(_write, third=third),
        partial(parts.llama_rules, norms=_NORMS),
        parts.layers_of,
        DecoderConfig,
        prefix="model.",
        ignored=parts.BUFFERS,
    )


GEMMA2 = _family("gemma2", "Gemma2ForCausalLM", False)
GEMMA3 = _family("gemma3_text", "Gemma3ForCausalLM", True)
