"""The vector instructions that compiled loops are written in: what LLVM has no word for in Python.

Each helper writes instructions with a builder of llvmlite's, for numbers as `layers.product_kernel` keeps them.
"""

from __future__ import annotations

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
WORD, BYTE, SHORT, INT, FLOAT = (
    *(ir.IntType(64), ir.IntType(8), ir.IntType(16), ir.IntType(32)),
    ir.FloatType(),
)
VECTOR = ir.VectorType(FLOAT, LANES)
_AHEAD = 4096 + 512
"""How many bytes on memory is asked for what comes: beyond the page, where the processor's own foresight ends."""


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
        return arguments[0] if value != types.uint16 else upper_half(builder, arguments[0], INT, FLOAT)

    return types.float32(value), generate


@intrinsic  # type: ignore[untyped-decorator]
def narrow(context: Any, value: Any, like: Any) -> Any:
    """Return float32 as the array `like` holds it: itself, or the bits of the nearest bfloat16, ties to even."""

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if signature.return_type != types.uint16:
            return arguments[0]
        bits = builder.bitcast(arguments[0], INT)
        odd = builder.and_(builder.lshr(bits, INT(16)), INT(1))
        rounded = builder.add(bits, builder.add(INT(0x7FFF), odd))
        # A NaN stays one: rounding could carry it to infinity.
        broken = builder.fcmp_unordered("uno", arguments[0], arguments[0])
        kept = builder.select(broken, builder.or_(bits, INT(0x400000)), rounded)
        return builder.trunc(builder.lshr(kept, INT(16)), SHORT)

    return like.dtype(value, like), generate


def step(builder: Any, start: Any, count: Any, size: int) -> Any:
    """Return the address `count` elements of `size` bytes further on."""
    return builder.add(start, builder.mul(count, WORD(size)))


def upper_half(builder: Any, bits: Any, whole: Any, number: Any) -> Any:
    """Return bfloat16 bits as float32, one or a vector of them."""
    shift = ir.Constant(whole, 16 if whole is INT else [16] * LANES)
    return builder.bitcast(builder.shl(builder.zext(bits, whole), shift), number)


def load(builder: Any, start: Any, at: Any, size: int, mask: Any) -> Any:
    """Return the `LANES` numbers from element `at` on as float32; those that the mask leaves out are 0."""
    kind = VECTOR if size == 4 else ir.VectorType(SHORT, LANES)
    place = builder.inttoptr(step(builder, start, at, size), kind.as_pointer())
    if mask is None:
        held = builder.load(place, align=size)
    else:
        name = f"llvm.masked.load.v{LANES}{'f32' if kind is VECTOR else 'i16'}.p0"
        signature = ir.FunctionType(kind, [kind.as_pointer(), INT, mask.type, kind])
        masked = cgutils.get_or_insert_function(builder.module, signature, name)
        held = builder.call(masked, [place, INT(size), mask, ir.Constant(kind, [0] * LANES)])
    return held if kind is VECTOR else upper_half(builder, held, ir.VectorType(INT, LANES), VECTOR)


def spread(builder: Any, value: Any, kind: Any) -> Any:
    """Return a vector that holds one value in every lane."""
    full: Any = ir.Constant(kind, ir.Undefined)
    for lane in range(LANES):
        full = builder.insert_element(full, value, INT(lane))
    return full


def first_lanes(builder: Any, count: Any) -> Any:
    """Return the mask of the first `count` lanes."""
    words = ir.VectorType(WORD, LANES)
    full = spread(builder, count, words)
    return builder.icmp_unsigned("<", ir.Constant(words, list(range(LANES))), full)


def fetch(builder: Any, start: Any, size: int) -> None:
    """Bring so many bytes nearer, some way on; beyond the end of what there is, nothing happens."""
    signature = ir.FunctionType(ir.VoidType(), [BYTE.as_pointer(), INT, INT, INT])
    prefetch = cgutils.get_or_insert_function(builder.module, signature, "llvm.prefetch.p0")
    for further in range(0, size, 64):
        place = builder.inttoptr(builder.add(start, WORD(_AHEAD + further)), BYTE.as_pointer())
        builder.call(prefetch, [place, INT(0), INT(3), INT(1)])  # to read, to keep near, data


def call(builder: Any, name: str, *values: Any) -> Any:
    """Call an operation of LLVM's on vectors."""
    signature = ir.FunctionType(VECTOR, [VECTOR] * len(values))
    return builder.call(
        cgutils.get_or_insert_function(builder.module, signature, f"llvm.{name}.v{LANES}f32"), values
    )


# Plain sums and products of what is compiled with `OPTIONS` may be put in another order, and in yet another where more
# vectors are multiplied. These may not.
def sum_of(builder: Any, one: Any, other: Any) -> Any:
    return call(builder, "fma", one, ir.Constant(VECTOR, [1.0] * LANES), other)


def product(builder: Any, one: Any, other: Any) -> Any:
    return call(builder, "fma", one, other, ir.Constant(VECTOR, [-0.0] * LANES))


def total(builder: Any, vector: Any) -> Any:
    """Return the sum of a vector's numbers, halves first."""
    signature = ir.FunctionType(FLOAT, [FLOAT, VECTOR])
    name = f"llvm.vector.reduce.fadd.v{LANES}f32"
    reduce = cgutils.get_or_insert_function(builder.module, signature, name)
    return builder.call(reduce, [FLOAT(-0.0), vector], fastmath=["reassoc"])


def nearest_upper_half(builder: Any, values: Any) -> Any:
    """Return a vector's numbers, none of them NaN, as the bits of the nearest bfloat16, ties to even."""
    wide = ir.VectorType(INT, LANES)
    bits = builder.bitcast(values, wide)
    odd = builder.and_(builder.lshr(bits, ir.Constant(wide, [16] * LANES)), ir.Constant(wide, [1] * LANES))
    rounded = builder.add(bits, builder.add(odd, ir.Constant(wide, [0x7FFF] * LANES)))
    return builder.trunc(builder.lshr(rounded, ir.Constant(wide, [16] * LANES)), ir.VectorType(SHORT, LANES))
