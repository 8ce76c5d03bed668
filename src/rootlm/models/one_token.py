"""When a decoder's next tokens come from the compiled kernel, and what the kernel is given."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from rootlm.layers import teams
from rootlm.layers.attention import Attention, AttentionConfig
from rootlm.layers.block import Block
from rootlm.layers.feedforward import SwiGLU, SwiGLUConfig
from rootlm.layers.key_values import KeyValues
from rootlm.layers.linear import Linear
from rootlm.layers.norms import RMSNormConfig
from rootlm.layers.positions import NoPositionConfig, Rotary, RotaryConfig
from rootlm.layers.quantised import KINDS as QUANTISED_KINDS
from rootlm.layers.quantised import Quantised
from rootlm.layers.weight_blocks import Bits
from rootlm.models.interface import All, Ask, Last

if TYPE_CHECKING:
    from rootlm.models.decoder import Decoder, DecoderConfig

_OPTIONAL = {"q_norm", "k_norm"}
_READABLE: dict[torch.dtype | Bits, Any] = {
    torch.float32: np.float32,
    torch.bfloat16: np.uint16,
    **QUANTISED_KINDS,
}


class _Network(NamedTuple):
    """What the kernel reads besides tokens and keys, as `read_tokens` describes it."""

    layers: Any
    ends: Any
    kinds: Any
    eps: Any
    rotation: Any
    sizes: tuple[int, ...]
    """Widths of the matrices in `room`."""
    heavy: bool
    """Whether the weights come from memory for every token."""
    quantised: bool
    """Whether the plain way would have to write matrices out."""


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


class _Places(NamedTuple):
    """Where weights are registered, eight of each layer, then the ends, and where the modules that hold them.

    A part that was put in another's place has equations of its own, so it must still be the one that was built.
    """

    weights: list[_Place]
    parts: list[tuple[dict[str, Any], str, nn.Module | None]]


class OneToken:
    """Reads one token of each row with `layers.token_kernel`, where the kernel can do what is asked.

    It computes in float32 whatever the weights' type, and it reads the weights where they lie, so a changed
    weight counts at once. A row's answer is the same to the last bit whichever rows stand beside it and however
    many threads there are. Weights that caches hold are read by one thread for a few rows each; heavier ones by
    all of torch's threads for all rows, each a part of every matrix, so that memory is read once.

    Compiling takes seconds, once for a machine and a type of weights, and is kept on disk. Hooks on parts of the
    model are not called.

    With bfloat16 weights it rounds less than the plain way; float32 has no gap beyond the order of sums.
    """

    cached_bytes = 32 * 2**20
    """Weights that the caches more or less hold."""
    most_rows = 8
    """Rows beyond which torch's products, which fill the processor's matrix units, read heavy weights faster."""
    most_quantised_rows = Quantised.most_vectors
    """Rows beyond which it pays to write quantised matrices out."""
    rows_each = 2
    """Of light weights, a further thread pays from so many rows for each on."""

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
        if torch.is_grad_enabled() or tokens.device.type != "cpu" or not self.suits(model, len(tokens)):
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

        def work(first: int, last: int, room: Any, team: tuple[int, int, int]) -> None:
            part = slice(first, last)
            kernel(network.kinds, ids[part], slots[part], *weights, *held, first, room, team, found[part])

        if network.heavy:
            _together(work, len(ids), network.sizes)
        else:
            _apart(work, len(ids), network.sizes, self.rows_each)
        return logits

    def suits(self, model: Decoder, rows: int) -> bool:
        """Say whether the kernel can read tokens of so many rows with the weights as they are now."""
        if self._places is None or torch.compiler.is_compiling() or model.stream_dtype is not None:
            return False
        network = self._present(model, self._places)
        if network is None or not _has_numba():
            return False
        most = self.most_quantised_rows if network.quantised else self.most_rows
        return rows <= most or not network.heavy

    def _present(self, model: Decoder, places: _Places) -> _Network | None:
        """Return the network as its weights lie now; None when they cannot be read so."""
        built = all(held.get(name) is part for held, name, part in places.parts)
        if len(model.blocks) != model.config.depth or not built:
            return None
        held = [place.held() for place in places.weights]
        found = [(0, ()) if one is None else (one.data_ptr(), one.stride()) for one, _ in held]
        if self._found != found:
            kinds = _kinds(places, held, model.embedding.weight.dtype)
            heavy = sum(one.nbytes for one, _ in held if one is not None) > self.cached_bytes
            pointers = [pointer for pointer, _ in found]
            self._network = None if kinds is None else _gather(model, pointers, kinds, heavy)
            self._found = found
        return self._network


def _kinds(places: _Places, held: list[Any], plain: torch.dtype) -> list[torch.dtype | Bits] | None:
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
    return kinds if all(kind in _READABLE for kind in kinds) else None


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
    found = _Places([], [])

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
    for part in (model.embedding, model.norm, model.head):
        add(part, "weight")
    return found


def _gather(
    model: Decoder, pointers: list[int], kinds: Sequence[torch.dtype | Bits], heavy: bool
) -> _Network:
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
    qkv, out, up = block.attention.qkv, block.attention.out, block.feedforward.up
    widths = (out.out_features, qkv.out_features, out.in_features, up.out_features, up.out_features // 2)
    return _Network(
        np.array(pointers[:-3], np.int64).reshape(config.depth, 8),
        np.array(pointers[-3:], np.int64),
        tuple(np.empty(0, _READABLE[kind]) for kind in kinds),
        np.array(eps, np.float32),
        rotation.numpy(),
        widths,
        heavy,
        any(isinstance(kind, str) for kind in kinds),
    )


def _is_plain(state: KeyValues, tokens: Tensor) -> bool:
    """Say whether the state holds these rows, each one segment, as the kernel reads it."""
    keys = state.keys
    return (
        tokens.shape == (keys.shape[1], 1)
        and len(tokens) > 0
        and not state.segmented
        and keys.dtype in (torch.float32, torch.bfloat16)
        and keys.is_contiguous()
        and state.values.is_contiguous()
    )


def _bits(held: Tensor) -> Any:
    """Return a tensor's memory as the kernel reads it."""
    return (held.view(torch.uint16) if held.dtype == torch.bfloat16 else held).numpy()


def _room(rows: int, widths: tuple[int, ...]) -> Any:
    """Return matrices for so many rows."""
    return tuple(np.empty((rows, width), np.float32) for width in widths)


def _apart(work: Callable[..., None], rows: int, widths: tuple[int, ...], rows_each: int) -> None:
    """Let torch's number of threads, this one among them, take about as many of the rows each."""
    count = max(1, min(torch.get_num_threads(), rows // rows_each))
    ends = [rows * part // count for part in range(count + 1)]
    spans = [(*span, _room(span[1] - span[0], widths), (0, 1, 0)) for span in pairwise(ends)]
    others = [teams.helpers().submit(work, *span) for span in spans[1:]]
    work(*spans[0])
    for other in others:
        other.result()


def _together(work: Callable[..., None], rows: int, widths: tuple[int, ...]) -> None:
    """Let a team of threads make their parts of everything for all rows."""
    parts = teams.size()
    room, counter = _room(rows, widths), np.zeros(1, np.int64)
    address = counter.ctypes.data
    teams.together(lambda part: work(0, rows, room, (part, parts, address)), parts)


def _is_readable(weight: Tensor) -> bool:
    plain = type(weight) in (Tensor, nn.Parameter)
    return plain and weight.device.type == "cpu" and weight.is_contiguous()


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
