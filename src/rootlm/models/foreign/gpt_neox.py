"""GPT-NeoX and Pythia: part of each head turns, both parts of a block read the same stream."""

from __future__ import annotations

from typing import Any

from rootlm.layers.attention import AttentionConfig
from rootlm.layers.norms import LayerNormConfig
from rootlm.models.decoder import DecoderConfig
from rootlm.models.foreign import decoder_parts as parts
from rootlm.models.foreign.family import Family
from rootlm.models.foreign.given import Given
from rootlm.models.foreign.key_map import Rule, interleaved
from rootlm.models.foreign.rotary_settings import read_rotary, write_rotary


def _read(given: Given) -> DecoderConfig:
    context = given.whole("max_position_embeddings", 2048)
    base, share = given.positive("rotary_emb_base", 10000.0), given.positive("rotary_pct", 0.25)
    position, context = read_rotary(given, context, theta=base, share=share)
    given.get("is_decoder")
    size = given.whole("intermediate_size")
    return DecoderConfig(
        preset="gpt2",
        depth=given.whole("num_hidden_layers", most=parts.MOST_LAYERS),
        hidden_size=given.whole("hidden_size"),
        n_heads=given.whole("num_attention_heads"),
        context=context,
        norm=LayerNormConfig(eps=given.positive("layer_norm_eps", 1e-5)),
        position=position,
        attention=AttentionConfig(bias=given.flag("attention_bias", True)),
        feedforward=parts.plain_part(given, "hidden_act", size, bias=True, default="gelu"),
        order="parallel" if given.flag("use_parallel_residual", True) else "pre",
        tied=given.flag("tie_word_embeddings", False),
    )


def _write(config: DecoderConfig) -> dict[str, Any]:
    position = parts.turns(config)
    written = write_rotary(position, config.context)
    written.pop("partial_rotary_factor", None)
    return {
        **written,
        "rotary_emb_base": written.pop("rope_theta"),
        "rotary_pct": position.share,
        "hidden_size": config.hidden_size,
        "intermediate_size": parts.inner_size(parts.inner_of(config.feedforward), config.hidden_size),
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.n_heads,
        "layer_norm_eps": getattr(config.norm, "eps", None),
        "hidden_act": parts.write_plain_part(config.feedforward),
        "attention_bias": bool(config.attention and config.attention.bias),
        "use_parallel_residual": config.order == "parallel",
        "tie_word_embeddings": bool(config.tied),
    }


def _rules(config: DecoderConfig) -> list[Rule]:
    assert config.n_heads and config.attention
    block, own = "gpt_neox.layers.{layer}.", "blocks.{layer}."
    biased = ("weight", "bias")
    attention = biased if config.attention.bias else ("weight",)
    qkv = interleaved(config.n_heads)
    pairs = {
        own + "attention_norm": block + "input_layernorm",
        own + "feedforward_norm": block + "post_attention_layernorm",
        own + "feedforward.up": block + "mlp.dense_h_to_4h",
        own + "feedforward.down": block + "mlp.dense_4h_to_h",
        "norm": "gpt_neox.final_layer_norm",
    }
    return [
        Rule("embedding.weight", ("gpt_neox.embed_in.weight",)),
        Rule("head.weight", ("embed_out.weight",)),
        *(Rule(f"{ours}.{part}", (f"{theirs}.{part}",)) for ours, theirs in pairs.items() for part in biased),
        *(Rule(f"{own}attention.out.{part}", (f"{block}attention.dense.{part}",)) for part in attention),
        *(
            Rule(f"{own}attention.qkv.{part}", (f"{block}attention.query_key_value.{part}",), change=qkv)
            for part in attention
        ),
    ]


GPT_NEOX = Family(
    "gpt_neox",
    "GPTNeoXForCausalLM",
    _read,
    _write,
    _rules,
    parts.layers_of,
    DecoderConfig,
    prefix="gpt_neox.",
    ignored=(r"\.attention\.(bias|masked_bias)$", r"\.rotary_emb\.inv_freq$"),
)
