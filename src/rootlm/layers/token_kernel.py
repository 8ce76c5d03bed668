"""One token of every row through a whole Transformer, in one compiled function.

With x a row's stream, N a root-mean-square norm and n the token's place in its row:

    x ← E[token]
    each layer:  q, k, v ← W_qkv N(x)           then norm per head, when there are scales
                 q, k ← R_n q, R_n k            rotary; cosines 1 and sines 0 leave them as they are
                 K[n], V[n] ← k, v
                 x ← x + W_out softmax(q Kᵀ/√d) V
                 g, u ← W_up N(x)
                 x ← x + W_down (g · sigmoid(g) ⊙ u)
    logits ← W_head N(x)

Weights, keys and values are read where they lie, as bfloat16 bits (uint16) or float32, the weights once for all rows;
every sum is made in float32. The products are written in vector instructions, so that the terms of a sum come in one
order however many rows there are: what a row gets, to the last bit, does not depend on its neighbours. Importing this
file imports numba, so it is imported only by who is about to use it.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, sqrt
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from rootlm.layers.meeting import meet

# No assumption about infinities and NaN, and no error for ÷ 0, so a broken model shows as it would elsewhere.
OPTIONS = {"fastmath": {"reassoc", "contract", "nsz", "arcp"}, "nogil": True, "error_model": "numpy"}
_inner = njit(**OPTIONS)

_FEATURES = binding.get_host_cpu_features()
LANES = 16 if _FEATURES.get("avx512f") else 8 if _FEATURES.get("avx2") else 4
"""Float32 numbers in one register of this processor."""
_WORD, _BYTE, _INT, _FLOAT = ir.IntType(64), ir.IntType(8), ir.IntType(32), ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, LANES)


@intrinsic  # type: ignore[untyped-decorator]
def _pointer(context: Any, address: Any, kind: Any) -> Any:
    """Return the address as a pointer to elements of the array `kind`."""
    signature = types.CPointer(kind.dtype)(address, kind)

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], target.get_value_type(signature.return_type))

    return signature, generate


@intrinsic  # type: ignore[untyped-decorator]
def _widen(context: Any, value: Any) -> Any:
    """Return float32: bfloat16 bits are its upper half."""

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return arguments[0] if value != types.uint16 else _upper_half(builder, arguments[0], _INT, _FLOAT)

    return types.float32(value), generate


@intrinsic  # type: ignore[untyped-decorator]
def _narrow(context: Any, value: Any, like: Any) -> Any:
    """Return float32 as the array `like` holds it: itself, or the bits of the nearest bfloat16, ties to even."""

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if signature.return_type != types.uint16:
            return arguments[0]
        bits = builder.bitcast(arguments[0], _INT)
        odd = builder.and_(builder.lshr(bits, _INT(16)), _INT(1))
        rounded = builder.add(bits, builder.add(_INT(0x7FFF), odd))
        # A NaN stays one: rounding could carry it to infinity.
        broken = builder.fcmp_unordered("uno", arguments[0], arguments[0])
        kept = builder.select(broken, builder.or_(bits, _INT(0x400000)), rounded)
        return builder.trunc(builder.lshr(kept, _INT(16)), ir.IntType(16))

    return like.dtype(value, like), generate


def _tile(outs: int, rows: int) -> Callable[..., Any]:
    """Return the function y[r, o] = Σᵢ w[o, i] x[r, i] for so many rows of W and of x.

    Each of the outs × rows sums has a vector of its own, to which the terms are added in the order of i, `LANES`
    at a time; the vector is added up last. The weights that come next are fetched meanwhile.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def tile(context: Any, kind: Any, w: Any, x: Any, y: Any, width: Any, height: Any) -> Any:
        """Take the addresses of w (outs, width), x (rows, width) and of y's first element, `height` to a row."""
        size = 2 if kind.dtype == types.uint16 else 4

        def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _, w, x, y, width, height = arguments
            inputs = [_step(builder, x, width, row * 4) for row in range(rows)]
            weights = [_step(builder, w, width, out * size) for out in range(outs)]
            zero = ir.Constant(_VECTOR, [0.0] * LANES)
            sums = [[cgutils.alloca_once_value(builder, zero) for _ in inputs] for _ in weights]

            def add(at: Any, mask: Any = None) -> None:
                given = [_load(builder, start, at, 4, mask) for start in inputs]
                for start, held in zip(weights, sums, strict=True):
                    weight = _load(builder, start, at, size, mask)
                    for value, total in zip(given, held, strict=True):
                        builder.store(_call(builder, "fma", weight, value, builder.load(total)), total)

            with cgutils.for_range(builder, builder.udiv(width, _WORD(LANES))) as loop:
                at = builder.mul(loop.index, _WORD(LANES))
                for start in weights:
                    _fetch(builder, _step(builder, start, width, outs * size), at, size)
                add(at)
            rest = builder.urem(width, _WORD(LANES))
            with builder.if_then(builder.icmp_unsigned("!=", rest, _WORD(0))):
                add(builder.sub(width, rest), _first(builder, rest))
            for row in range(rows):
                start = _step(builder, y, height, row * 4)
                for out in range(outs):
                    place = builder.inttoptr(builder.add(start, _WORD(out * 4)), _FLOAT.as_pointer())
                    builder.store(_total(builder, builder.load(sums[out][row])), place)
            return target.get_dummy_value()

        return types.void(kind, *[types.intp] * 5), generate

    return tile  # type: ignore[no-any-return]


def _step(builder: Any, start: Any, count: Any, size: int) -> Any:
    """Return the address `count` elements of `size` bytes further on."""
    return builder.add(start, builder.mul(count, _WORD(size)))


def _upper_half(builder: Any, bits: Any, whole: Any, number: Any) -> Any:
    """Return bfloat16 bits as float32, one or a vector of them."""
    shift = ir.Constant(whole, 16 if whole is _INT else [16] * LANES)
    return builder.bitcast(builder.shl(builder.zext(bits, whole), shift), number)


def _load(builder: Any, start: Any, at: Any, size: int, mask: Any) -> Any:
    """Return the `LANES` numbers from element `at` on as float32; those that the mask leaves out are 0."""
    kind = _VECTOR if size == 4 else ir.VectorType(ir.IntType(16), LANES)
    place = builder.inttoptr(_step(builder, start, at, size), kind.as_pointer())
    if mask is None:
        held = builder.load(place, align=size)
    else:
        name = f"llvm.masked.load.v{LANES}{'f32' if kind is _VECTOR else 'i16'}.p0"
        signature = ir.FunctionType(kind, [kind.as_pointer(), _INT, mask.type, kind])
        masked = cgutils.get_or_insert_function(builder.module, signature, name)
        held = builder.call(masked, [place, _INT(size), mask, ir.Constant(kind, [0] * LANES)])
    return held if kind is _VECTOR else _upper_half(builder, held, ir.VectorType(_INT, LANES), _VECTOR)


def _first(builder: Any, count: Any) -> Any:
    """Return the mask of the first `count` lanes."""
    words = ir.VectorType(_WORD, LANES)
    spread: Any = ir.Constant(words, ir.Undefined)
    for lane in range(LANES):
        spread = builder.insert_element(spread, count, _INT(lane))
    return builder.icmp_unsigned("<", ir.Constant(words, list(range(LANES))), spread)


def _fetch(builder: Any, start: Any, at: Any, size: int) -> None:
    """Bring what stands there nearer; beyond the end of what there is, nothing happens."""
    place = builder.inttoptr(_step(builder, start, at, size), _BYTE.as_pointer())
    signature = ir.FunctionType(ir.VoidType(), [_BYTE.as_pointer(), _INT, _INT, _INT])
    prefetch = cgutils.get_or_insert_function(builder.module, signature, "llvm.prefetch.p0")
    builder.call(prefetch, [place, _INT(0), _INT(3), _INT(1)])  # to read, to keep near, data


def _call(builder: Any, name: str, *values: Any) -> Any:
    """Call an operation of LLVM's on vectors."""
    signature = ir.FunctionType(_VECTOR, [_VECTOR] * len(values))
    return builder.call(
        cgutils.get_or_insert_function(builder.module, signature, f"llvm.{name}.v{LANES}f32"), values
    )


def _total(builder: Any, vector: Any) -> Any:
    """Return the sum of a vector's numbers, halves first."""
    signature = ir.FunctionType(_FLOAT, [_FLOAT, _VECTOR])
    name = f"llvm.vector.reduce.fadd.v{LANES}f32"
    reduce = cgutils.get_or_insert_function(builder.module, signature, name)
    return builder.call(reduce, [_FLOAT(-0.0), vector], fastmath=["reassoc"])


_tile_4_4, _tile_4_1, _tile_1_1 = _tile(4, 4), _tile(4, 1), _tile(1, 1)


@_inner
def _multiply(kind, address, x, y, first, last):  # type: ignore[no-untyped-def]
    """y = x Wᵀ for x (rows, width) and y (rows, height), each contiguous; the outputs from `first` to `last` only."""
    rows, width = x.shape
    height = y.shape[1]
    line = width * kind.itemsize
    given, made = x.ctypes.data, y.ctypes.data
    whole = first + (last - first) // 4 * 4
    for out in range(first, whole, 4):
        w, to = address + out * line, made + out * 4
        for row in range(0, rows - rows % 4, 4):
            _tile_4_4(kind, w, given + row * width * 4, to + row * height * 4, width, height)
        for row in range(rows - rows % 4, rows):
            _tile_4_1(kind, w, given + row * width * 4, to + row * height * 4, width, height)
    for out in range(whole, last):
        for row in range(rows):
            place = made + (row * height + out) * 4
            _tile_1_1(kind, address + out * line, given + row * width * 4, place, width, height)


@_inner
def _share(count, team):  # type: ignore[no-untyped-def]
    """Return the part of `count` things that is this thread's, from its first to before its last, in fours."""
    part, parts = team[0], team[1]
    fours = -(-count // 4)
    return min(count, fours * part // parts * 4), min(count, fours * (part + 1) // parts * 4)


@_inner
def _normalise(kind, address, eps, x, y):  # type: ignore[no-untyped-def]
    """y = x / √(mean(x²) + ε) · g for one vector."""
    width = len(x)
    scale = carray(_pointer(address, kind), (width,))
    total = np.float32(0)
    for i in range(width):
        total += x[i] * x[i]
    factor = np.float32(1 / sqrt(total / width + eps))
    for i in range(width):
        y[i] = x[i] * factor * _widen(scale[i])


@_inner
def _turn(rotation, x):  # type: ignore[no-untyped-def]
    """Turn the pairs (x_i, x_{i+d/2}); `rotation` holds d cosines, then the sines, the first half negated."""
    half = len(x) // 2
    for i in range(half):
        low, high = x[i], x[half + i]
        x[i] = low * rotation[0, i] + high * rotation[1, i]
        x[half + i] = high * rotation[0, half + i] + low * rotation[1, half + i]


@_inner
def _attend(q, keys, values, scores, out):  # type: ignore[no-untyped-def]
    """out = softmax(q Kᵀ/√d) V for the heads q (heads, d) over the first `scores.shape[1]` keys."""
    heads, size = q.shape
    count = scores.shape[1]
    scale = np.float32(1 / sqrt(size))
    _multiply(keys, keys.ctypes.data, q, scores, 0, count)
    for head in range(heads):
        highest = np.float32(-np.inf)
        for t in range(count):
            highest = max(highest, scores[head, t])
        total = np.float32(0)
        for t in range(count):
            share = exp((scores[head, t] - highest) * scale)
            scores[head, t] = share
            total += share
        for i in range(size):
            out[head, i] = np.float32(0)
        for t in range(count):
            share = scores[head, t] / total
            for i in range(size):
                out[head, i] += share * _widen(values[t, i])


@_inner
def _listen(addresses, kind, eps, rotation, slots, keys, values, first, team, qkv, gathered):  # type: ignore[no-untyped-def]
    """Keep the keys and values of `qkv` and leave what the heads gather; each thread takes some groups of heads."""
    _, kv_heads, _, size = keys.shape
    rows = len(qkv)
    heads = qkv.shape[1] // size - 2 * kv_heads
    group = heads // kv_heads
    for number in range(team[0], rows * kv_heads, team[1]):
        row, shared = number // kv_heads, number % kv_heads
        place = slots[row]
        parts, found = qkv[row].reshape(-1, size), gathered[row].reshape(heads, size)
        for head in range(shared * group, (shared + 1) * group):
            if addresses[2]:
                _normalise(kind, addresses[2], eps, parts[head], parts[head])
            _turn(rotation[place], parts[head])
        if addresses[2]:
            _normalise(kind, addresses[3], eps, parts[heads + shared], parts[heads + shared])
        _turn(rotation[place], parts[heads + shared])
        own_keys, own_values = keys[first + row, shared], values[first + row, shared]
        for i in range(size):
            own_keys[place, i] = _narrow(parts[heads + shared, i], keys)
            own_values[place, i] = _narrow(parts[heads + kv_heads + shared, i], values)
        sharing = slice(shared * group, (shared + 1) * group)
        scores = np.empty((group, place + 1), np.float32)
        _attend(parts[sharing], own_keys, own_values, scores, found[sharing])


@_inner
def _gate(kind, address, y, streams, gated, team):  # type: ignore[no-untyped-def]
    """gated = g · sigmoid(g) ⊙ u, where g and u are W_up y; each thread makes its part of both."""
    inner = gated.shape[1]
    start, end = _share(inner, team)
    _multiply(kind, address, y, streams, start, end)
    _multiply(kind, address, y, streams, inner + start, inner + end)
    for row in range(len(y)):
        for i in range(start, end):
            gate = streams[row, i]
            gated[row, i] = gate / (np.float32(1) + exp(-gate)) * streams[row, inner + i]


@_inner
def _normalise_rows(kind, address, eps, x, y):  # type: ignore[no-untyped-def]
    for row in range(len(x)):
        _normalise(kind, address, eps, x[row], y[row])


def read_tokens(kind, tokens, slots, addresses, ends, eps, rotation, keys, values, first, room, team, logits):  # type: ignore[no-untyped-def]
    """Read one token of each row into its slot: write its keys and values, leave what follows it in `logits`.

    `kind` is an empty array of the weights' type; `tokens` and `slots` are (rows,). `addresses` (layers, 8) are
    where these lie: the attention's norm, qkv, scales of q and of k (0 for none) and out; the feed-forward's norm,
    up and down. `ends` are those of embedding, last norm and head. `eps` belong to the stream's norms and to those
    of q and k. `rotation` is (context, 2, head_size), `keys` and `values` are (layers, all rows, kv_heads, capacity,
    head_size) with these rows from `first` on, `logits` (rows, vocabulary). `room` are matrices with a line for each
    row: products that go into the stream, qkv, what is gathered, both inner streams, the gated one.

    Several threads may call it together, with everything the same but `team`: which of them it is, how many they
    are, and the address of their meeting counter, 0 at the start. Each makes its part of every product; the stream
    is every thread's own. Only those that have all arrived go on, so all must have been started.
    """
    made, qkv, gathered, streams, gated = room
    rows, width = made.shape
    x, y = np.empty((rows, width), np.float32), np.empty((rows, width), np.float32)
    table = carray(_pointer(ends[0], kind), (logits.shape[1], width))
    for row in range(rows):
        for i in range(width):
            x[row, i] = _widen(table[tokens[row], i])
    met = 0
    for layer in range(len(addresses)):
        held = addresses[layer]
        _normalise_rows(kind, held[0], eps[0], x, y)
        start, end = _share(qkv.shape[1], team)
        _multiply(kind, held[1], y, qkv, start, end)
        met = meet(team, met)
        _listen(held, kind, eps[1], rotation, slots, keys[layer], values[layer], first, team, qkv, gathered)
        met = meet(team, met)
        start, end = _share(width, team)
        _multiply(kind, held[4], gathered, made, start, end)
        met = meet(team, met)
        x += made
        _normalise_rows(kind, held[5], eps[0], x, y)
        _gate(kind, held[6], y, streams, gated, team)
        met = meet(team, met)
        _multiply(kind, held[7], gated, made, start, end)
        met = meet(team, met)
        x += made
    _normalise_rows(kind, ends[1], eps[0], x, y)
    start, end = _share(logits.shape[1], team)
    _multiply(kind, ends[2], y, logits, start, end)
