"""GPT-2."""

from __future__ import annotations

from typing import Any

from rootlm.layers.attention import AttentionConfig
from rootlm.layers.norms import LayerNormConfig
from rootlm.layers.positions import LearnedConfig
from rootlm.models.decoder import DecoderConfig
from rootlm.models.foreign import decoder_parts as parts
from rootlm.models.foreign.family import Family
from rootlm.models.foreign.given import Given
from rootlm.models.foreign.key_map import TRANSPOSED, Rule


def _read(given: Given) -> DecoderConfig:
    for key in ("scale_attn_by_inverse_layer_idx", "add_cross_attention"):
        given.only(key, False, default=False)
    given.only("scale_attn_weights", True, default=True)
    given.get("reorder_and_upcast_attn")  # says how to round, not what to compute
    width = given.whole("n_embd", 768)
    inner = given.whole("n_inner", 4 * width)
    return DecoderConfig(
        preset="gpt2",
        depth=given.whole("n_layer", 12, most=parts.MOST_LAYERS),
        hidden_size=width,
        n_heads=given.whole("n_head", 12),
        context=given.whole("n_positions", 1024),
        norm=LayerNormConfig(eps=given.positive("layer_norm_epsilon", 1e-5)),
        position=LearnedConfig(),
        attention=AttentionConfig(bias=True),
        feedforward=parts.plain_part(given, "activation_function", inner, bias=True, default="gelu_new"),
        tied=given.flag("tie_word_embeddings", True),
    )


def _write(config: DecoderConfig) -> dict[str, Any]:
    return {
        "n_embd": config.hidden_size,
        "n_layer": config.depth,
        "n_head": config.n_heads,
        "n_positions": config.context,
        "n_inner": parts.inner_size(parts.inner_of(config.feedforward), config.hidden_size),
        "activation_function": parts.write_plain_part(config.feedforward),
        "layer_norm_epsilon": getattr(config.norm, "eps", None),
        "tie_word_embeddings": bool(config.tied),
    }


def _rules(config: DecoderConfig) -> list[Rule]:
    block, own = "transformer.h.{layer}.", "blocks.{layer}."
    matrices = {
        "attention.qkv": "attn.c_attn",
        "attention.out": "attn.c_proj",
        "feedforward.up": "mlp.c_fc",
        "feedforward.down": "mlp.c_proj",
    }
    vectors = {own + "attention_norm": block + "ln_1", own + "feedforward_norm": block + "ln_2"}
    vectors["norm"] = "transformer.ln_f"
    return [
        Rule("embedding.weight", ("transformer.wte.weight",)),
        Rule("positions.table.weight", ("transformer.wpe.weight",)),
        Rule("head.weight", ("lm_head.weight",)),
        *(Rule(f"{own}{o}.weight", (f"{block}{t}.weight",), change=TRANSPOSED) for o, t in matrices.items()),
        *(Rule(f"{own}{ours}.bias", (f"{block}{theirs}.bias",)) for ours, theirs in matrices.items()),
        *(Rule(f"{o}.{part}", (f"{t}.{part}",)) for o, t in vectors.items() for part in ("weight", "bias")),
    ]


GPT2 = Family(
    "gpt2",
    "GPT2LMHeadModel",
    _read,
    _write,
    _rules,
    parts.layers_of,
    DecoderConfig,
    prefix="transformer.",
    ignored=(r"\.attn\.bias$", r"\.attn\.masked_bias$"),
)
