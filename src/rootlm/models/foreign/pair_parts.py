"""What published encoder–decoders have in common: names by side and layer, and when two configs are one network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rootlm.models.encoder_decoder_config import EncoderDecoderConfig
from rootlm.models.foreign.decoder_parts import inner_size
from rootlm.models.foreign.given import Given
from rootlm.models.foreign.key_map import Rule

READING, WRITING = "encoder.blocks.{reading}.", "decoder.blocks.{writing}."
"""What the names of our layers begin with."""
UNTRAINED = (
    "dropout",
    "dropout_rate",
    "activation_dropout",
    "classif_dropout",
    "encoder_layerdrop",
    "decoder_layerdrop",
    "init_std",
    "num_hidden_layers",
    "prefix",
    "output_past",
    "save_step",
    "add_bias_logits",
    "force_bos_token_to_be_generated",
    "static_position_embeddings",
    "extra_pos_embeddings",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "bad_words_ids",
    "diversity_penalty",
    "num_beam_groups",
    "encoder_no_repeat_ngram_size",
    "remove_invalid_values",
    "exponential_decay_length_penalty",
    "begin_suppress_tokens",
    "suppress_tokens",
    "min_new_tokens",
    "_from_model_config",
)
"""Keys that say how to learn, how to generate, or again what the model type says."""


def pass_over(given: Given) -> None:
    """Read the keys that change no logits, and refuse a half of an encoder–decoder."""
    given.only("is_encoder_decoder", True, default=True)
    given.only("is_decoder", False, default=False)
    for key in UNTRAINED:
        given.get(key)


def layers_of(config: EncoderDecoderConfig) -> dict[str, int]:
    """Return what stands in braces in the rules."""
    config = config.resolved()
    assert config.encoder_depth
    return {"reading": config.encoder_depth, "writing": config.depth}


def widths(config: EncoderDecoderConfig) -> tuple[int, int, int]:
    """Return how high the matrices of queries, keys and values are."""
    assert config.n_heads and config.n_kv_heads and config.head_size
    shared = config.n_kv_heads * config.head_size
    return config.n_heads * config.head_size, shared, shared


def joined(ours: str, theirs: Sequence[str], heights: Sequence[int], *, bias: bool) -> list[Rule]:
    """Return the rules of a matrix of ours, and of its biases, that is several of theirs."""
    ends = ("weight", "bias") if bias else ("weight",)
    return [Rule(f"{ours}.{end}", tuple(f"{one}.{end}" for one in theirs), tuple(heights)) for end in ends]


def canonical(config: EncoderDecoderConfig) -> EncoderDecoderConfig:
    """Return the settings that give the same network, all written out in one way, those of training left out.

    A bias of the head is told by the file, not by the config.
    """
    config = config.resolved()
    attention, feedforward = config.attention, config.feedforward
    assert attention and feedforward and config.hidden_size and config.head_size
    changed: dict[str, Any] = {
        "out_bias": attention.bias if attention.out_bias is None else attention.out_bias
    }
    if attention.scale is not None and abs(attention.scale * config.head_size**0.5 - 1) < 1e-9:
        changed["scale"] = None
    scale = config.embedding_scale
    if scale is not None and abs(scale / config.hidden_size**0.5 - 1) < 1e-9:
        scale = None
    updates: dict[str, Any] = {
        "preset": "transformer",
        "attention": attention.model_copy(update=changed),
        "feedforward": feedforward,
        "embedding_scale": scale,
        "head_bias": False,
        "dropout": 0.0,
    }
    if "size" in type(feedforward).model_fields:
        size = inner_size(feedforward, config.hidden_size)
        updates["feedforward"] = feedforward.model_copy(update={"size": size})
    return config.model_copy(update=updates)
