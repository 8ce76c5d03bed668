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

Weights, keys and values are read where they lie, the weights once for all rows, as `layers.product_kernel` reads them;
every sum is made in float32. What a row gets, to the last bit, does not depend on its neighbours. Importing this file
imports numba, so it is imported only by who is about to use it.
"""

from __future__ import annotations

from math import exp, sqrt

import numpy as np
from numba import carray

from rootlm.layers.meeting import meet
from rootlm.layers.product_kernel import OPTIONS, inner, multiply, narrow, pointer, share, widen

__all__ = ["OPTIONS", "read_tokens"]


@inner
def _normalise(kind, address, eps, x, y):  # type: ignore[no-untyped-def]
    """y = x / √(mean(x²) + ε) · g for one vector."""
    width = len(x)
    scale = carray(pointer(address, kind), (width,))
    total = np.float32(0)
    for i in range(width):
        total += x[i] * x[i]
    factor = np.float32(1 / sqrt(total / width + eps))
    for i in range(width):
        y[i] = x[i] * factor * widen(scale[i])


@inner
def _turn(rotation, x):  # type: ignore[no-untyped-def]
    """Turn the pairs (x_i, x_{i+d/2}); `rotation` holds d cosines, then the sines, the first half negated."""
    half = len(x) // 2
    for i in range(half):
        low, high = x[i], x[half + i]
        x[i] = low * rotation[0, i] + high * rotation[1, i]
        x[half + i] = high * rotation[0, half + i] + low * rotation[1, half + i]


@inner
def _attend(q, keys, values, scores, out):  # type: ignore[no-untyped-def]
    """out = softmax(q Kᵀ/√d) V for the heads q (heads, d) over the first `scores.shape[1]` keys."""
    heads, size = q.shape
    count = scores.shape[1]
    scale = np.float32(1 / sqrt(size))
    multiply(keys, keys.ctypes.data, q, scores, 0, count)
    for head in range(heads):
        highest = np.float32(-np.inf)
        for t in range(count):
            highest = max(highest, scores[head, t])
        total = np.float32(0)
        for t in range(count):
            portion = exp((scores[head, t] - highest) * scale)
            scores[head, t] = portion
            total += portion
        for i in range(size):
            out[head, i] = np.float32(0)
        for t in range(count):
            portion = scores[head, t] / total
            for i in range(size):
                out[head, i] += portion * widen(values[t, i])


@inner
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
            own_keys[place, i] = narrow(parts[heads + shared, i], keys)
            own_values[place, i] = narrow(parts[heads + kv_heads + shared, i], values)
        sharing = slice(shared * group, (shared + 1) * group)
        scores = np.empty((group, place + 1), np.float32)
        _attend(parts[sharing], own_keys, own_values, scores, found[sharing])


@inner
def _gate(kind, address, y, streams, gated, team):  # type: ignore[no-untyped-def]
    """gated = g · sigmoid(g) ⊙ u, where g and u are W_up y; each thread makes its part of both."""
    inner = gated.shape[1]
    start, end = share(inner, team)
    multiply(kind, address, y, streams, start, end)
    multiply(kind, address, y, streams, inner + start, inner + end)
    for row in range(len(y)):
        for i in range(start, end):
            gate = streams[row, i]
            gated[row, i] = gate / (np.float32(1) + exp(-gate)) * streams[row, inner + i]


@inner
def _normalise_rows(kind, address, eps, x, y):  # type: ignore[no-untyped-def]
    for row in range(len(x)):
        _normalise(kind, address, eps, x[row], y[row])


def read_tokens(  # type: ignore[no-untyped-def]
    kinds, tokens, slots, addresses, ends, eps, rotation, keys, values, first, room, team, logits
):
    """Read one token of each row into its slot: write its keys and values, leave what follows it in `logits`.

    `kinds` are the types of table and scales, of the layers' matrices and of the head; `tokens` and `slots` are
    (rows,). `addresses` (layers, 8) are where these lie: the attention's norm, qkv, scales of q and of k (0 for none)
    and out; the feed-forward's norm, up and down. `ends` are those of embedding, last norm and head. `eps` belong to
    the stream's norms and to those of q and k. `rotation` is (context, 2, head_size), `keys` and `values` are
    (layers, all rows, kv_heads, capacity, head_size) with these rows from `first` on, `logits` (rows, vocabulary).
    `room` are matrices with a line for each row: products that go into the stream, qkv, what is gathered, both inner
    streams, the gated one.

    Several threads may call it together, with everything the same but `team`: which of them it is, how many they
    are, and the address of their meeting counter, 0 at the start. Each makes its part of every product; the stream
    is every thread's own. Only those that have all arrived go on, so all must have been started.
    """
    kind, matrix, last = kinds
    made, qkv, gathered, streams, gated = room
    rows, width = made.shape
    x, y = np.empty((rows, width), np.float32), np.empty((rows, width), np.float32)
    table = carray(pointer(ends[0], kind), (logits.shape[1], width))
    for row in range(rows):
        for i in range(width):
            x[row, i] = widen(table[tokens[row], i])
    met = 0
    for layer in range(len(addresses)):
        held = addresses[layer]
        _normalise_rows(kind, held[0], eps[0], x, y)
        start, end = share(qkv.shape[1], team)
        multiply(matrix, held[1], y, qkv, start, end)
        met = meet(team, met)
        _listen(held, kind, eps[1], rotation, slots, keys[layer], values[layer], first, team, qkv, gathered)
        met = meet(team, met)
        start, end = share(width, team)
        multiply(matrix, held[4], gathered, made, start, end)
        met = meet(team, met)
        x += made
        _normalise_rows(kind, held[5], eps[0], x, y)
        _gate(matrix, held[6], y, streams, gated, team)
        met = meet(team, met)
        multiply(matrix, held[7], gated, made, start, end)
        met = meet(team, met)
        x += made
    _normalise_rows(kind, ends[1], eps[0], x, y)
    start, end = share(logits.shape[1], team)
    multiply(last, ends[2], y, logits, start, end)
