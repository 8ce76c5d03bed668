"""What the compiled kernel is given of a decoder: where its weights lie, of which types, how large its parts are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from rootlm.layers.attention import Attention, AttentionConfig
from rootlm.layers.block import Block
from rootlm.layers.feedforward import SwiGLU, SwiGLUConfig
from rootlm.layers.few_vectors import KINDS, empty
from rootlm.layers.linear import Linear
from rootlm.layers.norms import RMSNormConfig
from rootlm.layers.positions import NoPositionConfig, Rotary, RotaryConfig
from rootlm.layers.weight_blocks import Bits

if TYPE_CHECKING:
    from rootlm.models.decoder import Decoder, DecoderConfig

_OPTIONAL = {"q_norm", "k_norm", "bias"}
_PER_LAYER = 9
"""Weights that each layer may have."""


class KernelNetwork(NamedTuple):
    """What the kernel reads besides tokens and keys, as `read_tokens` describes it."""

    layers: Any
    ends: Any
    kinds: Any
    eps: Any
    sizes: tuple[int, ...]
    """Widths of the matrices in `room`."""
    heavy: bool
    """Whether the weights come from memory for every token."""


class _Place(NamedTuple):
    """Where a weight is registered; of a linear map also what is within it, which changes what its weights say."""

    registered: dict[str, Any]
    name: str
    within: dict[str, Any]
    of_linear: bool

    def held(self) -> tuple[Tensor | None, torch.dtype | Bits | None]:
        """Return the weight as it lies in memory and its type; neither where there is none that could be read."""
        quantised = self.within.get("quantised")
        if quantised is not None and len(self.within) == 1:
            return quantised.blocks, quantised.bits
        weight = None if self.within else self.registered.get(self.name)
        return weight, None if weight is None else weight.dtype


class Places(NamedTuple):
    """Where weights are registered, nine of each layer, then the ends, and where the modules that hold them.

    A part that was put in another's place has equations of its own, so it must still be the one that was built.
    """

    weights: list[_Place]
    parts: list[tuple[dict[str, Any], str, nn.Module | None]]


def kinds_of(places: Places, held: list[Any], plain: torch.dtype) -> list[torch.dtype | Bits] | None:
    """Return the types of table and scales, of the layers' matrices and of the head; None where there are others."""
    named = list(zip(places.weights, held, strict=True))
    if any(one is None and place.name not in _OPTIONAL for place, (one, _) in named):
        return None
    if not all(_is_readable(one) for one, _ in held if one is not None):
        return None
    matrices = {kind for place, (_, kind) in named[:-3] if place.of_linear}
    others = {kind for place, (_, kind) in named[:-1] if not place.of_linear and kind is not None}
    if len(matrices) != 1 or others != {plain}:
        return None
    kinds = [plain, matrices.pop(), held[-1][1]]
    return kinds if all(kind in KINDS for kind in kinds) else None


def is_known(config: DecoderConfig) -> bool:
    """Say whether the kernel has the equations of every part."""
    attention, feedforward = config.attention, config.feedforward
    free = {"qk_norm", "qk_norm_eps", "window", "bias", "out_bias"}
    known = AttentionConfig().model_copy(update=attention.model_dump(include=free) if attention else {})
    return (
        isinstance(config.norm, RMSNormConfig)
        and not config.norm.about_one
        and attention in (None, known)
        and not (known.bias if known.out_bias is None else known.out_bias)
        and _turns_plainly(config)
        and isinstance(feedforward, SwiGLUConfig)
        and not feedforward.bias
        and config.order == "pre"
        and config.embedding_scale is None
        and config.logit_softcap is None
    )


def _turns_plainly(config: DecoderConfig) -> bool:
    """Say whether one table of whole heads holds all rotations."""
    position = config.position
    if not isinstance(position, RotaryConfig):
        return isinstance(position, NoPositionConfig)
    steady = position.scaling is None or position.scaling.steady_until is None
    return steady and position.share == 1 and position.window_theta is None


def places_of(model: Decoder) -> Places:
    """Return where the kernel's weights are registered, and where the parts that hold them."""
    found = Places([], [])

    def add(part: nn.Module, *names: str) -> None:
        linear = isinstance(part, Linear)
        within = part._modules if linear else {}
        found.weights.extend(_Place(part._parameters, name, within, linear) for name in names)

    def own(parent: nn.Module) -> None:
        found.parts.extend((parent._modules, name, part) for name, part in parent._modules.items())

    own(model)
    own(model.blocks)
    for block in model.blocks:
        assert isinstance(block, Block) and isinstance(block.feedforward, SwiGLU)
        attention, feedforward = block.attention, block.feedforward
        assert isinstance(attention, Attention)
        for parent in (block, attention, feedforward):
            own(parent)
        add(block.attention_norm, "weight")
        add(attention.qkv, "weight")
        add(attention, "q_norm", "k_norm")
        add(attention.out, "weight")
        add(block.feedforward_norm, "weight")
        add(feedforward.up, "weight")
        add(feedforward.down, "weight")
        found.weights.append(_Place(attention.qkv._parameters, "bias", {}, of_linear=False))
    for part in (model.embedding, model.norm, model.head):
        add(part, "weight")
    return found


def gather(
    model: Decoder, pointers: list[int], kinds: Sequence[torch.dtype | Bits], heavy: bool
) -> KernelNetwork:
    config, block = model.config, model.blocks[0]
    assert config.hidden_size and config.head_size and isinstance(block, Block)
    assert isinstance(block.attention, Attention) and isinstance(block.feedforward, SwiGLU)
    eps = (model.norm.eps, block.attention.qk_norm_eps)
    qkv, out, up = block.attention.qkv, block.attention.out, block.feedforward.up
    widths = (out.out_features, qkv.out_features, out.in_features, up.out_features, up.out_features // 2)
    return KernelNetwork(
        _layers(config, pointers[:-3]),
        np.array(pointers[-3:], np.int64),
        tuple(empty(kind) for kind in kinds),
        np.array(eps, np.float32),
        widths,
        heavy,
    )


def rotation_of(model: Decoder, places: int) -> Any:
    """Return how the heads at each of so many places turn, or more: cosines and sines (places, 2, head_size)."""
    if isinstance(model.positions, Rotary):
        return model.positions.table(torch.device("cpu"), torch.float32, places).numpy()
    return _still(1 << (places - 1).bit_length(), model.config.head_size or 0)


@lru_cache(maxsize=4)
def _still(places: int, head_size: int) -> Any:
    return torch.tensor([1.0, 0.0])[:, None].repeat(places, 1, head_size).numpy()


def _layers(config: DecoderConfig, pointers: list[int]) -> Any:
    """Return where the weights of each layer lie and, after them, how far it looks back, 0 being all the way."""
    windows = [config.attention_of(layer).window or 0 for layer in range(config.depth)]
    weights = np.array(pointers, np.int64).reshape(config.depth, _PER_LAYER)
    return np.column_stack([weights, np.array(windows, np.int64)])


def _is_readable(weight: Tensor) -> bool:
    plain = type(weight) in (Tensor, nn.Parameter)
    return plain and weight.device.type == "cpu" and weight.is_contiguous()
