"""Every family that is known, and which of them can hold a network of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from rootlm.core.config import to_plain
from rootlm.core.mistakes import nearest
from rootlm.models.decoder import DecoderConfig
from rootlm.models.encoder_config import EncoderConfig
from rootlm.models.encoder_decoder_config import EncoderDecoderConfig
from rootlm.models.foreign import (
    bart_like,
    bert_like,
    gemma,
    gpt2,
    gpt_neox,
    llama_like,
    mixtures,
    modernbert,
    pair_parts,
    t5,
)
from rootlm.models.foreign.decoder_parts import canonical
from rootlm.models.foreign.encoder_parts import canonical_encoder
from rootlm.models.foreign.family import Family
from rootlm.models.network_config import NetworkConfig

_ALL = (
    gpt2.GPT2,
    llama_like.LLAMA,
    llama_like.MISTRAL,
    llama_like.QWEN2,
    llama_like.QWEN3,
    llama_like.OLMO2,
    llama_like.PHI3,
    gpt_neox.GPT_NEOX,
    gemma.GEMMA2,
    gemma.GEMMA3,
    mixtures.MIXTRAL,
    mixtures.QWEN3_MOE,
    bert_like.BERT,
    bert_like.ROBERTA,
    bert_like.XLM_ROBERTA,
    bert_like.CAMEMBERT,
    bert_like.DISTILBERT,
    modernbert.MODERNBERT,
    t5.T5,
    t5.MT5,
    bart_like.BART,
    bart_like.MARIAN,
)
FAMILIES: dict[str, Family] = {family.model_type: family for family in _ALL}
"""By `model_type`; of several that can hold a network, the first is written."""


def family_of(data: Mapping[str, Any], place: str) -> Family:
    """Return the family that a `config.json` names; raises ValueError for one that is not known."""
    name = data.get("model_type")
    if not isinstance(name, str):
        raise ValueError(f"{place}: names no model_type, so nothing says what the network is; add it")
    if name not in FAMILIES:
        raise ValueError(f"{place}: model_type {name!r} is not supported; {nearest(name, FAMILIES)}")
    return FAMILIES[name]


def family_for(config: NetworkConfig, vocab_size: int) -> Family:
    """Return the first family that can describe a network; raises ValueError naming what none of them has."""
    fewest: tuple[str, _Lost] | None = None
    for family in FAMILIES.values():
        if not isinstance(config, family.kind):
            continue
        lost = _lost(family, config, vocab_size)
        if not lost.said:
            return family
        if fewest is None or lost.weight < fewest[1].weight:
            fewest = (family.model_type, lost)
    if fewest is None:
        raise ValueError(
            f"model.kind={config.kind}: Hugging Face has no such network; rootlm export --help says what else takes it"
        )
    raise ValueError(
        f"no Hugging Face family has this network: {fewest[0]}, the nearest, lacks {', '.join(fewest[1].said)}"
    )


class _Lost(NamedTuple):
    """What a family cannot say of a network."""

    said: list[str]
    unreadable: bool = False

    @property
    def weight(self) -> tuple[bool, int]:
        """How far the family is from the network: one whose config says nonsense is farther than any other."""
        return self.unreadable, len(self.said)


def _lost(family: Family, config: NetworkConfig, vocab_size: int) -> _Lost:
    """Return which settings do not come back from a family's config, as key=value."""
    written = family.write_config(config, vocab_size)
    try:
        back, _ = family.read_config(written, "config.json")
    except ValueError as error:
        return _Lost([str(error)], unreadable=True)
    if family.fitted is not None:
        pairs = family.key_map(config.resolved()).pairs
        back = family.fit(back, {name for pair in pairs for name in pair.theirs})
    asked, found = _plain(config), _plain(back)
    return _Lost([f"{key}={value}" for key, value in asked.items() if found.get(key) != value])


def _plain(config: NetworkConfig) -> dict[str, Any]:
    if isinstance(config, DecoderConfig):
        config = canonical(config)
    elif isinstance(config, EncoderConfig):
        config = canonical_encoder(config)
    elif isinstance(config, EncoderDecoderConfig):
        config = pair_parts.canonical(config)
    return _flat(to_plain(config))


def _flat(plain: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in plain.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found
