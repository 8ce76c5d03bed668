"""What configs and names of published encoders have in common."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from rootlm.layers.attention import AttentionConfig
from rootlm.models.encoder_config import EncoderConfig, LocalConfig
from rootlm.models.foreign.decoder_parts import inner_size
from rootlm.models.foreign.given import Given
from rootlm.models.foreign.key_map import Change, Rule

NEXT = "next_sentence"
OLD_NAMES = ((r"\.gamma$", ".weight"), (r"\.beta$", ".bias"))
"""How the first files of BERT call the two vectors of a norm."""
BUFFERS = (r"embeddings\.position_ids$", r"embeddings\.token_type_ids$")
_TRAINING = """
    hidden_dropout_prob attention_probs_dropout_prob dropout qa_dropout seq_classif_dropout embedding_dropout
    mlp_dropout initializer_cutoff_factor directionality pooler_fc_size pooler_num_attention_heads
    pooler_num_fc_layers pooler_size_per_head pooler_type output_past tie_weights_ chunk_size_feed_forward
    classifier_pooling deterministic_flash_attn reference_compile repad_logits_with_grad sparse_prediction
    sparse_pred_ignore_index gradient_checkpointing
"""
_TURNED = Change(lambda theirs: theirs.flip(0), lambda ours: ours.flip(0))
"""BERT's first answer is that the second text follows, ours is that it does not."""


def plain_encoder(given: Given, stem: str, *more: str) -> None:
    """Refuse what is no encoder with an output over tokens or none at all; `more` are further classes that are read.

    Raises ValueError naming the key.
    """
    known = (f"{stem}Model", f"{stem}ForMaskedLM", *more)
    named = given.get("architectures", [])
    for name in named if isinstance(named, list) else [named]:
        if name not in known:
            raise ValueError(
                f"{given.place}: architectures={name!r} is not supported: of this family rootlm computes "
                f"{', '.join(known)}, and no other head; take the encoder that it was made from"
            )
    given.only("position_embedding_type", "absolute", default="absolute")
    for key in ("is_decoder", "add_cross_attention"):
        given.only(key, False, default=False)
    given.only("tie_word_embeddings", True, default=True)
    for key in _TRAINING.split():
        given.get(key)


def fitted(config: EncoderConfig, names: Collection[str], *, output: str, pooler: str = "") -> EncoderConfig:
    """Return the network with the heads that a file has, by how the names of the output and the pooler begin.

    Files hold more or less than their class: a sentence encoder has no output over tokens, BERT's first files have
    all that it was trained with.
    """
    pooled = bool(pooler) and any(name.startswith(pooler) for name in names)
    paired = pooled and any(name.startswith("cls.seq_relationship.") for name in names)
    changes: dict[str, Any] = {
        "predicts": any(name.startswith(output) for name in names),
        "pooler": "cls" if pooled else "none",
        "heads": {NEXT: 2} if paired else {},
    }
    return config.model_copy(update=changes)


def rules_of(
    config: EncoderConfig,
    *,
    stream: Mapping[str, str],
    block: Mapping[str, str],
    qkv: tuple[str, ...],
    output: Mapping[str, str],
    pooler: str | None = None,
) -> list[Rule]:
    """Return the rules of an encoder's names, without `weight` and `bias`.

    `block` begins with {layer}; `qkv` are the matrices of queries, keys and values there, or one that is all.
    """
    assert config.hidden_size is not None
    own = "blocks.{layer}."
    heights = (config.hidden_size,) * 3 if len(qkv) == 3 else ()
    pairs: list[tuple[str, tuple[str, ...], tuple[int, ...]]] = [
        *((ours, (theirs,), ()) for ours, theirs in stream.items()),
        (f"{own}attention.qkv", qkv, heights),
        *((own + ours, (theirs,), ()) for ours, theirs in block.items()),
    ]
    if config.predicts:
        pairs += [(ours, (theirs,), ()) for ours, theirs in output.items()]
    if pooler is not None and config.pooler == "cls":
        pairs.append(("pooler", (pooler,), ()))
    rules = [
        Rule(f"{ours}.{part}", tuple(f"{name}.{part}" for name in theirs), heights)
        for ours, theirs, heights in pairs
        for part in ("weight", "bias")
        if part == "weight" or _has_bias(config, ours)
    ]
    if NEXT in config.heads and pooler is not None:
        name = "cls.seq_relationship"
        rules += [Rule(f"heads.{NEXT}.{p}", (f"{name}.{p}",), change=_TURNED) for p in ("weight", "bias")]
    return rules


def _has_bias(config: EncoderConfig, ours: str) -> bool:
    """Tell whether one of our parts has a bias beside its matrix."""
    last = ours.rpartition(".")[2]
    if last in ("embedding", "table", "types"):
        return False
    if last.endswith("norm"):
        return bool(getattr(config.norm, "bias", False))
    if last in ("qkv", "out"):
        attention = config.attention or AttentionConfig()
        return attention.bias if last == "qkv" or attention.out_bias is None else attention.out_bias
    if last in ("up", "down"):
        return bool(getattr(config.feedforward, "bias", False))
    return bool(config.head_bias) if last == "transform" else True


def layers_of(config: EncoderConfig) -> dict[str, int]:
    """Return what stands in braces in the rules."""
    return {"layer": config.depth}


def canonical_encoder(config: EncoderConfig) -> EncoderConfig:
    """Return the settings that give the same network, all written out in one way, those of training left out."""
    config = config.resolved()
    assert config.attention is not None and config.feedforward is not None and config.n_heads
    assert config.hidden_size
    attention, feedforward, local = config.attention, config.feedforward, config.local
    changed: dict[str, Any] = {
        "out_bias": attention.bias if attention.out_bias is None else attention.out_bias
    }
    if not attention.qk_norm:
        plain = AttentionConfig()
        names = ("qk_norm_eps", "qk_norm_whole", "qk_norm_about_one")
        changed |= {name: getattr(plain, name) for name in names}
    if isinstance(local, LocalConfig):
        every = min(local.every, config.depth)
        local = "none" if every == 1 else local.model_copy(update={"every": every})
    if not config.predicts:
        config = config.model_copy(update={"head_bias": True, "head_activation": "gelu"})
    updates = {
        "preset": "bert",
        "attention": attention.model_copy(update=changed),
        "local": local,
        "feedforward": feedforward.model_copy(update={"size": inner_size(feedforward, config.hidden_size)}),
        "unpadded": False,
        "dropout": 0.0,
        "activation_checkpointing": False,
    }
    return config.model_copy(update=updates)
