"""One token through a whole Transformer for one row, in one compiled function.

With x the stream, N a root-mean-square norm and n the token's place:

    x ← E[token]
    each layer:  q, k, v ← W_qkv N(x)           then norm per head, when there are scales
                 q, k ← R_n q, R_n k            rotary; cosines 1 and sines 0 leave them as they are
                 K[n], V[n] ← k, v
                 x ← x + W_out softmax(q Kᵀ/√d) V
                 g, u ← W_up N(x)
                 x ← x + W_down (g · sigmoid(g) ⊙ u)
    logits ← W_head N(x)

Weights are read where they lie, as bfloat16 bits (uint16) or float32, and every sum is made in float32. Importing
this file imports numba, so it is imported only by who is about to use it.
"""

from __future__ import annotations

from math import exp, sqrt
from typing import Any

import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic

# No assumption about infinities and NaN, so a broken model shows as it would elsewhere.
RELAXED = {"reassoc", "contract", "nsz", "arcp"}
_inner = njit(fastmath=RELAXED, nogil=True)


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
        if value != types.uint16:
            return arguments[0]
        bits = target.get_value_type(types.uint32)
        upper = builder.shl(builder.zext(arguments[0], bits), bits(16))
        return builder.bitcast(upper, target.get_value_type(types.float32))

    return types.float32(value), generate


@_inner
def _multiply(kind, address, x, y):  # type: ignore[no-untyped-def]
    """y = W x; four rows at once share each read of x."""
    height, width = len(y), len(x)
    weights = carray(_pointer(address, kind), (height, width))
    whole = height - height % 4
    for row in range(0, whole, 4):
        w0, w1, w2, w3 = weights[row], weights[row + 1], weights[row + 2], weights[row + 3]
        a = b = c = d = np.float32(0)
        for i in range(width):
            a += _widen(w0[i]) * x[i]
            b += _widen(w1[i]) * x[i]
            c += _widen(w2[i]) * x[i]
            d += _widen(w3[i]) * x[i]
        y[row], y[row + 1], y[row + 2], y[row + 3] = a, b, c, d
    for row in range(whole, height):
        a = np.float32(0)
        for i in range(width):
            a += _widen(weights[row, i]) * x[i]
        y[row] = a


@_inner
def _normalise(kind, address, eps, x, y):  # type: ignore[no-untyped-def]
    """y = x / √(mean(x²) + ε) · g."""
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
    """out = softmax(q Kᵀ/√d) V over the first `len(scores)` keys."""
    count, size = len(scores), len(q)
    scale = np.float32(1 / sqrt(size))
    highest = np.float32(-np.inf)
    for t in range(count):
        score = np.float32(0)
        for i in range(size):
            score += q[i] * keys[t, i]
        scores[t] = score * scale
        highest = max(highest, scores[t])
    total = np.float32(0)
    for t in range(count):
        scores[t] = exp(scores[t] - highest)
        total += scores[t]
    out[:] = np.float32(0)
    for t in range(count):
        share = scores[t] / total
        for i in range(size):
            out[i] += share * values[t, i]


@_inner
def _attention(kind, place, addresses, eps, rotation, keys, values, x, y, qkv):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """x += W_out (what the heads gather for the normed stream y); y is used up."""
    kv_heads, _, size = keys.shape
    heads = len(qkv) // size - 2 * kv_heads
    _multiply(kind, addresses[1], y, qkv)
    parts = qkv.reshape(heads + 2 * kv_heads, size)
    for head in range(heads + kv_heads):
        if addresses[2]:
            _normalise(kind, addresses[2 if head < heads else 3], eps, parts[head], parts[head])
        _turn(rotation, parts[head])
    for head in range(kv_heads):
        keys[head, place] = parts[heads + head]
        values[head, place] = parts[heads + kv_heads + head]
    gathered, scores = np.empty((heads, size), np.float32), np.empty(place + 1, np.float32)
    for head in range(heads):
        shared = head * kv_heads // heads
        _attend(parts[head], keys[shared], values[shared], scores, gathered[head])
    _multiply(kind, addresses[4], gathered.reshape(-1), y)
    for i in range(len(x)):
        x[i] += y[i]


@_inner
def _feed_forward(kind, addresses, x, y, streams):  # type: ignore[no-untyped-def]
    """x += W_down (g · sigmoid(g) ⊙ u) for the normed stream y; y is used up."""
    _multiply(kind, addresses[6], y, streams)
    inner = len(streams) // 2
    for i in range(inner):
        gate = streams[i]
        streams[i] = gate / (np.float32(1) + exp(-gate)) * streams[inner + i]
    _multiply(kind, addresses[7], streams[:inner], y)
    for i in range(len(x)):
        x[i] += y[i]


def read_token(kind, token, place, addresses, ends, eps, rotation, keys, values, sizes, logits):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """Read one token into slot `place`: write its keys and values, leave what follows it in `logits`.

    `kind` is an empty array of the weights' type. `addresses` (layers, 8) are where these lie: the attention's
    norm, qkv, scales of q and of k (0 for none) and out; the feed-forward's norm, up and down. `ends` are those
    of embedding, last norm and head. `eps` belong to the stream's norms and to those of q and k. `rotation` is
    (2, head_size); `keys` and `values` are (layers, 1, kv_heads, capacity, head_size). `sizes` are the widths of
    the stream, of qkv and of the feed-forward's two inner streams together.
    """
    width = sizes[0]
    x, y = np.empty(width, np.float32), np.empty(width, np.float32)
    qkv, streams = np.empty(sizes[1], np.float32), np.empty(sizes[2], np.float32)
    row = carray(_pointer(ends[0], kind), (len(logits), width))[token]
    for i in range(width):
        x[i] = _widen(row[i])
    for layer in range(len(addresses)):
        held = addresses[layer]
        _normalise(kind, held[0], eps[0], x, y)
        _attention(kind, place, held, eps[1], rotation, keys[layer, 0], values[layer, 0], x, y, qkv)
        _normalise(kind, held[5], eps[0], x, y)
        _feed_forward(kind, held, x, y, streams)
    _normalise(kind, ends[1], eps[0], x, y)
    _multiply(kind, ends[2], y, logits)
