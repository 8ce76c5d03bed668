"""An encoder–decoder as CTranslate2 describes one: its parts, and the names of their weights."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rootlm.layers.feedforward import GeGLUConfig, GeLUConfig, ReLUConfig, SiLUConfig, SwiGLUConfig
from rootlm.layers.norms import RMSNormConfig
from rootlm.layers.positions import (
    LearnedConfig,
    NoPositionConfig,
    RelativeConfig,
    RotaryConfig,
    Sinusoidal,
    SinusoidalConfig,
)
from rootlm.models.encoder_decoder_config import EncoderDecoderConfig

LIBRARY = "ctranslate2"


@dataclass(frozen=True)
class Words:
    """The tokens of both sides in the order of their ids, and those with a role."""

    source: list[str]
    target: list[str]
    begin: str
    end: str
    unknown: str


def is_installed() -> bool:
    """Tell whether the library is there."""
    return importlib.util.find_spec(LIBRARY) is not None


def library() -> Any:
    """Return the library; raises ValueError naming the extra where it is not installed."""
    if not is_installed():
        raise ValueError(f"{LIBRARY} is not installed; pip install 'rootlm[{LIBRARY}]'")
    import ctranslate2

    return ctranslate2


def write(folder: Path, config: EncoderDecoderConfig, tensors: Mapping[str, Tensor], words: Words) -> None:
    """Write a folder that CTranslate2 opens; raises ValueError naming a setting that it cannot compute."""
    config = config.resolved()
    refuse(config)
    specs = library().specs
    encoder, decoder = _sides(config, specs)
    spec = specs.TransformerSpec(encoder, decoder)
    held = {name: tensor.float() for name, tensor in tensors.items()}
    source = held.get("source_embedding.weight", held["embedding.weight"])
    for ours, side, table in (
        ("encoder", encoder, source),
        ("decoder", decoder, held["embedding.weight"]),
    ):
        _fill_side(side, _under(held, f"{ours}."), config, writes=ours == "decoder")
        (side.embeddings[0] if ours == "encoder" else side.embeddings).weight = _scaled(side, table, config)
    decoder.projection.weight = held.get("head.weight", held["embedding.weight"])
    if config.head_bias:
        decoder.projection.bias = held["head.bias"]
    if config.head_scale is not None:
        decoder.scale_outputs = config.head_scale
    spec.register_source_vocabulary(words.source)
    spec.register_target_vocabulary(words.target)
    spec.config.bos_token = spec.config.decoder_start_token = words.begin
    spec.config.eos_token, spec.config.unk_token = words.end, words.unknown
    spec.config.layer_norm_epsilon = getattr(config.norm, "eps", None)
    spec.validate()
    spec.optimize(quantization=None)
    spec.save(str(folder))


def refuse(config: EncoderDecoderConfig) -> None:
    """Raise ValueError naming the first setting for which CTranslate2 has no equal."""
    attention, position = config.attention, config.position
    assert attention is not None
    out_bias = attention.bias if attention.out_bias is None else attention.out_bias
    known = (GeGLUConfig, GeLUConfig, ReLUConfig, SiLUConfig, SwiGLUConfig)
    places = (LearnedConfig, NoPositionConfig, RelativeConfig, RotaryConfig, SinusoidalConfig)
    wrong = {
        "copies": config.copies,
        "n_kv_heads": config.n_kv_heads != config.n_heads,
        "attention.window": attention.window is not None,
        "attention.softcap": attention.softcap is not None,
        "attention.qk_norm": attention.qk_norm,
        "attention.out_bias": out_bias != attention.bias,
        "norm.about_one": isinstance(config.norm, RMSNormConfig) and config.norm.about_one,
        "norm.bias": getattr(config.norm, "bias", True) is False,
        f"feedforward.kind={getattr(config.feedforward, 'kind', None)}": not isinstance(
            config.feedforward, known
        ),
        f"position.kind={getattr(position, 'kind', None)}": not isinstance(position, places),
        "position.scaling": isinstance(position, RotaryConfig) and position.scaling is not None,
    }
    for name, found in wrong.items():
        if found:
            raise ValueError(
                f"model.{name}: CTranslate2 has nothing like it; export it as hf, or train without"
            )


def _sides(config: EncoderDecoderConfig, specs: Any) -> tuple[Any, Any]:
    """Return both sides without weights."""
    position, kinds = config.position, specs.Activation
    gelu = kinds.GELUTanh if getattr(config.feedforward, "approximate", "") == "tanh" else kinds.GELU
    activations = {
        "relu": kinds.RELU,
        "silu": kinds.SWISH,
        "swiglu": kinds.SWISH,
        "gelu": gelu,
        "geglu": gelu,
    }
    assert config.feedforward is not None and config.head_size
    every: dict[str, Any] = {
        "num_heads": config.n_heads,
        "pre_norm": config.order == "pre",
        "activation": activations[config.feedforward.kind],
        "layernorm_embedding": config.embedding_norm,
        "relative_attention_bias": isinstance(position, RelativeConfig),
        "ffn_glu": isinstance(config.feedforward, GeGLUConfig | SwiGLUConfig),
        "rms_norm": isinstance(config.norm, RMSNormConfig),
    }
    if isinstance(position, RotaryConfig):
        every |= {"rotary_dim": position.turned(config.head_size), "rotary_interleave": False}
        every["rotary_base"] = position.theta
    from ctranslate2.specs.transformer_spec import TransformerDecoderSpec, TransformerEncoderSpec

    return TransformerEncoderSpec(config.encoder_depth, **every), TransformerDecoderSpec(
        config.depth, **every
    )


def _scaled(side: Any, table: Tensor, config: EncoderDecoderConfig) -> Tensor:
    """Return the table of a side, which says whether its rows are multiplied by the root of the width."""
    assert config.hidden_size
    root = config.hidden_size**0.5
    scale = config.embedding_scale or root
    side.scale_embeddings = scale == root
    return table if scale in (1.0, root) else table * scale


def _fill_side(side: Any, held: Mapping[str, Tensor], config: EncoderDecoderConfig, *, writes: bool) -> None:
    assert config.head_size and config.attention
    scale = config.attention.scale
    for number, layer in enumerate(side.layer):
        block = _under(held, f"blocks.{number}.")
        _norm(layer.self_attention.layer_norm, block, "attention_norm")
        _linear(layer.self_attention.linear[0], block, "attention.qkv")
        _linear(layer.self_attention.linear[1], block, "attention.out")
        if writes:
            _norm(layer.attention.layer_norm, block, "cross_norm")
            for linear, name in zip(
                layer.attention.linear, ("cross.q", "cross.kv", "cross.out"), strict=True
            ):
                _linear(linear, block, name)
        for attention in (layer.self_attention, *((layer.attention,) if writes else ())):
            if scale is not None:
                attention.queries_scale = scale
        _feedforward(layer.ffn, block)
        if isinstance(config.position, RelativeConfig):
            layer.self_attention.relative_attention_bias = held["positions.table.weight"]
            longest = torch.tensor(config.position.longest, dtype=torch.int32).numpy()
            layer.self_attention.relative_attention_max_distance = longest[()]
    if config.order == "pre":
        _norm(side.layer_norm, held, "norm")
    if config.embedding_norm:
        _norm(side.layernorm_embedding, held, "embedding_norm")
    if hasattr(side, "position_encodings"):
        side.position_encodings.encodings = _waves(config, held)


def _waves(config: EncoderDecoderConfig, held: Mapping[str, Tensor]) -> Tensor:
    """Return what is added to the stream at each position, (context, width)."""
    assert config.hidden_size
    if isinstance(config.position, LearnedConfig):
        return held["positions.table.weight"]
    still = torch.zeros(1, config.context, config.hidden_size)
    if not isinstance(config.position, SinusoidalConfig):
        return still[0]
    added = Sinusoidal(config.hidden_size, halves=config.position.halves)
    return added.embed(still, torch.arange(config.context)[None])[0]


def _feedforward(part: Any, block: Mapping[str, Tensor]) -> None:
    _norm(part.layer_norm, block, "feedforward_norm")
    _linear(part.linear_1, block, "feedforward.down")
    if not hasattr(part, "linear_0_noact"):
        _linear(part.linear_0, block, "feedforward.up")
        return
    for name in ("weight", "bias"):
        whole = block.get(f"feedforward.up.{name}")
        if whole is not None:
            for linear, half in zip((part.linear_0, part.linear_0_noact), whole.chunk(2), strict=True):
                setattr(linear, name, half.contiguous())


def _norm(part: Any, held: Mapping[str, Tensor], name: str) -> None:
    part.gamma = held[f"{name}.weight"]
    if f"{name}.bias" in held:
        part.beta = held[f"{name}.bias"]


def _linear(part: Any, held: Mapping[str, Tensor], name: str) -> None:
    part.weight = held[f"{name}.weight"]
    if f"{name}.bias" in held:
        part.bias = held[f"{name}.bias"]


def _under(held: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return dict(_named(held, prefix))


def _named(held: Mapping[str, Tensor], prefix: str) -> Iterator[tuple[str, Tensor]]:
    return ((name.removeprefix(prefix), tensor) for name, tensor in held.items() if name.startswith(prefix))
