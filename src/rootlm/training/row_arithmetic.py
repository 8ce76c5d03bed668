"""What is done to rows of vectors at every step of training, in vector instructions.

A matrix is flat: row r begins at r · width, and `width` is a multiple of `LANES`; what a row does not need of its
width stays zero. `places` are numbers of rows. Rows are taken some at a time, so that the hidden vector is read once
for all of them. Nothing here is locked: workers that write the same row at the same time lose a little of one
another's work (Niu et al. 2011, Hogwild).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from rootlm.core.compiled import compiled
from rootlm.training.matrices import LANES

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

_CACHE_LINE = 64
_WORD, _INT, _FLOAT = ir.IntType(64), ir.IntType(32), ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, LANES)
_ZERO = ir.Constant(_VECTOR, [0.0] * LANES)


def _data(target: Any, builder: Any, kind: Any, value: Any) -> Any:
    """Return the pointer to an array's first element."""
    return target.make_array(kind)(target, builder, value).data


def _element(builder: Any, data: Any, place: Any) -> Any:
    return builder.load(builder.gep(data, [place]))


def _vector(builder: Any, data: Any, place: Any) -> Any:
    """Return the pointer to the vector that begins at a place."""
    return builder.bitcast(builder.gep(data, [place]), _VECTOR.as_pointer())


def _load(builder: Any, pointer: Any) -> Any:
    return builder.load(pointer, align=4)


def _fma(builder: Any, first: Any, second: Any, third: Any) -> Any:
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(_VECTOR, [_VECTOR] * 3), f"llvm.fma.v{LANES}f32"
    )
    return builder.call(function, [first, second, third])


def _total(builder: Any, vector: Any) -> Any:
    """Return the sum of a vector's numbers."""
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(_FLOAT, [_FLOAT, _VECTOR]), f"llvm.vector.reduce.fadd.v{LANES}f32"
    )
    return builder.call(function, [_FLOAT(-0.0), vector], fastmath=["reassoc"])


def _spread(builder: Any, value: Any) -> Any:
    """Return a vector with the same number everywhere."""
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, _INT(0))
    return builder.shuffle_vector(
        one, ir.Constant(_VECTOR, ir.Undefined), ir.Constant(ir.VectorType(_INT, LANES), [0] * LANES)
    )


def _starts(builder: Any, places: Any, first: Any, count: int, width: Any) -> list[Any]:
    """Return where the rows of `count` places from `first` on begin."""
    rows = [_element(builder, places, builder.add(first, _WORD(number))) for number in range(count)]
    return [builder.mul(row, width) for row in rows]


def _products(count: int) -> Callable[..., Any]:
    """Return the function that writes hidden · row for so many rows."""

    @intrinsic  # type: ignore[untyped-decorator]
    def products(
        context: Any, matrix: Any, places: Any, first: Any, hidden: Any, width: Any, out: Any
    ) -> Any:
        def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _, _, first, _, width, _ = arguments
            rows, numbers, inner, sums = (
                _data(target, builder, signature.args[place], arguments[place]) for place in (0, 1, 3, 5)
            )
            starts = _starts(builder, numbers, first, count, width)
            totals = [cgutils.alloca_once_value(builder, _ZERO) for _ in starts]
            for total in totals:
                builder.store(_ZERO, total)
            with cgutils.for_range_slice(builder, _WORD(0), width, _WORD(LANES), _WORD) as (at, _):
                value = _load(builder, _vector(builder, inner, at))
                for start, total in zip(starts, totals, strict=True):
                    row = _load(builder, _vector(builder, rows, builder.add(start, at)))
                    builder.store(_fma(builder, row, value, builder.load(total)), total)
            for number, total in enumerate(totals):
                place = builder.gep(sums, [builder.add(first, _WORD(number))])
                builder.store(_total(builder, builder.load(total)), place)
            return target.get_dummy_value()

        return types.void(matrix, places, types.int64, hidden, types.int64, out), generate

    return products  # type: ignore[no-any-return]


def _exchange(count: int) -> Callable[..., Any]:
    """Return the function that for so many rows adds step · hidden to the row and step · row to hidden."""

    @intrinsic  # type: ignore[untyped-decorator]
    def exchange(
        context: Any, matrix: Any, places: Any, first: Any, hidden: Any, out: Any, width: Any, steps: Any
    ) -> Any:
        def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            first, width = arguments[2], arguments[5]
            rows, numbers, inner, outer, sizes = (
                _data(target, builder, signature.args[place], arguments[place]) for place in (0, 1, 3, 4, 6)
            )
            starts = _starts(builder, numbers, first, count, width)
            steps = [
                _spread(builder, _element(builder, sizes, builder.add(first, _WORD(number))))
                for number in range(count)
            ]
            with cgutils.for_range_slice(builder, _WORD(0), width, _WORD(LANES), _WORD) as (at, _):
                value = _load(builder, _vector(builder, inner, at))
                into = _vector(builder, outer, at)
                total = _load(builder, into)
                for start, step in zip(starts, steps, strict=True):
                    pointer = _vector(builder, rows, builder.add(start, at))
                    row = _load(builder, pointer)
                    total = _fma(builder, step, row, total)
                    # Stored before the next is read: it may be the same row.
                    builder.store(_fma(builder, step, value, row), pointer, align=4)
                builder.store(total, into, align=4)
            return target.get_dummy_value()

        return types.void(matrix, places, types.int64, hidden, out, types.int64, steps), generate

    return exchange  # type: ignore[no-any-return]


def _gather(count: int) -> Callable[..., Any]:
    """Return the function that adds so many rows to hidden."""

    @intrinsic  # type: ignore[untyped-decorator]
    def gather(context: Any, matrix: Any, places: Any, first: Any, hidden: Any, width: Any) -> Any:
        def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            first, width = arguments[2], arguments[4]
            rows, numbers, inner = (
                _data(target, builder, signature.args[place], arguments[place]) for place in (0, 1, 3)
            )
            starts = _starts(builder, numbers, first, count, width)
            with cgutils.for_range_slice(builder, _WORD(0), width, _WORD(LANES), _WORD) as (at, _):
                into = _vector(builder, inner, at)
                total = _load(builder, into)
                for start in starts:
                    row = _load(builder, _vector(builder, rows, builder.add(start, at)))
                    total = builder.fadd(total, row)
                builder.store(total, into, align=4)
            return target.get_dummy_value()

        return types.void(matrix, places, types.int64, hidden, types.int64), generate

    return gather  # type: ignore[no-any-return]


def _scatter(count: int) -> Callable[..., Any]:
    """Return the function that adds a change to so many rows."""

    @intrinsic  # type: ignore[untyped-decorator]
    def scatter(context: Any, matrix: Any, places: Any, first: Any, change: Any, width: Any) -> Any:
        def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            first, width = arguments[2], arguments[4]
            rows, numbers, inner = (
                _data(target, builder, signature.args[place], arguments[place]) for place in (0, 1, 3)
            )
            starts = _starts(builder, numbers, first, count, width)
            with cgutils.for_range_slice(builder, _WORD(0), width, _WORD(LANES), _WORD) as (at, _):
                value = _load(builder, _vector(builder, inner, at))
                for start in starts:
                    pointer = _vector(builder, rows, builder.add(start, at))
                    # Stored before the next is read: it may be the same row.
                    builder.store(builder.fadd(_load(builder, pointer), value), pointer, align=4)
            return target.get_dummy_value()

        return types.void(matrix, places, types.int64, change, types.int64), generate

    return scatter  # type: ignore[no-any-return]


@intrinsic  # type: ignore[untyped-decorator]
def fetch(context: Any, matrix: Any, place: Any, width: Any) -> Any:
    """Ask for a row that will be needed soon."""

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows = _data(target, builder, signature.args[0], arguments[0])
        start = builder.mul(arguments[1], arguments[2])
        pointer = ir.IntType(8).as_pointer()
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [pointer, _INT, _INT, _INT]), "llvm.prefetch.p0i8"
        )
        with cgutils.for_range_slice(builder, _WORD(0), arguments[2], _WORD(_CACHE_LINE // 4), _WORD) as (
            at,
            _,
        ):
            address = builder.bitcast(builder.gep(rows, [builder.add(start, at)]), pointer)
            # To be written, to be kept, data.
            builder.call(function, [address, _INT(1), _INT(3), _INT(1)])
        return target.get_dummy_value()

    return types.void(matrix, types.int64, types.int64), generate


_products_1, _products_3, _products_6 = _products(1), _products(3), _products(6)
_exchange_1, _exchange_3, _exchange_6 = _exchange(1), _exchange(3), _exchange(6)
_gather_1, _gather_4 = _gather(1), _gather(4)
_scatter_1, _scatter_4 = _scatter(1), _scatter(4)


@compiled
def products(
    matrix: Floats, places: Ints, first: int, end: int, hidden: Floats, width: int, out: Floats
) -> None:
    """Write hidden · row of each place from `first` to `end` to `out`, at the same place."""
    while end - first >= 6:
        _products_6(matrix, places, first, hidden, width, out)
        first += 6
    while end - first >= 3:
        _products_3(matrix, places, first, hidden, width, out)
        first += 3
    while first < end:
        _products_1(matrix, places, first, hidden, width, out)
        first += 1


@compiled
def exchange(
    matrix: Floats,
    places: Ints,
    first: int,
    end: int,
    hidden: Floats,
    width: int,
    steps: Floats,
    held: Floats,
) -> None:
    """For each place add step · hidden to its row, and to hidden the sum of step · row.

    Both sides use what the other was before; `held` is room for that.
    """
    if end - first == 6:
        _exchange_6(matrix, places, first, hidden, hidden, width, steps)
        return
    for number in range(width):
        held[number] = hidden[number]
    while end - first >= 6:
        _exchange_6(matrix, places, first, held, hidden, width, steps)
        first += 6
    while end - first >= 3:
        _exchange_3(matrix, places, first, held, hidden, width, steps)
        first += 3
    while first < end:
        _exchange_1(matrix, places, first, held, hidden, width, steps)
        first += 1


@compiled
def mean(matrix: Floats, places: Ints, count: int, hidden: Floats, width: int) -> None:
    """Write the mean of the rows to hidden."""
    for number in range(width):
        hidden[number] = 0.0
    done = 0
    while count - done >= 4:
        _gather_4(matrix, places, done, hidden, width)
        done += 4
    while done < count:
        _gather_1(matrix, places, done, hidden, width)
        done += 1
    share = np.float32(1.0) / np.float32(count)
    for number in range(width):
        hidden[number] *= share


@compiled
def add_to_rows(matrix: Floats, places: Ints, count: int, change: Floats, width: int) -> None:
    """Add the change to each of the rows."""
    done = 0
    while count - done >= 4:
        _scatter_4(matrix, places, done, change, width)
        done += 4
    while done < count:
        _scatter_1(matrix, places, done, change, width)
        done += 1
