"""When a decoder reads its next tokens with the compiled kernel, and what the kernel is given."""

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


class _Given(NamedTuple):
    """Tokens one after the other, each with its place, its row, and the numbers of those whose logits are asked for."""

    tokens: Any
    slots: Any
    seats: Any
    asked: Any

    @classmethod
    def of(cls, tokens: Tensor, lengths: Tensor | None, state: KeyValues, *, every: bool) -> _Given | None:
        """Return the tokens (rows, time) that count: the first `lengths` of each row; None where a row has none."""
        rows, time = tokens.shape
        counts = np.full(rows, time) if lengths is None else lengths.numpy()
        if counts.min() < 1:
            return None
        ends = counts.cumsum()
        seats = np.arange(rows).repeat(counts)
        inside = np.arange(ends[-1]) - (ends - counts)[seats]
        slots = state.lengths.numpy()[seats] + inside
        return cls(tokens.numpy()[seats, inside], slots, seats, np.arange(ends[-1]) if every else ends - 1)

    def rows(self, first: int, last: int) -> _Given:
        """Return the tokens of some rows, where each has one."""
        part = slice(first, last)
        return _Given(self.tokens[part], self.slots[part], self.seats[part], self.asked[: last - first])

    def laid_out(self, logits: Tensor, shape: torch.Size, *, every: bool) -> Tensor:
        """Return the logits as (rows, those asked about, vocabulary); zeros where no token was."""
        rows, time = shape
        if not every or len(logits) == rows * time:
            return logits.view(rows, -1, logits.shape[-1])
        whole = logits.new_zeros(rows, time, logits.shape[-1])
        inside = np.arange(len(self.seats)) - np.searchsorted(self.seats, self.seats)
        whole[torch.from_numpy(self.seats), torch.from_numpy(inside)] = logits
        return whole


class FewTokens:
    """Reads a few tokens with `layers.token_kernel`, where the kernel can do what is asked.

    It computes in float32 whatever the weights' type, and it reads the weights where they lie, so a changed
    weight counts at once. A token's answer is the same to the last bit whether those before it are read with it or
    were read one by one, whichever rows stand beside its own and however many threads there are. Weights that caches
    hold are read by one thread for a few rows each; heavier ones by all of torch's threads for all tokens, each a part
    of every matrix, so that memory is read once.

    Compiling takes seconds, once for a machine and a type of weights, and is kept on disk. Hooks on parts of the
    model are not called.

    With bfloat16 weights it rounds less than the plain way; float32 has no gap beyond the order of sums.
    """

    cached_bytes = 32 * 2**20
    """Weights that the caches more or less hold."""
    most = Quantised.most_vectors
    """Tokens beyond which torch's products, which fill the processor's matrix units, are faster with heavy weights.
    Of light ones, any number of rows may read a token each."""
    rows_each = 2
    """Of light weights, a further thread pays from so many rows for each on."""

    def __init__(self, model: Decoder) -> None:
        self.steps = 0
        """How often the kernel has read."""
        self._places = _places(model) if _is_known(model.config) else None
        self._found: list[tuple[int, tuple[int, ...]]] | None = None
        self._network: _Network | None = None

    def read(
        self, model: Decoder, tokens: Tensor, state: KeyValues | None, lengths: Tensor | None, ask: Ask
    ) -> Tensor | None:
        """Return the logits, (rows, those asked about, vocabulary) in float32, or None where it takes the plain way.

        The tokens' keys and values are then in the state; it is still to be advanced.
        """
        if state is None or self._places is None or not _is_plain(state, tokens):
            return None
        if torch.is_grad_enabled() or tokens.device.type != "cpu" or not self.suits(model, tokens.numel()):
            return None
        if torch.compiler.is_compiling() or (model.training and model.config.dropout):
            return None
        if ask not in (All(), Last(1)) or (tokens.shape[1] > 1 and tokens.numel() > self.most):
            return None
        given = _Given.of(tokens, lengths, state, every=ask == All())
        if given is None or given.tokens.min() < 0 or given.tokens.max() >= model.vocab_size:
            return None
        network = self._network
        assert network is not None
        self.steps += 1
        state.reserve(tokens.shape[1])
        logits = torch.empty(len(given.asked), model.vocab_size)
        held = [_bits(part) for part in (state.keys, state.values)]
        found, kernel = logits.numpy(), _kernel()
        weights = (network.layers, network.ends, network.eps, network.rotation)

        def work(part: _Given, found: Any, room: Any, team: tuple[int, int, int]) -> None:
            kernel(network.kinds, *part, *weights, *held, room, team, found)

        if network.heavy or tokens.shape[1] > 1:
            _together(work, given, found, network.sizes)
        else:
            _apart(work, given, found, network.sizes, self.rows_each)
        return given.laid_out(logits, tokens.shape, every=ask == All())

    def suits(self, model: Decoder, tokens: int) -> bool:
        """Say whether the kernel can read so many tokens with the weights as they are now."""
        if self._places is None or torch.compiler.is_compiling() or model.stream_dtype is not None:
            return False
        network = self._present(model, self._places)
        return network is not None and _has_numba() and (tokens <= self.most or not network.heavy)

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
    )


def _is_plain(state: KeyValues, tokens: Tensor) -> bool:
    """Say whether the state holds these rows, each one segment, as the kernel reads it."""
    keys = state.keys
    return (
        len(tokens) == keys.shape[1]
        and tokens.numel() > 0
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


def _apart(
    work: Callable[..., None], given: _Given, found: Any, widths: tuple[int, ...], rows_each: int
) -> None:
    """Let torch's number of threads, this one among them, take about as many of the rows each."""
    rows = len(given.seats)
    count = max(1, min(torch.get_num_threads(), rows // rows_each))
    ends = [rows * part // count for part in range(count + 1)]
    spans = [
        (given.rows(first, last), found[first:last], _room(last - first, widths), (0, 1, 0))
        for first, last in pairwise(ends)
    ]
    others = [teams.helpers().submit(work, *span) for span in spans[1:]]
    work(*spans[0])
    for other in others:
        other.result()


def _together(work: Callable[..., None], given: _Given, found: Any, widths: tuple[int, ...]) -> None:
    """Let a team of threads make their parts of everything for all tokens."""
    parts = teams.size()
    room, counter = _room(len(given.seats), widths), np.zeros(1, np.int64)
    address = counter.ctypes.data
    teams.together(lambda part: work(given, found, room, (part, parts, address)), parts)


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
