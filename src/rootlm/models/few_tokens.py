"""When a decoder reads its next tokens with the compiled kernel, and how threads share the work."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rootlm.layers import teams
from rootlm.layers.key_values import KeyValues
from rootlm.layers.quantised import Quantised
from rootlm.models.interface import All, Ask, Last
from rootlm.models.kernel_network import (
    KernelNetwork,
    Places,
    gather,
    is_known,
    kinds_of,
    places_of,
    rotation_of,
)

if TYPE_CHECKING:
    from rootlm.models.decoder import Decoder


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
        self._places = places_of(model) if is_known(model.config) else None
        self._found: list[tuple[int, tuple[int, ...]]] | None = None
        self._network: KernelNetwork | None = None

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
        rotation = rotation_of(model, state.reserve(tokens.shape[1]))
        logits = torch.empty(len(given.asked), model.vocab_size)
        held = [_bits(part) for part in (state.keys, state.values)]
        found, kernel = logits.numpy(), _kernel()
        weights = (network.layers, network.ends, network.eps, rotation)

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

    def _present(self, model: Decoder, places: Places) -> KernelNetwork | None:
        """Return the network as its weights lie now; None when they cannot be read so."""
        built = all(held.get(name) is part for held, name, part in places.parts)
        if len(model.blocks) != model.config.depth or not built:
            return None
        held = [place.held() for place in places.weights]
        found = [(0, ()) if one is None else (one.data_ptr(), one.stride()) for one, _ in held]
        if self._found != found:
            kinds = kinds_of(places, held, model.embedding.weight.dtype)
            heavy = sum(one.nbytes for one, _ in held if one is not None) > self.cached_bytes
            pointers = [pointer for pointer, _ in found]
            self._network = None if kinds is None else gather(model, pointers, kinds, heavy)
            self._found = found
        return self._network


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


@cache
def _has_numba() -> bool:
    return importlib.util.find_spec("numba") is not None


@cache
def _kernel() -> Callable[..., None]:
    from rootlm.core.compiled import compiled_with
    from rootlm.layers.token_kernel import read_tokens
    from rootlm.layers.vector_kernel import OPTIONS

    return compiled_with(read_tokens, **OPTIONS)
