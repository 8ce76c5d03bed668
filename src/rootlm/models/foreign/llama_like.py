"""Llama 2 and 3 (SmolLM too), Mistral, Qwen 2, 2.5 and 3, OLMo 2, Phi-3."""

from __future__ import annotations

from functools import partial
from typing import Any

from rootlm.layers.attention import AttentionConfig
from rootlm.models.decoder import DecoderConfig
from rootlm.models.foreign import decoder_parts as parts
from rootlm.models.foreign.family import Family
from rootlm.models.foreign.given import Given
from rootlm.models.foreign.rotary_settings import read_rotary, write_rotary

_AFTER = {"attention_norm": "post_attention_layernorm", "feedforward_norm": "post_feedforward_layernorm"}
_family = partial(
    Family,
    rules=parts.llama_rules,
    counts=parts.layers_of,
    kind=DecoderConfig,
    prefix="model.",
    ignored=parts.BUFFERS,
)


def _read_llama(given: Given) -> DecoderConfig:
    position, context = read_rotary(given, given.whole("max_position_embeddings", 2048))
    return DecoderConfig(
        **parts.sizes(given),
        context=context,
        norm=parts.rms_norm(given),
        position=position,
        attention=AttentionConfig(bias=given.flag("attention_bias", False)),
        feedforward=parts.swiglu(given, bias=given.flag("mlp_bias", False)),
        tied=given.flag("tie_word_embeddings", False),
    )


def _write(config: DecoderConfig) -> dict[str, Any]:
    return {**parts.write_common(config), **write_rotary(parts.turns(config), config.context)}


def _write_llama(config: DecoderConfig) -> dict[str, Any]:
    assert config.attention
    bias = getattr(config.feedforward, "bias", False)
    return {**_write(config), "attention_bias": config.attention.bias, "mlp_bias": bias}


def _read_mistral(given: Given) -> DecoderConfig:
    position, context = read_rotary(given, given.whole("max_position_embeddings", 131072))
    named = "sliding_window" in given or given.says_null("sliding_window")
    window = given.whole("sliding_window") if "sliding_window" in given else None if named else 4096
    return DecoderConfig(
        **parts.sizes(given, n_kv_heads=8),
        context=context,
        norm=parts.rms_norm(given),
        position=position,
        attention=AttentionConfig(window=window),
        feedforward=parts.swiglu(given),
        tied=given.flag("tie_word_embeddings", False),
    )


def _write_mistral(config: DecoderConfig) -> dict[str, Any]:
    assert config.attention
    return {**_write(config), "sliding_window": config.attention.window}


def _read_qwen(given: Given, *, third: bool) -> DecoderConfig:
    position, context = read_rotary(given, given.whole("max_position_embeddings", 32768))
    shape = parts.sizes(given, n_kv_heads=32, head_size=128 if third else None)
    norm = parts.rms_norm(given)
    window = given.whole("sliding_window", 4096)
    first = given.get("max_window_layers", 28)
    if isinstance(first, bool) or not isinstance(first, int) or first < 0:
        raise given.wrong("max_window_layers", first, "a whole number")
    used = window if given.flag("use_sliding_window", False) else None
    seen = parts.windows(given, shape["depth"], used, full=range(min(first, shape["depth"])))
    bias = given.flag("attention_bias", False) if third else True
    attention = AttentionConfig(
        bias=bias, out_bias=bias and third, qk_norm=third, qk_norm_eps=norm.eps, window=seen["window"]
    )
    return DecoderConfig(
        **shape,
        context=context,
        norm=norm,
        position=position,
        attention=attention,
        full_layers=seen["full_layers"],
        feedforward=parts.swiglu(given),
        tied=given.flag("tie_word_embeddings", False),
    )


def _write_qwen(config: DecoderConfig, *, third: bool) -> dict[str, Any]:
    assert config.attention
    window = config.attention.window
    return {
        **_write(config),
        **({"attention_bias": config.attention.bias} if third else {}),
        "use_sliding_window": window is not None,
        "sliding_window": window,
        "max_window_layers": config.depth,
        "layer_types": parts.write_layer_types(config),
    }


def _read_olmo2(given: Given) -> DecoderConfig:
    position, context = read_rotary(given, given.whole("max_position_embeddings", 2048))
    norm = parts.rms_norm(given, 1e-5)
    bias = given.flag("attention_bias", False)
    return DecoderConfig(
        **parts.sizes(given),
        context=context,
        norm=norm,
        position=position,
        attention=AttentionConfig(bias=bias, qk_norm=True, qk_norm_whole=True, qk_norm_eps=norm.eps),
        feedforward=parts.swiglu(given),
        order="after",
        tied=given.flag("tie_word_embeddings", False),
    )


def _write_olmo2(config: DecoderConfig) -> dict[str, Any]:
    assert config.attention
    return {**_write(config), "attention_bias": config.attention.bias}


def _read_phi3(given: Given) -> DecoderConfig:
    context = given.whole("max_position_embeddings", 4096)
    position, context = read_rotary(given, context, share=1.0, original=4096)
    window = given.whole("sliding_window") if "sliding_window" in given else None
    return DecoderConfig(
        **parts.sizes(given),
        context=context,
        norm=parts.rms_norm(given, 1e-5),
        position=position,
        attention=AttentionConfig(window=window),
        feedforward=parts.swiglu(given),
        tied=given.flag("tie_word_embeddings", False),
    )


def _write_phi3(config: DecoderConfig) -> dict[str, Any]:
    scaling = parts.turns(config).scaling
    original = getattr(scaling, "original", None) or config.context
    return {**_write_mistral(config), "original_max_position_embeddings": original}


LLAMA = _family("llama", "LlamaForCausalLM", _read_llama, _write_llama)
MISTRAL = _family("mistral", "MistralForCausalLM", _read_mistral, _write_mistral)
QWEN2 = _family(
    "qwen2", "Qwen2ForCausalLM", partial(_read_qwen, third=False), partial(_write_qwen, third=False)
)
QWEN3 = _family(
    "qwen3", "Qwen3ForCausalLM", partial(_read_qwen, third=True), partial(_write_qwen, third=True)
)
OLMO2 = _family(
    "olmo2", "Olmo2ForCausalLM", _read_olmo2, _write_olmo2, rules=partial(parts.llama_rules, norms=_AFTER)
)
PHI3 = _family(
    "phi3", "Phi3ForCausalLM", _read_phi3, _write_phi3, rules=partial(parts.llama_rules, fused=True)
)
