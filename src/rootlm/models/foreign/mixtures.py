"""Mixtures of experts: Mixtral and Qwen 3's."""

from __future__ import annotations

from typing import Any

from rootlm.layers.attention import AttentionConfig
from rootlm.layers.feedforward import SwiGLUConfig
from rootlm.layers.mixture import MixtureConfig
from rootlm.models.decoder import DecoderConfig
from rootlm.models.foreign import decoder_parts as parts
from rootlm.models.foreign.family import Family
from rootlm.models.foreign.given import Given
from rootlm.models.foreign.key_map import Rule
from rootlm.models.foreign.rotary_settings import read_rotary, write_rotary

_OWN, _BLOCK = "blocks.{layer}.feedforward.", "model.layers.{layer}."


def _read_mixtral(given: Given) -> DecoderConfig:
    position, context = read_rotary(given, given.whole("max_position_embeddings", 131072), theta=1e6)
    window = given.whole("sliding_window") if "sliding_window" in given else None
    experts = given.whole("num_local_experts", given.whole("num_experts", 8))
    mixture = MixtureConfig(
        experts=experts, chosen=given.whole("num_experts_per_tok", 2), expert=parts.swiglu(given)
    )
    return DecoderConfig(
        **parts.sizes(given, n_kv_heads=8),
        context=context,
        norm=parts.rms_norm(given, 1e-5),
        position=position,
        attention=AttentionConfig(window=window),
        feedforward=mixture,
        tied=given.flag("tie_word_embeddings", False),
    )


def _mixture(config: DecoderConfig) -> MixtureConfig:
    """Return the mixture, or one where the network has none, which a comparison then finds."""
    return config.feedforward if isinstance(config.feedforward, MixtureConfig) else MixtureConfig()


def _write_mixtral(config: DecoderConfig) -> dict[str, Any]:
    assert config.attention
    mixture = _mixture(config)
    return {
        **parts.write_common(config),
        **write_rotary(parts.turns(config), config.context),
        "sliding_window": config.attention.window,
        "num_local_experts": mixture.experts,
        "num_experts_per_tok": mixture.chosen,
    }


def _mixtral_rules(config: DecoderConfig) -> list[Rule]:
    theirs, own = _BLOCK + "block_sparse_moe.", _OWN + "experts.{expert}."
    inner = parts.inner_size(parts.inner_of(config.feedforward), config.hidden_size)
    expert = theirs + "experts.{expert}."
    return [
        *parts.llama_rules(config),
        Rule(_OWN + "router.weight", (theirs + "gate.weight",)),
        Rule(own + "up.weight", (expert + "w1.weight", expert + "w3.weight"), (inner, inner)),
        Rule(own + "down.weight", (expert + "w2.weight",)),
    ]


def _read_qwen3(given: Given) -> DecoderConfig:
    position, context = read_rotary(given, given.whole("max_position_embeddings", 32768))
    norm, bias = parts.rms_norm(given), given.flag("attention_bias", False)
    given.only("decoder_sparse_step", 1, default=1)
    given.only("mlp_only_layers", [], default=[])
    given.only("hidden_act", "silu", default="silu")
    given.get("intermediate_size")  # of layers without experts, of which there are none
    given.get("max_window_layers")
    window = given.whole("sliding_window", 4096)
    mixture = MixtureConfig(
        experts=given.whole("num_experts", given.whole("num_local_experts", 128)),
        chosen=given.whole("num_experts_per_tok", 8),
        expert=SwiGLUConfig(size=given.whole("moe_intermediate_size", 768)),
        renormalise=given.flag("norm_topk_prob", False),
    )
    attention = AttentionConfig(
        bias=bias,
        qk_norm=True,
        qk_norm_eps=norm.eps,
        window=window if given.flag("use_sliding_window", False) else None,
    )
    return DecoderConfig(
        **parts.sizes(given, n_kv_heads=4),
        context=context,
        norm=norm,
        position=position,
        attention=attention,
        feedforward=mixture,
        tied=given.flag("tie_word_embeddings", False),
    )


def _write_qwen3(config: DecoderConfig) -> dict[str, Any]:
    assert config.attention
    mixture, window = _mixture(config), config.attention.window
    common = parts.write_common(config)
    return {
        **common,
        **write_rotary(parts.turns(config), config.context),
        "attention_bias": config.attention.bias,
        "use_sliding_window": window is not None,
        "sliding_window": window,
        "moe_intermediate_size": common["intermediate_size"],
        "num_experts": mixture.experts,
        "num_experts_per_tok": mixture.chosen,
        "norm_topk_prob": mixture.renormalise,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
    }


def _qwen3_rules(config: DecoderConfig) -> list[Rule]:
    experts = parts.gated_rules(config, _OWN + "experts.{expert}.", _BLOCK + "mlp.experts.{expert}.")
    router = Rule(_OWN + "router.weight", (_BLOCK + "mlp.gate.weight",))
    return [*parts.llama_rules(config), router, *experts]


MIXTRAL = Family(
    "mixtral",
    "MixtralForCausalLM",
    _read_mixtral,
    _write_mixtral,
    _mixtral_rules,
    parts.layers_of,
    DecoderConfig,
    prefix="model.",
    ignored=parts.BUFFERS,
)
QWEN3_MOE = Family(
    "qwen3_moe",
    "Qwen3MoeForCausalLM",
    _read_qwen3,
    _write_qwen3,
    _qwen3_rules,
    parts.layers_of,
    DecoderConfig,
    prefix="model.",
    ignored=parts.BUFFERS,
)
