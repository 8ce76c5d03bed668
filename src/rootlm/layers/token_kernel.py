"""A few tokens of every row through a whole Transformer, in one compiled function.

With x a token's stream, N a root-mean-square norm and n the token's place in its row:

    x ← E[token]
    each layer:  q, k, v ← W_qkv N(x)           then norm per head, when there are scales
                 q, k ← R_n q, R_n k            rotary; cosines 1 and sines 0 leave them as they are
                 K[n], V[n] ← k, v
                 x ← x + W_out softmax(q Kᵀ/√d) V
                 g, u ← W_up N(x)
                 x ← x + W_down (g · sigmoid(g) ⊙ u)
    logits ← W_head N(x)

Weights, keys and values are read where they lie, the weights once for all tokens, as `layers.product_kernel` reads
them; every sum is made in float32. What a token gets, to the last bit, does not depend on what is read beside it.
Importing this file imports numba, so it is imported only by who is about to use it.
"""

from __future__ import annotations

from math import exp, sqrt

import numpy as np
from numba import carray

from rootlm.layers.barrier_kernel import meet
from rootlm.layers.product_kernel import multiply, share
from rootlm.layers.vector_kernel import inner, narrow, pointer, widen


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
def _keep(addresses, kind, eps, rotation, slots, seats, keys, values, team, qkv):  # type: ignore[no-untyped-def]
    """Turn the queries of `qkv`, and keep its keys and values; each thread takes some groups of heads."""
    _, kv_heads, _, size = keys.shape
    heads = qkv.shape[1] // size - 2 * kv_heads
    group = heads // kv_heads
    for number in range(team[0], len(qkv) * kv_heads, team[1]):
        token, shared = number // kv_heads, number % kv_heads
        place, parts = slots[token], qkv[token].reshape(-1, size)
        for head in range(shared * group, (shared + 1) * group):
            if addresses[2]:
                _normalise(kind, addresses[2], eps, parts[head], parts[head])
            _turn(rotation[place], parts[head])
        if addresses[2]:
            _normalise(kind, addresses[3], eps, parts[heads + shared], parts[heads + shared])
        _turn(rotation[place], parts[heads + shared])
        own_keys, own_values = keys[seats[token], shared], values[seats[token], shared]
        for i in range(size):
            own_keys[place, i] = narrow(parts[heads + shared, i], keys)
            own_values[place, i] = narrow(parts[heads + kv_heads + shared, i], values)


@inner
def _listen(slots, seats, window, keys, values, team, qkv, gathered):  # type: ignore[no-untyped-def]
    """Leave what the heads of every token gather from its row as far as itself, from the window's begin on."""
    _, kv_heads, _, size = keys.shape
    heads = qkv.shape[1] // size - 2 * kv_heads
    group = heads // kv_heads
    for number in range(team[0], len(qkv) * kv_heads, team[1]):
        token, shared = number // kv_heads, number % kv_heads
        parts, found = qkv[token].reshape(-1, size), gathered[token].reshape(heads, size)
        end = slots[token] + 1
        start = max(0, end - window) if window else 0
        own_keys, own_values = keys[seats[token], shared, start:], values[seats[token], shared, start:]
        sharing = slice(shared * group, (shared + 1) * group)
        scores = np.empty((group, end - start), np.float32)
        _attend(parts[sharing], own_keys, own_values, scores, found[sharing])


@inner
def _shift(kind, address, y, first, last):  # type: ignore[no-untyped-def]
    """Add a bias to the outputs from `first` to `last`."""
    bias = carray(pointer(address, kind), (y.shape[1],))
    for row in range(len(y)):
        for i in range(first, last):
            y[row, i] += widen(bias[i])


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
    kinds, tokens, slots, seats, asked, addresses, ends, eps, rotation, keys, values, room, team, logits
):
    """Read tokens into their slots: write their keys and values, leave what follows those `asked` about in `logits`.

    `kinds` are the types of table and scales, of the layers' matrices and of the head. Of each token, `slots` says
    which place of its row it takes and `seats` which row that is; the tokens of a row before it are read already, or
    among these. `asked` are numbers of tokens. `addresses` (layers, 10) are where these lie: the attention's norm, qkv,
    scales of q and of k (0 for none) and out; the feed-forward's norm, up and down; the bias of qkv (0 for none); after
    them stands how many tokens the layer sees, itself among them (0 for all). `ends` are the addresses of embedding,
    last norm and head. `eps` belong to the stream's norms and to those of q and k. `rotation` is (context, 2,
    head_size), `keys` and `values` are (layers, rows, kv_heads, capacity, head_size), `logits` (asked, vocabulary).
    `room` are matrices with a line for each token: products that go into the stream, qkv, what is gathered, both inner
    streams, the gated one.

    Several threads may call it together, with everything the same but `team`: which of them it is, how many they
    are, and the address of their meeting counter, 0 at the start. Each makes its part of every product; the stream
    is every thread's own. Only those that have all arrived go on, so all must have been started.
    """
    kind, matrix, last = kinds
    made, qkv, gathered, streams, gated = room
    count, width = made.shape
    x, y = np.empty((count, width), np.float32), np.empty((count, width), np.float32)
    table = carray(pointer(ends[0], kind), (logits.shape[1], width))
    for token in range(count):
        for i in range(width):
            x[token, i] = widen(table[tokens[token], i])
    met = 0
    for layer in range(len(addresses)):
        held, own_keys, own_values = addresses[layer], keys[layer], values[layer]
        _normalise_rows(kind, held[0], eps[0], x, y)
        start, end = share(qkv.shape[1], team)
        multiply(matrix, held[1], y, qkv, start, end)
        if held[8]:
            _shift(kind, held[8], qkv, start, end)
        met = meet(team, met)
        _keep(held, kind, eps[1], rotation, slots, seats, own_keys, own_values, team, qkv)
        met = meet(team, met)
        _listen(slots, seats, held[9], own_keys, own_values, team, qkv, gathered)
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
    for number in range(len(asked)):
        _normalise(kind, ends[1], eps[0], x[asked[number]], y[number])
    start, end = share(logits.shape[1], team)
    multiply(last, ends[2], y[: len(asked)], logits, start, end)
