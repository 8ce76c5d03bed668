"""BERT, RoBERTa and DistilBERT: norms after the parts, learned positions, biases everywhere."""

from __future__ import annotations

from typing import Any

import torch

from rootlm.layers.attention import AttentionConfig
from rootlm.layers.feedforward import GeLUConfig
from rootlm.layers.norms import LayerNormConfig
from rootlm.layers.positions import LearnedConfig
from rootlm.models.encoder import EncoderConfig
from rootlm.models.foreign import encoder_parts as parts
from rootlm.models.foreign.decoder_parts import MOST_LAYERS, inner_size
from rootlm.models.foreign.encoder_parts import Heads
from rootlm.models.foreign.family import Family
from rootlm.models.foreign.given import Given
from rootlm.models.foreign.key_map import Change, Rule

_BERT = Heads(
    "BertModel",
    "BertForMaskedLM",
    "BertForPreTraining",
    transform="cls.predictions.transform.dense.weight",
    pooler="bert.pooler.dense.weight",
    follows="cls.seq_relationship.weight",
)
_ROBERTA = Heads(
    "RobertaModel",
    "RobertaForMaskedLM",
    transform="lm_head.dense.weight",
    pooler="roberta.pooler.dense.weight",
)
_DISTILBERT = Heads("DistilBertModel", "DistilBertForMaskedLM", transform="vocab_transform.weight")
_BEFORE = 2
"""Rows of RoBERTa's table of positions that no token reads: it counts from the padding's id, 1, on."""
_SHIFTED = Change(
    lambda theirs: theirs[_BEFORE:],
    lambda ours: torch.cat([ours.new_zeros(_BEFORE, ours.shape[1]), ours]),
)
_OLD_NAMES = {r"LayerNorm\.gamma$": "LayerNorm.weight", r"LayerNorm\.beta$": "LayerNorm.bias"}
_COPIES = (r"position_ids$", r"predictions\.decoder\.bias$", r"lm_head\.decoder\.bias$")


def _common(given: Given, **more: Any) -> EncoderConfig:
    for key in ("is_decoder", "add_cross_attention"):
        given.only(key, False, default=False)
    given.only("position_embedding_type", "absolute", default="absolute")
    given.only("tie_word_embeddings", True, default=True)
    for key in parts.UNTRAINED:
        given.get(key)
    return EncoderConfig(
        preset="bert",
        order="post",
        position=LearnedConfig(),
        attention=AttentionConfig(bias=True),
        local="none",
        embedding_norm=True,
        head_bias=True,
        **more,
    )


def _sizes(given: Given, heads: Heads, context: int, eps: float) -> EncoderConfig:
    given.only("hidden_act", "gelu", default="gelu")
    return _common(
        given,
        depth=given.whole("num_hidden_layers", 12, most=MOST_LAYERS),
        hidden_size=given.whole("hidden_size", 768),
        n_heads=given.whole("num_attention_heads", 12),
        context=context,
        norm=LayerNormConfig(eps=given.positive("layer_norm_eps", eps)),
        feedforward=GeLUConfig(size=given.whole("intermediate_size", 3072), approximate="none"),
        types=given.whole("type_vocab_size", 2),
        **heads.named(given),
    )


def _read_bert(given: Given) -> EncoderConfig:
    return _sizes(given, _BERT, given.whole("max_position_embeddings", 512), 1e-12)


def _read_roberta(given: Given) -> EncoderConfig:
    given.only("pad_token_id", _BEFORE - 1, default=_BEFORE - 1)
    return _sizes(given, _ROBERTA, given.whole("max_position_embeddings", 512) - _BEFORE, 1e-12)


def _read_distilbert(given: Given) -> EncoderConfig:
    given.only("activation", "gelu", default="gelu")
    return _common(
        given,
        depth=given.whole("n_layers", 6, most=MOST_LAYERS),
        hidden_size=given.whole("dim", 768),
        n_heads=given.whole("n_heads", 12),
        context=given.whole("max_position_embeddings", 512),
        norm=LayerNormConfig(eps=1e-12),
        feedforward=GeLUConfig(size=given.whole("hidden_dim", 3072), approximate="none"),
        types=0,
        **_DISTILBERT.named(given),
    )


def _write_sizes(config: EncoderConfig, heads: Heads) -> dict[str, Any]:
    return {
        "architectures": heads.architecture(config),
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.n_heads,
        "intermediate_size": inner_size(config.feedforward, config.hidden_size),
        "max_position_embeddings": config.context,
        "hidden_act": "gelu",
        "layer_norm_eps": getattr(config.norm, "eps", None),
        # Their tables have a row at least; one of none is a difference that the comparison finds.
        "type_vocab_size": max(1, config.types or 0),
    }


def _write_bert(config: EncoderConfig) -> dict[str, Any]:
    return _write_sizes(config, _BERT)


def _write_roberta(config: EncoderConfig) -> dict[str, Any]:
    written = _write_sizes(config, _ROBERTA)
    return written | {"max_position_embeddings": config.context + _BEFORE, "pad_token_id": _BEFORE - 1}


def _write_distilbert(config: EncoderConfig) -> dict[str, Any]:
    return {
        "architectures": _DISTILBERT.architecture(config),
        "dim": config.hidden_size,
        "n_layers": config.depth,
        "n_heads": config.n_heads,
        "hidden_dim": inner_size(config.feedforward, config.hidden_size),
        "max_position_embeddings": config.context,
        "activation": "gelu",
    }


def _rules(config: EncoderConfig, trunk: str) -> list[Rule]:
    block, own = f"{trunk}.encoder.layer.{{layer}}.", "blocks.{layer}."
    return [
        Rule("embedding.weight", (f"{trunk}.embeddings.word_embeddings.weight",)),
        Rule("types.weight", (f"{trunk}.embeddings.token_type_embeddings.weight",)),
        *parts.pairs(
            {
                "embedding_norm": f"{trunk}.embeddings.LayerNorm",
                "pooler": f"{trunk}.pooler.dense",
                f"{own}attention.qkv": tuple(f"{block}attention.self.{n}" for n in ("query", "key", "value")),
                f"{own}attention.out": f"{block}attention.output.dense",
                f"{own}attention_norm": f"{block}attention.output.LayerNorm",
                f"{own}feedforward.up": f"{block}intermediate.dense",
                f"{own}feedforward.down": f"{block}output.dense",
                f"{own}feedforward_norm": f"{block}output.LayerNorm",
            },
            config.hidden_size or 0,
        ),
    ]


def _bert_rules(config: EncoderConfig) -> list[Rule]:
    head = "cls.predictions."
    return [
        *_rules(config, "bert"),
        Rule("positions.table.weight", ("bert.embeddings.position_embeddings.weight",)),
        Rule("head.weight", (f"{head}decoder.weight",)),
        Rule("head.bias", (f"{head}bias",)),
        *parts.pairs(
            {
                "transform": f"{head}transform.dense",
                "transform_norm": f"{head}transform.LayerNorm",
                "heads.next_sentence": "cls.seq_relationship",
            },
            0,
        ),
    ]


def _roberta_rules(config: EncoderConfig) -> list[Rule]:
    return [
        *_rules(config, "roberta"),
        Rule("positions.table.weight", ("roberta.embeddings.position_embeddings.weight",), change=_SHIFTED),
        Rule("head.weight", ("lm_head.decoder.weight",)),
        Rule("head.bias", ("lm_head.bias",)),
        *parts.pairs({"transform": "lm_head.dense", "transform_norm": "lm_head.layer_norm"}, 0),
    ]


def _distilbert_rules(config: EncoderConfig) -> list[Rule]:
    block, own = "distilbert.transformer.layer.{layer}.", "blocks.{layer}."
    return [
        Rule("embedding.weight", ("distilbert.embeddings.word_embeddings.weight",)),
        Rule("positions.table.weight", ("distilbert.embeddings.position_embeddings.weight",)),
        Rule("head.weight", ("vocab_projector.weight",)),
        Rule("head.bias", ("vocab_projector.bias",)),
        *parts.pairs(
            {
                "embedding_norm": "distilbert.embeddings.LayerNorm",
                "transform": "vocab_transform",
                "transform_norm": "vocab_layer_norm",
                f"{own}attention.qkv": tuple(f"{block}attention.{n}_lin" for n in "qkv"),
                f"{own}attention.out": f"{block}attention.out_lin",
                f"{own}attention_norm": f"{block}sa_layer_norm",
                f"{own}feedforward.up": f"{block}ffn.lin1",
                f"{own}feedforward.down": f"{block}ffn.lin2",
                f"{own}feedforward_norm": f"{block}output_layer_norm",
            },
            config.hidden_size or 0,
        ),
    ]


def _family(name: str, heads: Heads, read: Any, write: Any, rules: Any) -> Family:
    return Family(
        name,
        heads.masked,
        read,
        write,
        rules,
        parts.layers_of,
        EncoderConfig,
        prefix=f"{name}.",
        ignored=_COPIES,
        renamed=_OLD_NAMES,
        held=heads.held,
    )


BERT = _family("bert", _BERT, _read_bert, _write_bert, _bert_rules)
ROBERTA = _family("roberta", _ROBERTA, _read_roberta, _write_roberta, _roberta_rules)
DISTILBERT = _family("distilbert", _DISTILBERT, _read_distilbert, _write_distilbert, _distilbert_rules)
