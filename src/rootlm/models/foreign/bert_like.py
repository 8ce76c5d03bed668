"""BERT and those that read as it does: RoBERTa, XLM-R, CamemBERT, DistilBERT."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from rootlm.layers.attention import AttentionConfig
from rootlm.layers.feedforward import GeLUConfig, ReLUConfig
from rootlm.layers.norms import LayerNormConfig
from rootlm.layers.positions import LearnedConfig
from rootlm.models.encoder_config import EncoderConfig
from rootlm.models.foreign import decoder_parts, encoder_parts
from rootlm.models.foreign.family import Family
from rootlm.models.foreign.given import Given
from rootlm.models.foreign.key_map import Rule

_SIZES = {
    "hidden_size": "hidden_size",
    "depth": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "inner": "intermediate_size",
    "activation": "hidden_act",
}
_DISTILLED = {
    "hidden_size": "dim",
    "depth": "n_layers",
    "n_heads": "n_heads",
    "inner": "hidden_dim",
    "activation": "activation",
}
_DISTILLED_EPS = 1e-12
_EXACT = "gelu"


def _common(given: Given, keys: Mapping[str, str]) -> dict[str, Any]:
    """Read what all of them say, under the family's own keys."""
    width = given.whole(keys["hidden_size"])
    inner = given.whole(keys["inner"], 4 * width)
    return {
        "preset": "bert",
        "depth": given.whole(keys["depth"], most=decoder_parts.MOST_LAYERS),
        "hidden_size": width,
        "n_heads": given.whole(keys["n_heads"]),
        "attention": AttentionConfig(bias=True),
        "feedforward": _feedforward(given, keys["activation"], inner),
    }


def _feedforward(given: Given, key: str, size: int) -> GeLUConfig | ReLUConfig:
    part = decoder_parts.plain_part(given, key, size, bias=True, default="gelu")
    if not isinstance(part, GeLUConfig | ReLUConfig):
        # The output's transform bends as these parts do, and knows no other way.
        raise given.lacks(key, given.get(key))
    return part


def _activation(feedforward: Any) -> str:
    """Return how the output's transform bends where it does as the feed-forward parts do."""
    if isinstance(feedforward, GeLUConfig):
        return "gelu_tanh" if feedforward.approximate == "tanh" else _EXACT
    return "relu" if isinstance(feedforward, ReLUConfig) else str(feedforward.kind)


def _read_bert(given: Given) -> EncoderConfig:
    encoder_parts.plain_encoder(given, "Bert", "BertForPreTraining", "BertForNextSentencePrediction")
    common = _common(given, _SIZES)
    return EncoderConfig(
        **common,
        context=given.whole("max_position_embeddings", 512),
        norm=LayerNormConfig(eps=given.positive("layer_norm_eps", 1e-12)),
        position=LearnedConfig(),
        types=given.whole("type_vocab_size", 2),
        head_activation=_activation(common["feedforward"]),
    )


def _read_roberta(given: Given, stem: str) -> EncoderConfig:
    encoder_parts.plain_encoder(given, stem)
    # Places are counted from one beyond the padding's id; the rows before it are never read.
    padding = given.get("pad_token_id", 1)
    if isinstance(padding, bool) or not isinstance(padding, int) or padding < 0:
        raise given.wrong("pad_token_id", padding, "a whole number from 0 on")
    rows = given.whole("max_position_embeddings", 512)
    if rows < padding + 3:
        raise given.wrong(
            "max_position_embeddings", rows, f"more than {padding + 2} rows behind pad_token_id"
        )
    return EncoderConfig(
        **_common(given, _SIZES),
        context=rows - padding - 1,
        norm=LayerNormConfig(eps=given.positive("layer_norm_eps", 1e-12)),
        position=LearnedConfig(offset=padding + 1),
        types=given.whole("type_vocab_size", 2),
    )


def _read_distilbert(given: Given) -> EncoderConfig:
    encoder_parts.plain_encoder(given, "DistilBert")
    given.get("sinusoidal_pos_embds")  # says how the table began; it is in the file either way
    common = _common(given, _DISTILLED)
    return EncoderConfig(
        **common,
        context=given.whole("max_position_embeddings", 512),
        norm=LayerNormConfig(eps=_DISTILLED_EPS),
        position=LearnedConfig(),
        types=0,
        head_activation=_activation(common["feedforward"]),
    )


def _written(config: EncoderConfig, keys: Mapping[str, str]) -> dict[str, Any]:
    return {
        keys["hidden_size"]: config.hidden_size,
        keys["depth"]: config.depth,
        keys["n_heads"]: config.n_heads,
        keys["inner"]: decoder_parts.inner_size(config.feedforward, config.hidden_size),
        keys["activation"]: decoder_parts.write_plain_part(config.feedforward),
        "max_position_embeddings": config.context,
    }


def _write_bert(config: EncoderConfig) -> dict[str, Any]:
    return {
        **_written(config, _SIZES),
        "layer_norm_eps": getattr(config.norm, "eps", None),
        "type_vocab_size": config.types,
    }


def _write_roberta(config: EncoderConfig) -> dict[str, Any]:
    offset = config.position.offset if isinstance(config.position, LearnedConfig) else 0
    return {
        **_write_bert(config),
        "max_position_embeddings": config.context + offset,
        "pad_token_id": offset - 1,
    }


def _write_distilbert(config: EncoderConfig) -> dict[str, Any]:
    return {**_written(config, _DISTILLED), "sinusoidal_pos_embds": False}


def _bert_names(prefix: str, config: EncoderConfig, output: Mapping[str, str]) -> list[Rule]:
    read, block = f"{prefix}embeddings.", prefix + "encoder.layer.{layer}."
    stream = {
        "embedding": f"{read}word_embeddings",
        "positions.table": f"{read}position_embeddings",
        "embedding_norm": f"{read}LayerNorm",
    }
    if config.types:
        stream["types"] = f"{read}token_type_embeddings"
    return encoder_parts.rules_of(
        config,
        stream=stream,
        block={
            "attention.out": f"{block}attention.output.dense",
            "attention_norm": f"{block}attention.output.LayerNorm",
            "feedforward.up": f"{block}intermediate.dense",
            "feedforward.down": f"{block}output.dense",
            "feedforward_norm": f"{block}output.LayerNorm",
        },
        qkv=tuple(f"{block}attention.self.{part}" for part in ("query", "key", "value")),
        output=output,
        pooler=f"{prefix}pooler.dense",
    )


def _bert_rules(config: EncoderConfig) -> list[Rule]:
    said = "cls.predictions."
    output = {"transform": f"{said}transform.dense", "transform_norm": f"{said}transform.LayerNorm"}
    rules = _bert_names("bert.", config, output)
    if config.predicts:
        rules += [
            Rule("head.weight", (f"{said}decoder.weight",)),
            Rule("head.bias", (f"{said}bias",)),
        ]
    return rules


def _roberta_rules(config: EncoderConfig) -> list[Rule]:
    output = {"transform": "lm_head.dense", "transform_norm": "lm_head.layer_norm"}
    rules = _bert_names("roberta.", config, output)
    if config.predicts:
        rules += [
            Rule("head.weight", ("lm_head.decoder.weight",)),
            Rule("head.bias", ("lm_head.bias",)),
        ]
    return rules


def _distilbert_rules(config: EncoderConfig) -> list[Rule]:
    read, block = "distilbert.embeddings.", "distilbert.transformer.layer.{layer}."
    return encoder_parts.rules_of(
        config,
        stream={
            "embedding": f"{read}word_embeddings",
            "positions.table": f"{read}position_embeddings",
            "embedding_norm": f"{read}LayerNorm",
        },
        block={
            "attention.out": f"{block}attention.out_lin",
            "attention_norm": f"{block}sa_layer_norm",
            "feedforward.up": f"{block}ffn.lin1",
            "feedforward.down": f"{block}ffn.lin2",
            "feedforward_norm": f"{block}output_layer_norm",
        },
        qkv=tuple(f"{block}attention.{part}_lin" for part in "qkv"),
        output={
            "transform": "vocab_transform",
            "transform_norm": "vocab_layer_norm",
            "head": "vocab_projector",
        },
    )


def _heads(output: str, pooler: str = "") -> Callable[[Any, Collection[str]], EncoderConfig]:
    return partial(encoder_parts.fitted, output=output, pooler=pooler)


def _class_of(stem: str) -> Callable[[Any], str]:
    """Return what names the class that opens a network with all its heads."""

    def name(config: EncoderConfig) -> str:
        if stem == "Bert" and config.predicts and encoder_parts.NEXT in config.heads:
            return "BertForPreTraining"
        return f"{stem}ForMaskedLM" if config.predicts else f"{stem}Model"

    return name


def _roberta(model_type: str, stem: str) -> Family:
    return Family(
        model_type,
        f"{stem}ForMaskedLM",
        partial(_read_roberta, stem=stem),
        _write_roberta,
        _roberta_rules,
        encoder_parts.layers_of,
        EncoderConfig,
        prefix="roberta.",
        ignored=encoder_parts.BUFFERS,
        renamed=(*encoder_parts.OLD_NAMES, (r"^lm_head\.decoder\.bias$", "lm_head.bias")),
        fitted=_heads("lm_head.", "roberta.pooler."),
        opened_by=_class_of(stem),
    )


BERT = Family(
    "bert",
    "BertForMaskedLM",
    _read_bert,
    _write_bert,
    _bert_rules,
    encoder_parts.layers_of,
    EncoderConfig,
    prefix="bert.",
    ignored=encoder_parts.BUFFERS,
    renamed=(*encoder_parts.OLD_NAMES, (r"^cls\.predictions\.decoder\.bias$", "cls.predictions.bias")),
    fitted=_heads("cls.predictions.", "bert.pooler."),
    opened_by=_class_of("Bert"),
)
ROBERTA = _roberta("roberta", "Roberta")
XLM_ROBERTA = _roberta("xlm-roberta", "XLMRoberta")
CAMEMBERT = _roberta("camembert", "Camembert")
DISTILBERT = Family(
    "distilbert",
    "DistilBertForMaskedLM",
    _read_distilbert,
    _write_distilbert,
    _distilbert_rules,
    encoder_parts.layers_of,
    EncoderConfig,
    prefix="distilbert.",
    ignored=encoder_parts.BUFFERS,
    renamed=encoder_parts.OLD_NAMES,
    fitted=_heads("vocab_"),
    opened_by=_class_of("DistilBert"),
)
