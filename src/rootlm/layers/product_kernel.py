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

from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

# No assumption about infinities and NaN, and no error for ÷ 0, so a broken model shows as it would elsewhere.
OPTIONS = {"fastmath": {"reassoc", "contract", "nsz", "arcp"}, "nogil": True, "error_model": "numpy"}
inner = njit(**OPTIONS)

_FEATURES = binding.get_host_cpu_features()
LANES = 16 if _FEATURES.get("avx512f") else 8 if _FEATURES.get("avx2") else 4
"""Float32 numbers in one register of this processor."""
BLOCK = 32
"""Numbers that share a scale."""
_CHAINS = max(4, BLOCK // LANES)
"""Vectors among which the terms of a sum are dealt out: an addition need not wait for the last."""
_AT_ONCE = 4 if LANES == 16 else 2
"""Vectors multiplied at once, each with its chains in registers."""
_AHEAD = 4096 + 512
"""How many bytes on memory is asked for what comes: beyond the page, where the processor's own foresight ends."""
_WORD, _BYTE, _SHORT, _INT, _FLOAT = (
    *(ir.IntType(64), ir.IntType(8), ir.IntType(16), ir.IntType(32)),
    ir.FloatType(),
)
_VECTOR = ir.VectorType(_FLOAT, LANES)
_SIZES = {types.float32: 4, types.uint16: 2}
_BLOCK_SIZES = {types.int8: 2 + BLOCK, types.uint8: 2 + BLOCK // 2}


@intrinsic  # type: ignore[untyped-decorator]
def pointer(context: Any, address: Any, kind: Any) -> Any:
    """Return the address as a pointer to elements of the array `kind`."""
    signature = types.CPointer(kind.dtype)(address, kind)

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], target.get_value_type(signature.return_type))

    return signature, generate


@intrinsic  # type: ignore[untyped-decorator]
def widen(context: Any, value: Any) -> Any:
    """Return float32: bfloat16 bits are its upper half."""

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return arguments[0] if value != types.uint16 else _upper_half(builder, arguments[0], _INT, _FLOAT)

    return types.float32(value), generate


@intrinsic  # type: ignore[untyped-decorator]
def narrow(context: Any, value: Any, like: Any) -> Any:
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
        return builder.trunc(builder.lshr(kept, _INT(16)), _SHORT)

    return like.dtype(value, like), generate


@intrinsic  # type: ignore[untyped-decorator]
def line(context: Any, kind: Any, width: Any) -> Any:
    """Return the bytes of a row of so many numbers."""

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        size = _BLOCK_SIZES.get(kind.dtype)
        if size is None:
            return builder.mul(arguments[1], _WORD(_SIZES[kind.dtype]))
        return builder.mul(builder.udiv(arguments[1], _WORD(BLOCK)), _WORD(size))

    return types.int64(kind, types.int64), generate


class _Sums:
    """The sums of one row of W with some vectors, while they are made."""

    def __init__(self, builder: Any, inputs: list[Any]) -> None:
        zero = ir.Constant(_VECTOR, [0.0] * LANES)
        self.builder, self.inputs = builder, inputs
        self.chains = [[cgutils.alloca_once_value(builder, zero) for _ in range(_CHAINS)] for _ in inputs]

    def add(self, chain: int, weight: Any, at: Any, mask: Any = None) -> None:
        """Multiply a vector of weights, those from element `at` on, with each input's."""
        for start, chains in zip(self.inputs, self.chains, strict=True):
            given = _load(self.builder, start, at, 4, mask)
            total = self.builder.load(chains[chain])
            self.builder.store(_call(self.builder, "fma", weight, given, total), chains[chain])

    def totals(self) -> Iterator[Any]:
        """Yield the finished sum of each input: chains first, halves next."""
        for chains in self.chains:
            held = [self.builder.load(chain) for chain in chains]
            while len(held) > 1:
                half = len(held) // 2
                held = [_sum(self.builder, *pair) for pair in zip(held[:half], held[half:], strict=True)]
            yield _total(self.builder, held[0])


def _tile(rows: int) -> Callable[..., Any]:
    """Return the function y[r, o] = Σᵢ w[o, i] x[r, i] for one row of W and so many of x."""

    @intrinsic  # type: ignore[untyped-decorator]
    def tile(context: Any, kind: Any, w: Any, x: Any, y: Any, width: Any, height: Any) -> Any:
        """Take the addresses of w (width), x (rows, width) and of y's first element, `height` to a row."""
        add_all = _add_blocks if kind.dtype in _BLOCK_SIZES else _add_numbers

        def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _, w, x, y, width, height = arguments
            sums = _Sums(builder, [_step(builder, x, width, row * 4) for row in range(rows)])
            add_all(builder, kind.dtype, w, width, sums)
            for row, total in enumerate(sums.totals()):
                place = builder.inttoptr(_step(builder, y, height, row * 4), _FLOAT.as_pointer())
                builder.store(total, place)
            return target.get_dummy_value()

        return types.void(kind, *[types.intp] * 5), generate

    return tile  # type: ignore[no-any-return]


def _add_numbers(builder: Any, dtype: Any, w: Any, width: Any, sums: _Sums) -> None:
    """Add the products of a row of plain numbers."""
    size = _SIZES[dtype]

    def add(chain: int, at: Any, mask: Any = None) -> None:
        sums.add(chain, _load(builder, w, at, size, mask), at, mask)

    whole = builder.udiv(width, _WORD(LANES))
    with cgutils.for_range(builder, builder.udiv(whole, _WORD(_CHAINS))) as loop:
        start = builder.mul(loop.index, _WORD(_CHAINS * LANES))
        _fetch(builder, _step(builder, w, start, size), _CHAINS * LANES * size)
        for chain in range(_CHAINS):
            add(chain, builder.add(start, _WORD(chain * LANES)))
    rest = builder.urem(whole, _WORD(_CHAINS))
    start = builder.mul(builder.sub(whole, rest), _WORD(LANES))
    for chain in range(_CHAINS - 1):
        with builder.if_then(builder.icmp_unsigned(">", rest, _WORD(chain))):
            add(chain, builder.add(start, _WORD(chain * LANES)))
    few = builder.urem(width, _WORD(LANES))
    with builder.if_then(builder.icmp_unsigned("!=", few, _WORD(0))):
        add(_CHAINS - 1, builder.sub(width, few), _first(builder, few))


def _add_blocks(builder: Any, dtype: Any, w: Any, width: Any, sums: _Sums) -> None:
    """Add the products of a row of blocks."""
    size, vectors = _BLOCK_SIZES[dtype], BLOCK // LANES
    together = _CHAINS // vectors

    def add(number: Any, first: int) -> None:
        at = builder.mul(number, _WORD(BLOCK))
        for part, weight in enumerate(_block(builder, dtype, _step(builder, w, number, size))):
            sums.add(first + part, weight, builder.add(at, _WORD(part * LANES)))

    count = builder.udiv(width, _WORD(BLOCK))
    with cgutils.for_range(builder, builder.udiv(count, _WORD(together))) as loop:
        number = builder.mul(loop.index, _WORD(together))
        _fetch(builder, _step(builder, w, number, size), together * size)
        for one in range(together):
            add(builder.add(number, _WORD(one)), one * vectors)
    if together > 1:
        assert together == 2
        with builder.if_then(builder.icmp_unsigned("!=", builder.urem(count, _WORD(2)), _WORD(0))):
            add(builder.sub(count, _WORD(1)), 0)


@intrinsic  # type: ignore[untyped-decorator]
def _write_out(context: Any, kind: Any, like: Any, blocks: Any, out: Any, count: Any) -> Any:
    """Write the numbers of so many blocks as the array `like` holds them, float32 or bfloat16 bits."""
    size = _SIZES[like.dtype]

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, _, blocks, out, count = arguments
        with cgutils.for_range(builder, count) as loop:
            start = _step(builder, blocks, loop.index, _BLOCK_SIZES[kind.dtype])
            to = _step(builder, out, loop.index, BLOCK * size)
            for part, values in enumerate(_block(builder, kind.dtype, start)):
                held = values if size == 4 else _nearest_upper_half(builder, values)
                place = builder.add(to, _WORD(part * LANES * size))
                builder.store(held, builder.inttoptr(place, held.type.as_pointer()), align=size)
        return target.get_dummy_value()

    return types.void(kind, like, *[types.intp] * 3), generate


def _block(builder: Any, dtype: Any, start: Any) -> list[Any]:
    """Return the numbers of the block at an address, in vectors of float32."""
    half = builder.load(builder.inttoptr(start, _SHORT.as_pointer()), align=2)
    scale = builder.fpext(builder.bitcast(half, ir.HalfType()), _FLOAT)
    spread = _spread(builder, scale, _VECTOR)
    steps = (_eights if dtype is types.int8 else _fours)(builder, builder.add(start, _WORD(2)))
    return [_product(builder, builder.sitofp(one, _VECTOR), spread) for one in steps]


def _nearest_upper_half(builder: Any, values: Any) -> Any:
    """Return a vector's numbers, none of them NaN, as the bits of the nearest bfloat16, ties to even."""
    wide = ir.VectorType(_INT, LANES)
    bits = builder.bitcast(values, wide)
    odd = builder.and_(builder.lshr(bits, ir.Constant(wide, [16] * LANES)), ir.Constant(wide, [1] * LANES))
    rounded = builder.add(bits, builder.add(odd, ir.Constant(wide, [0x7FFF] * LANES)))
    return builder.trunc(builder.lshr(rounded, ir.Constant(wide, [16] * LANES)), ir.VectorType(_SHORT, LANES))


def _eights(builder: Any, start: Any) -> list[Any]:
    """Return a block's numbers of eight bits in vectors of whole numbers."""
    wide, held = ir.VectorType(_INT, LANES), ir.VectorType(_BYTE, LANES)
    places = [builder.add(start, _WORD(part)) for part in range(0, BLOCK, LANES)]
    loaded = [builder.load(builder.inttoptr(place, held.as_pointer()), align=1) for place in places]
    return [builder.sext(one, wide) for one in loaded]


def _fours(builder: Any, start: Any) -> list[Any]:
    """Return a block's numbers of four bits in vectors of whole numbers."""
    wide, held = ir.VectorType(_INT, LANES), ir.VectorType(_BYTE, LANES)
    places = [builder.add(start, _WORD(part)) for part in range(0, BLOCK // 2, LANES)]
    pairs = [
        builder.zext(builder.load(builder.inttoptr(place, held.as_pointer()), align=1), wide)
        for place in places
    ]
    low = [builder.and_(pair, ir.Constant(wide, [15] * LANES)) for pair in pairs]
    high = [builder.lshr(pair, ir.Constant(wide, [4] * LANES)) for pair in pairs]
    return [builder.sub(one, ir.Constant(wide, [8] * LANES)) for one in low + high]


def _step(builder: Any, start: Any, count: Any, size: int) -> Any:
    """Return the address `count` elements of `size` bytes further on."""
    return builder.add(start, builder.mul(count, _WORD(size)))


def _upper_half(builder: Any, bits: Any, whole: Any, number: Any) -> Any:
    """Return bfloat16 bits as float32, one or a vector of them."""
    shift = ir.Constant(whole, 16 if whole is _INT else [16] * LANES)
    return builder.bitcast(builder.shl(builder.zext(bits, whole), shift), number)


def _load(builder: Any, start: Any, at: Any, size: int, mask: Any) -> Any:
    """Return the `LANES` numbers from element `at` on as float32; those that the mask leaves out are 0."""
    kind = _VECTOR if size == 4 else ir.VectorType(_SHORT, LANES)
    place = builder.inttoptr(_step(builder, start, at, size), kind.as_pointer())
    if mask is None:
        held = builder.load(place, align=size)
    else:
        name = f"llvm.masked.load.v{LANES}{'f32' if kind is _VECTOR else 'i16'}.p0"
        signature = ir.FunctionType(kind, [kind.as_pointer(), _INT, mask.type, kind])
        masked = cgutils.get_or_insert_function(builder.module, signature, name)
        held = builder.call(masked, [place, _INT(size), mask, ir.Constant(kind, [0] * LANES)])
    return held if kind is _VECTOR else _upper_half(builder, held, ir.VectorType(_INT, LANES), _VECTOR)


def _spread(builder: Any, value: Any, kind: Any) -> Any:
    """Return a vector that holds one value in every lane."""
    spread: Any = ir.Constant(kind, ir.Undefined)
    for lane in range(LANES):
        spread = builder.insert_element(spread, value, _INT(lane))
    return spread


def _first(builder: Any, count: Any) -> Any:
    """Return the mask of the first `count` lanes."""
    words = ir.VectorType(_WORD, LANES)
    spread = _spread(builder, count, words)
    return builder.icmp_unsigned("<", ir.Constant(words, list(range(LANES))), spread)


def _fetch(builder: Any, start: Any, size: int) -> None:
    """Bring so many bytes nearer, some way on; beyond the end of what there is, nothing happens."""
    signature = ir.FunctionType(ir.VoidType(), [_BYTE.as_pointer(), _INT, _INT, _INT])
    prefetch = cgutils.get_or_insert_function(builder.module, signature, "llvm.prefetch.p0")
    for further in range(0, size, 64):
        place = builder.inttoptr(builder.add(start, _WORD(_AHEAD + further)), _BYTE.as_pointer())
        builder.call(prefetch, [place, _INT(0), _INT(3), _INT(1)])  # to read, to keep near, data


def _call(builder: Any, name: str, *values: Any) -> Any:
    """Call an operation of LLVM's on vectors."""
    signature = ir.FunctionType(_VECTOR, [_VECTOR] * len(values))
    return builder.call(
        cgutils.get_or_insert_function(builder.module, signature, f"llvm.{name}.v{LANES}f32"), values
    )


# Plain sums and products of what is compiled with `OPTIONS` may be put in another order, and in yet another where more
# vectors are multiplied. These may not.
def _sum(builder: Any, one: Any, other: Any) -> Any:
    return _call(builder, "fma", one, ir.Constant(_VECTOR, [1.0] * LANES), other)


def _product(builder: Any, one: Any, other: Any) -> Any:
    return _call(builder, "fma", one, other, ir.Constant(_VECTOR, [-0.0] * LANES))


def _total(builder: Any, vector: Any) -> Any:
    """Return the sum of a vector's numbers, halves first."""
    signature = ir.FunctionType(_FLOAT, [_FLOAT, _VECTOR])
    name = f"llvm.vector.reduce.fadd.v{LANES}f32"
    reduce = cgutils.get_or_insert_function(builder.module, signature, name)
    return builder.call(reduce, [_FLOAT(-0.0), vector], fastmath=["reassoc"])


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


def multiply_part(kind, address, x, y, team):  # type: ignore[no-untyped-def]
    """Leave in y this thread's part of x Wᵀ; a team is which thread this is and how many they are."""
    first, last = share(y.shape[1], team)
    multiply(kind, address, x, y, first, last)


def write_part(kind, like, address, out, count):  # type: ignore[no-untyped-def]
    """Write out the numbers of so many blocks from an address on, to another, in the type of the array `like`."""
    _write_out(kind, like, address, out, count)
