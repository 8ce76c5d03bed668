"""When a decoder's next tokens come from the compiled kernel, and what the kernel is given."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from rootlm.layers.attention import Attention, AttentionConfig
from rootlm.layers.block import Block
from rootlm.layers.feedforward import SwiGLU, SwiGLUConfig
from rootlm.layers.key_values import KeyValues
from rootlm.layers.linear import Linear
from rootlm.layers.norms import RMSNormConfig
from rootlm.layers.positions import NoPositionConfig, Rotary, RotaryConfig
from rootlm.models.interface import All, Ask, Last

if TYPE_CHECKING:
    from rootlm.models.decoder import Decoder, DecoderConfig

_OPTIONAL = {"q_norm", "k_norm"}
_READABLE: dict[torch.dtype, Any] = {torch.float32: np.float32, torch.bfloat16: np.uint16}


class _Network(NamedTuple):
    """What the kernel reads besides tokens and keys, as `read_tokens` describes it."""

    layers: Any
    ends: Any
    kind: Any
    eps: Any
    rotation: Any
    sizes: Any


class _Places(NamedTuple):
    """Where weights are registered, eight of each layer, then the ends, and where the modules that hold them.

    A part that was put in another's place has equations of its own, so it must still be the one that was built.
    """

    weights: list[tuple[dict[str, Any], str]]
    parts: list[tuple[dict[str, Any], str, nn.Module | None]]
    within: list[dict[str, Any]]
    """Where the parts of linear maps are registered: an adapter changes what their weights say."""


class OneToken:
    """Reads one token of each row with `layers.token_kernel`, where the kernel can do what is asked.

    It computes in float32 whatever the weights' type, and it reads the weights where they lie, so a changed
    weight counts at once. Many rows are shared among torch's threads; a row's answer is the same to the last bit
    whichever rows stand beside it. Compiling takes seconds, once for a machine and a type of weights, and is kept
    on disk. Hooks on parts of the model are not called.

    With bfloat16 weights it rounds less than the plain way; float32 has no gap beyond the order of sums.
    """

    most_bytes = 32 * 2**20
    """Weights that the caches more or less hold; from memory, one product shared by all cores is faster."""
    rows_each = 2
    """A further thread pays from so many rows for each on."""

    def __init__(self, model: Decoder) -> None:
        self.steps = 0
        """How often the kernel has read."""
        self._places = _places(model) if _is_known(model.config) else None
        self._found: list[tuple[int, tuple[int, ...]]] | None = None
        self._network: _Network | None = None

    def read(self, model: Decoder, tokens: Tensor, state: KeyValues | None, ask: Ask) -> Tensor | None:
        """Return the logits, (rows, 1, vocabulary) in float32, or None where the plain way must be taken.

        The tokens' keys and values are then in the state; it is still to be advanced.
        """
        if state is None or self._places is None or not _is_plain(state, tokens):
            return None
        if torch.is_grad_enabled() or tokens.device.type != "cpu" or not self.suits(model):
            return None
        if torch.compiler.is_compiling() or (model.training and model.config.dropout):
            return None
        ids = tokens.numpy()[:, 0]
        if ask not in (All(), Last(1)) or ids.min() < 0 or ids.max() >= model.vocab_size:
            return None
        network = self._network
        assert network is not None
        self.steps += 1
        state.reserve(1)
        logits = torch.empty(len(ids), 1, model.vocab_size)
        held = [_bits(part) for part in (state.keys, state.values)]
        slots, found = state.lengths.numpy(), logits.numpy()[:, 0]
        kernel, weights = _kernel(), (network.layers, network.ends, network.eps, network.rotation)

        def share(first: int, last: int) -> None:
            part = slice(first, last)
            kernel(network.kind, ids[part], slots[part], *weights, *held, first, network.sizes, found[part])

        _in_threads(share, len(ids), self.rows_each)
        return logits

    def suits(self, model: Decoder) -> bool:
        """Say whether the kernel can read tokens with the weights as they are now."""
        return (
            self._places is not None
            and not torch.compiler.is_compiling()
            and model.stream_dtype is None
            and self._present(model, self._places) is not None
            and _has_numba()
        )

    def _present(self, model: Decoder, places: _Places) -> _Network | None:
        """Return the network as its weights lie now; None when they cannot be read so, or are too many."""
        built = all(held.get(name) is part for held, name, part in places.parts)
        if len(model.blocks) != model.config.depth or not built or any(places.within):
            return None
        tensors = [held.get(name) for held, name in places.weights]
        found = [(0, ()) if tensor is None else (tensor.data_ptr(), tensor.stride()) for tensor in tensors]
        if self._found != found:
            dtype = model.embedding.weight.dtype
            there = [tensor for tensor in tensors if tensor is not None]
            missing = {
                name for (_, name), tensor in zip(places.weights, tensors, strict=True) if tensor is None
            }
            readable = missing <= _OPTIONAL and all(_is_readable(tensor, dtype) for tensor in there)
            light = sum(tensor.nbytes for tensor in there) <= self.most_bytes
            pointers = [pointer for pointer, _ in found]
            self._network = _gather(model, pointers, _READABLE[dtype]) if readable and light else None
            self._found = found
        return self._network


def _is_known(config: DecoderConfig) -> bool:
    """Say whether the kernel has the equations of every part."""
    attention, feedforward = config.attention, config.feedforward
    known = AttentionConfig()
    if attention is not None:
        known = known.model_copy(update={"qk_norm": attention.qk_norm, "qk_norm_eps": attention.qk_norm_eps})
    return (
        isinstance(config.norm, RMSNormConfig)
        and not config.norm.about_one
        and attention in (known, known.model_copy(update={"out_bias": False}))
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


def _places(model: Decoder) -> _Places:
    """Return where the kernel's weights are registered, and where the parts that hold them."""
    found = _Places([], [], [])

    def add(part: nn.Module, *names: str) -> None:
        found.weights.extend((part._parameters, name) for name in names)
        if isinstance(part, Linear):
            found.within.append(part._modules)

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
    for part in (model.embedding, model.norm, model.head):
        add(part, "weight")
    return found


def _gather(model: Decoder, pointers: list[int], kind: Any) -> _Network:
    config, block = model.config, model.blocks[0]
    assert config.hidden_size and config.head_size and isinstance(block, Block)
    assert isinstance(block.attention, Attention) and isinstance(block.feedforward, SwiGLU)
    positions = model.positions
    if isinstance(positions, Rotary):
        rotation = positions.table(torch.device("cpu"), torch.float32)
    else:
        still = torch.tensor([1.0, 0.0])[:, None].repeat(1, config.head_size)
        rotation = still.repeat(config.context, 1, 1)
    eps = (model.norm.eps, block.attention.qk_norm_eps)
    widths = (config.hidden_size, block.attention.qkv.out_features, block.feedforward.up.out_features)
    return _Network(
        np.array(pointers[:-3], np.int64).reshape(config.depth, 8),
        np.array(pointers[-3:], np.int64),
        np.empty(0, kind),
        np.array(eps, np.float32),
        rotation.numpy(),
        np.array(widths, np.int64),
    )


def _is_plain(state: KeyValues, tokens: Tensor) -> bool:
    """Say whether the state holds these rows, each one segment, as the kernel reads it."""
    keys = state.keys
    return (
        tokens.shape == (keys.shape[1], 1)
        and len(tokens) > 0
        and not state.segmented
        and keys.dtype in _READABLE
        and keys.is_contiguous()
        and state.values.is_contiguous()
    )


def _bits(held: Tensor) -> Any:
    """Return a tensor's memory as the kernel reads it."""
    return (held.view(torch.uint16) if held.dtype == torch.bfloat16 else held).numpy()


def _in_threads(work: Callable[[int, int], None], rows: int, rows_each: int) -> None:
    """Let torch's number of threads, this one among them, take about as many of the rows each."""
    count = max(1, min(torch.get_num_threads(), rows // rows_each))
    ends = [rows * part // count for part in range(count + 1)]
    others = [_helpers(os.getpid()).submit(work, *span) for span in pairwise(ends[1:])]
    work(ends[0], ends[1])
    for other in others:
        other.result()


@cache
def _helpers(process: int) -> ThreadPoolExecutor:
    """Return threads of this process; a forked child has none of its parent's."""
    return ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="rootlm-rows")


def _is_readable(weight: Tensor, dtype: torch.dtype) -> bool:
    return (
        type(weight) in (Tensor, nn.Parameter)
        and weight.device.type == "cpu"
        and weight.dtype == dtype
        and dtype in _READABLE
        and weight.is_contiguous()
    )


@cache
def _has_numba() -> bool:
    return importlib.util.find_spec("numba") is not None


@cache
def _kernel() -> Callable[..., None]:
    from numba import njit

    from rootlm.layers.token_kernel import OPTIONS, read_tokens

    try:
        compiled: Callable[..., None] = njit(cache=True, **OPTIONS)(read_tokens)
    except RuntimeError:  # no folder to keep it in; nothing is compiled before the first call
        compiled = njit(**OPTIONS)(read_tokens)
    return compiled
