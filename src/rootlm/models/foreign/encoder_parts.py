"""What published encoders have in common: which heads a folder holds, and when two configs are one network."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from rootlm.models.encoder import EncoderConfig
from rootlm.models.foreign.decoder_parts import inner_size
from rootlm.models.foreign.given import Given
from rootlm.models.foreign.key_map import Rule

NEXT_SENTENCE = {"next_sentence": 2}
UNTRAINED = [
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "dropout",
    "qa_dropout",
    "seq_classif_dropout",
    "sinusoidal_pos_embds",
    "embedding_dropout",
    "mlp_dropout",
    "initializer_cutoff_factor",
    "position_embedding_type_ids",
    "pooler_fc_size",
    "pooler_num_attention_heads",
    "pooler_num_fc_layers",
    "pooler_size_per_head",
    "pooler_type",
    "directionality",
    "chunk_size_feed_forward",
    "sparse_prediction",
    "sparse_pred_ignore_index",
    "deterministic_flash_attn",
    "reference_compile",
    "repad_logits_with_grad",
    "classifier_pooling",
]
"""Keys that say how to learn or to compute, or of heads that are not read."""


@dataclass(frozen=True)
class Heads:
    """What classes of `transformers` hold beside the trunk, and one tensor of each that a file then has."""

    bare: str
    masked: str
    both: str | None = None
    """The class with a pooler, a head that says tokens, and one that says whether two texts follow."""
    transform: str = ""
    pooler: str = ""
    follows: str = ""

    def named(self, given: Given) -> dict[str, Any]:
        """Return which heads there are by the class that a config names; unnamed is the masked one."""
        named = given.get("architectures") or [self.masked]
        if named[0] == self.bare:
            return {"token_head": False, "pooler": "cls" if self.pooler else "none"}
        if self.both and named[0] == self.both:
            return {"token_head": True, "pooler": "cls", "heads": dict(NEXT_SENTENCE)}
        return {"token_head": True, "pooler": "none"}

    def held(self, config: EncoderConfig, names: Collection[str]) -> EncoderConfig:
        """Return the network with the heads that a file holds, whatever class its config names."""
        pooled = bool(self.pooler) and self.pooler in names
        heads = dict(NEXT_SENTENCE) if pooled and self.follows and self.follows in names else {}
        updates = {
            "token_head": self.transform in names,
            "pooler": "cls" if pooled else "none",
            "heads": heads,
        }
        return config.model_copy(update=updates)

    def architecture(self, config: EncoderConfig) -> list[str]:
        """Return the class that holds the heads of a network."""
        if not config.token_head:
            return [self.bare]
        return [self.both] if self.both and config.pooler == "cls" and config.heads else [self.masked]


def layers_of(config: EncoderConfig) -> dict[str, int]:
    """Return what stands in braces in the rules."""
    return {"layer": config.depth}


def canonical(config: EncoderConfig) -> EncoderConfig:
    """Return the settings that give the same network, all written out in one way, those of training left out."""
    config = config.resolved()
    assert config.feedforward is not None and config.attention is not None
    size = inner_size(config.feedforward, config.hidden_size)
    attention = config.attention
    out_bias = attention.bias if attention.out_bias is None else attention.out_bias
    updates = {
        "preset": "bert",
        "feedforward": config.feedforward.model_copy(update={"size": size}),
        "attention": attention.model_copy(update={"out_bias": out_bias}),
        "unpadded": False,
        "dropout": 0.0,
        "activation_checkpointing": False,
    }
    return config.model_copy(update=updates)


def pairs(names: Mapping[str, str | tuple[str, ...]], width: int, *, bias: bool = True) -> list[Rule]:
    """Return the rules of weights, and of biases, of parts by their names; several of theirs are `width` high each."""
    found = []
    for end in ("weight", "bias") if bias else ("weight",):
        for ours, theirs in names.items():
            parts = (theirs,) if isinstance(theirs, str) else theirs
            heights = () if len(parts) == 1 else (width,) * len(parts)
            found.append(Rule(f"{ours}.{end}", tuple(f"{part}.{end}" for part in parts), heights))
    return found
