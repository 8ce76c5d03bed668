"""Products of a matrix with a few vectors, compiled, at the speed at which memory gives the matrix.

The matrix is read once for all vectors, where and as it lies, from its first byte to its last: processors fetch one
stream ahead by themselves, not four. Every sum is made in float32 and written in vector instructions, so that its
terms come in one order however many vectors there are and in whatever type the matrix is kept. Importing this file
imports numba, so it is imported only by who is about to use it.

A type of weights is an empty array. float32 is itself, uint16 bfloat16's bits. int8 and uint8 are blocks of 32 numbers
with a common scale before them, a float16: of 8 bits each in int8 (ggml's Q8_0, 34 bytes), of 4 bits in uint8 (Q4_0,
18 bytes: the lower half of each byte holds the first sixteen numbers, eight too high).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from rootlm.layers import vector_kernel as vector
from rootlm.layers.vector_kernel import BYTE, FLOAT, INT, LANES, SHORT, VECTOR, WORD, inner, narrow
from rootlm.layers.weight_blocks import BLOCK

_CHAINS = max(4, BLOCK // LANES)
"""Vectors among which the terms of a sum are dealt out: an addition need not wait for the last."""
_AT_ONCE = 4 if LANES == 16 else 2
"""Vectors multiplied at once, each with its chains in registers."""
_SIZES = {types.float32: 4, types.uint16: 2}
_BLOCK_SIZES = {types.int8: 2 + BLOCK, types.uint8: 2 + BLOCK // 2}


@intrinsic  # type: ignore[untyped-decorator]
def line(context: Any, kind: Any, width: Any) -> Any:
    """Return the bytes of a row of so many numbers."""

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        size = _BLOCK_SIZES.get(kind.dtype)
        if size is None:
            return builder.mul(arguments[1], WORD(_SIZES[kind.dtype]))
        return builder.mul(builder.udiv(arguments[1], WORD(BLOCK)), WORD(size))

    return types.int64(kind, types.int64), generate


class _Sums:
    """The sums of one row of W with some vectors, while they are made."""

    def __init__(self, builder: Any, inputs: list[Any]) -> None:
        zero = ir.Constant(VECTOR, [0.0] * LANES)
        self.builder, self.inputs = builder, inputs
        self.chains = [[cgutils.alloca_once_value(builder, zero) for _ in range(_CHAINS)] for _ in inputs]

    def add(self, chain: int, weight: Any, at: Any, mask: Any = None) -> None:
        """Multiply a vector of weights, those from element `at` on, with each input's."""
        for start, chains in zip(self.inputs, self.chains, strict=True):
            given = vector.load(self.builder, start, at, 4, mask)
            total = self.builder.load(chains[chain])
            self.builder.store(vector.call(self.builder, "fma", weight, given, total), chains[chain])

    def totals(self) -> Iterator[Any]:
        """Yield the finished sum of each input: chains first, halves next."""
        for chains in self.chains:
            held = [self.builder.load(chain) for chain in chains]
            while len(held) > 1:
                half = len(held) // 2
                held = [
                    vector.sum_of(self.builder, *pair) for pair in zip(held[:half], held[half:], strict=True)
                ]
            yield vector.total(self.builder, held[0])


def _tile(rows: int) -> Callable[..., Any]:
    """Return the function y[r, o] = Σᵢ w[o, i] x[r, i] for one row of W and so many of x."""

    @intrinsic  # type: ignore[untyped-decorator]
    def tile(context: Any, kind: Any, w: Any, x: Any, y: Any, width: Any, height: Any) -> Any:
        """Take the addresses of w (width), x (rows, width) and of y's first element, `height` to a row."""
        add_all = _add_blocks if kind.dtype in _BLOCK_SIZES else _add_numbers

        def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _, w, x, y, width, height = arguments
            sums = _Sums(builder, [vector.step(builder, x, width, row * 4) for row in range(rows)])
            add_all(builder, kind.dtype, w, width, sums)
            for row, total in enumerate(sums.totals()):
                place = builder.inttoptr(vector.step(builder, y, height, row * 4), FLOAT.as_pointer())
                builder.store(total, place)
            return target.get_dummy_value()

        return types.void(kind, *[types.intp] * 5), generate

    return tile  # type: ignore[no-any-return]


def _add_numbers(builder: Any, dtype: Any, w: Any, width: Any, sums: _Sums) -> None:
    """Add the products of a row of plain numbers."""
    size = _SIZES[dtype]

    def add(chain: int, at: Any, mask: Any = None) -> None:
        sums.add(chain, vector.load(builder, w, at, size, mask), at, mask)

    whole = builder.udiv(width, WORD(LANES))
    with cgutils.for_range(builder, builder.udiv(whole, WORD(_CHAINS))) as loop:
        start = builder.mul(loop.index, WORD(_CHAINS * LANES))
        vector.fetch(builder, vector.step(builder, w, start, size), _CHAINS * LANES * size)
        for chain in range(_CHAINS):
            add(chain, builder.add(start, WORD(chain * LANES)))
    rest = builder.urem(whole, WORD(_CHAINS))
    start = builder.mul(builder.sub(whole, rest), WORD(LANES))
    for chain in range(_CHAINS - 1):
        with builder.if_then(builder.icmp_unsigned(">", rest, WORD(chain))):
            add(chain, builder.add(start, WORD(chain * LANES)))
    few = builder.urem(width, WORD(LANES))
    with builder.if_then(builder.icmp_unsigned("!=", few, WORD(0))):
        add(_CHAINS - 1, builder.sub(width, few), vector.first_lanes(builder, few))


def _add_blocks(builder: Any, dtype: Any, w: Any, width: Any, sums: _Sums) -> None:
    """Add the products of a row of blocks."""
    size, vectors = _BLOCK_SIZES[dtype], BLOCK // LANES
    together = _CHAINS // vectors

    def add(number: Any, first: int) -> None:
        at = builder.mul(number, WORD(BLOCK))
        for part, weight in enumerate(_block(builder, dtype, vector.step(builder, w, number, size))):
            sums.add(first + part, weight, builder.add(at, WORD(part * LANES)))

    count = builder.udiv(width, WORD(BLOCK))
    with cgutils.for_range(builder, builder.udiv(count, WORD(together))) as loop:
        number = builder.mul(loop.index, WORD(together))
        vector.fetch(builder, vector.step(builder, w, number, size), together * size)
        for one in range(together):
            add(builder.add(number, WORD(one)), one * vectors)
    if together > 1:
        assert together == 2
        with builder.if_then(builder.icmp_unsigned("!=", builder.urem(count, WORD(2)), WORD(0))):
            add(builder.sub(count, WORD(1)), 0)


@intrinsic  # type: ignore[untyped-decorator]
def _write_out(context: Any, kind: Any, like: Any, blocks: Any, out: Any, count: Any) -> Any:
    """Write the numbers of so many blocks as the array `like` holds them, float32 or bfloat16 bits."""
    size = _SIZES[like.dtype]

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, _, blocks, out, count = arguments
        with cgutils.for_range(builder, count) as loop:
            start = vector.step(builder, blocks, loop.index, _BLOCK_SIZES[kind.dtype])
            to = vector.step(builder, out, loop.index, BLOCK * size)
            for part, values in enumerate(_block(builder, kind.dtype, start)):
                held = values if size == 4 else vector.nearest_upper_half(builder, values)
                place = builder.add(to, WORD(part * LANES * size))
                builder.store(held, builder.inttoptr(place, held.type.as_pointer()), align=size)
        return target.get_dummy_value()

    return types.void(kind, like, *[types.intp] * 3), generate


def _block(builder: Any, dtype: Any, start: Any) -> list[Any]:
    """Return the numbers of the block at an address, in vectors of float32."""
    half = builder.load(builder.inttoptr(start, SHORT.as_pointer()), align=2)
    scale = builder.fpext(builder.bitcast(half, ir.HalfType()), FLOAT)
    spread = vector.spread(builder, scale, VECTOR)
    steps = (_eights if dtype is types.int8 else _fours)(builder, builder.add(start, WORD(2)))
    return [vector.product(builder, builder.sitofp(one, VECTOR), spread) for one in steps]


def _eights(builder: Any, start: Any) -> list[Any]:
    """Return a block's numbers of eight bits in vectors of whole numbers."""
    wide, held = ir.VectorType(INT, LANES), ir.VectorType(BYTE, LANES)
    places = [builder.add(start, WORD(part)) for part in range(0, BLOCK, LANES)]
    loaded = [builder.load(builder.inttoptr(place, held.as_pointer()), align=1) for place in places]
    return [builder.sext(one, wide) for one in loaded]


def _fours(builder: Any, start: Any) -> list[Any]:
    """Return a block's numbers of four bits in vectors of whole numbers."""
    wide, held = ir.VectorType(INT, LANES), ir.VectorType(BYTE, LANES)
    places = [builder.add(start, WORD(part)) for part in range(0, BLOCK // 2, LANES)]
    pairs = [
        builder.zext(builder.load(builder.inttoptr(place, held.as_pointer()), align=1), wide)
        for place in places
    ]
    low = [builder.and_(pair, ir.Constant(wide, [15] * LANES)) for pair in pairs]
    high = [builder.lshr(pair, ir.Constant(wide, [4] * LANES)) for pair in pairs]
    return [builder.sub(one, ir.Constant(wide, [8] * LANES)) for one in low + high]


_tile_many, _tile_1 = _tile(_AT_ONCE), _tile(1)


@inner
def multiply(kind, address, x, y, first, last):  # type: ignore[no-untyped-def]
    """y = x Wᵀ for x (rows, width) and y (rows, height), each contiguous; the outputs from `first` to `last` only."""
    rows, width = x.shape
    height = y.shape[1]
    step = line(kind, width)
    given, made = x.ctypes.data, y.ctypes.data
    whole = rows - rows % _AT_ONCE
    for out in range(first, last):
        w, to = address + out * step, made + out * 4
        for row in range(0, whole, _AT_ONCE):
            _tile_many(kind, w, given + row * width * 4, to + row * height * 4, width, height)
        for row in range(whole, rows):
            _tile_1(kind, w, given + row * width * 4, to + row * height * 4, width, height)


@inner
def share(count, team):  # type: ignore[no-untyped-def]
    """Return the part of `count` things that is this thread's, from its first to before its last, in fours."""
    part, parts = team[0], team[1]
    fours = -(-count // 4)
    return min(count, fours * part // parts * 4), min(count, fours * (part + 1) // parts * 4)


def multiply_part(kind, address, x, y, out, team):  # type: ignore[no-untyped-def]
    """Leave in y this thread's part of x Wᵀ, and in `out` the same in its type.

    A team is which thread this is and how many they are.
    """
    first, last = share(y.shape[1], team)
    multiply(kind, address, x, y, first, last)
    for row in range(len(y)):
        for place in range(first, last):
            out[row, place] = narrow(y[row, place], out)


def write_part(kind, like, address, out, count):  # type: ignore[no-untyped-def]
    """Write out the numbers of so many blocks from an address on, to another, in the type of the array `like`."""
    _write_out(kind, like, address, out, count)
