"""Columns of rows that lie anywhere: a vector has one column of as many rows as it has lanes.

Of bytes, four columns may be `packed` in one vector of 32-bit words. They are taken apart where they are multiplied:
beside multiply-adds, that takes next to no time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.imputils import impl_ret_borrowed

from fastfnn.kernels.simd.arithmetic import fma_twin
from fastfnn.kernels.simd.grids import grid_parts, pack_grid, strided
from fastfnn.kernels.simd.matrices import pair_of, paired_twin
from fastfnn.kernels.simd.memory import load_twin
from fastfnn.kernels.simd.transposes import transposed
from fastfnn.kernels.simd.vectors import (
    INT32,
    LLVM_SCALARS,
    constant_vector,
    data_of,
    filled,
    llvm_type,
    multiply_add,
    operation,
    pointer_to,
    shuffled,
    size_of,
)

COLUMNS_TOGETHER = 16  # of `transpose_rows`
PACKED = 4  # columns in a word


def _packed_twin(array: Any, packed: int) -> Any:
    return array.view(np.uint32) if packed else array


@operation(_packed_twin, prefer_literal=True)
def as_words(typing_context: Any, array: Any, packed: Any) -> Any:
    """The memory of an array as 32-bit words if `packed`, a literal, is not 0; else the array itself."""
    if not isinstance(packed, types.IntegerLiteral):
        return None
    result = types.CPointer(types.uint32) if packed.literal_value else array

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if not packed.literal_value:
            return impl_ret_borrowed(context, builder, array, arguments[0])
        return builder.bitcast(data_of(context, builder, array, arguments[0]), INT32.as_pointer())

    return result(array, packed), codegen


def _columns_of_vector(words: bool) -> int:
    return PACKED if words else 1


@operation(lambda x, vectors: vectors * _columns_of_vector(x.dtype == np.uint32))
def columns_of_vectors(typing_context: Any, x: Any, vectors: Any) -> Any:
    """How many columns so many vectors of x hold, packed if x has words."""
    in_a_vector = _columns_of_vector(x.dtype == types.uint32)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.mul(arguments[1], ir.Constant(ir.IntType(64), in_a_vector))

    return types.intp(x, types.intp), codegen


@operation(lambda x, count, like: count // _columns_of_vector(x.dtype == np.uint32) * len(like))
def size_of_columns(typing_context: Any, x: Any, count: Any, like: Any) -> Any:
    """How many elements of x so many columns of as many rows as `like` has lanes take, packed if x has words."""
    in_a_vector = _columns_of_vector(x.dtype == types.uint32)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (_, columns, _), kind = arguments, ir.IntType(64)
        vectors = builder.udiv(columns, ir.Constant(kind, in_a_vector))
        return builder.mul(vectors, ir.Constant(kind, like.lanes))

    return types.intp(x, types.intp, like), codegen


def joined(builder: Any, vectors: list[Any]) -> Any:
    """All vectors, one after the other, as one."""
    while len(vectors) > 1:
        lanes = list(range(2 * vectors[0].type.count))
        vectors = [shuffled(builder, x, y, lanes) for x, y in zip(vectors[::2], vectors[1::2], strict=True)]
    return vectors[0]


def _bytes_of_words(builder: Any, words: Any) -> list[Any]:
    """The four bytes of each 32-bit lane, lowest first, as numbers in lanes as wide."""
    count = words.type.count
    of_bytes = ir.VectorType(LLVM_SCALARS[types.uint8], 4 * count)
    zeros, parts = constant_vector(of_bytes, 0), builder.bitcast(words, of_bytes)

    def middle(number: int) -> Any:
        # One shuffle, which is done elsewhere in the processor than the shift and the mask of the outer ones.
        lanes = [at for i in range(count) for at in (4 * i + number, *[4 * count] * 3)]
        return builder.bitcast(shuffled(builder, parts, zeros, lanes), words.type)

    lowest = builder.and_(words, constant_vector(words.type, 255))
    return [lowest, middle(1), middle(2), builder.lshr(words, constant_vector(words.type, 24))]


def _words_of_bytes(builder: Any, load: Any, lanes: int, first: int = 0) -> list[Any]:
    """Sixteen columns of bytes as 32-bit words, each of which has four."""
    rows = [load(i, first, ir.VectorType(INT32, COLUMNS_TOGETHER // PACKED)) for i in range(lanes)]
    return transposed(builder, [joined(builder, rows[i::4]) for i in range(4)])


def _columns_of_bytes(builder: Any, load: Any, like: ir.VectorType, first: int = 0) -> list[Any]:
    """Sixteen columns of bytes as numbers: transposed as words, which are then taken apart."""
    words = _words_of_bytes(builder, load, like.count, first)
    return [builder.sitofp(part, like) for each in words for part in _bytes_of_words(builder, each)]


def _columns_of_floats(builder: Any, load: Any, like: ir.VectorType) -> list[Any]:
    """Sixteen columns, square by square."""
    squares = range(0, COLUMNS_TOGETHER, like.count)
    return [
        column
        for distance in squares
        for column in transposed(builder, [load(i, distance, like) for i in range(like.count)])
    ]


def _transpose_rows_twin(source: Any, starts: Any, first: int, distance: int, target: Any, to: int, like: Any) -> None:
    for i in range(len(like)):
        begin = starts[first + i] + distance
        row = source[begin : begin + COLUMNS_TOGETHER]
        if target.dtype == np.uint32:
            target[to + i : to + i + COLUMNS_TOGETHER // PACKED * len(like) : len(like)] = row.view(np.uint32)
        else:
            target[to + i : to + i + COLUMNS_TOGETHER * len(like) : len(like)] = row


@operation(_transpose_rows_twin)
def transpose_rows(
    typing_context: Any, source: Any, starts: Any, first: Any, distance: Any, target: Any, to: Any, like: Any
) -> Any:
    """Writes 16 columns of as many rows as `like` has lanes, one vector a column, in the dtype of `like`.

    Row i is source[starts[first + i] + distance :], of bytes or of values of that dtype. Columns are written from
    target[to] on, one after the other. Columns of bytes are packed where the target has words: four in each vector, the
    first one's in the lowest bytes.
    """
    of_bytes, packed = source.dtype == types.uint8, target.dtype == types.uint32
    if (packed and not of_bytes) or (not of_bytes and source.dtype != like.dtype):
        return None

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        load, vector = row_loader(context, builder, source, starts, arguments), llvm_type(like)
        if packed:
            columns = _words_of_bytes(builder, load, like.lanes)
        else:
            columns = (_columns_of_bytes if of_bytes else _columns_of_floats)(builder, load, vector)
        _store_columns(context, builder, columns, target, arguments[4], arguments[5])
        return context.get_dummy_value()

    intp = types.intp
    return types.void(source, starts, intp, intp, target, intp, like), codegen


def _are_long(dtype: Any, lanes: int) -> bool:
    """Whether columns are packed, and 64 of them are a square of words of as many rows as there are lanes."""
    return bool(dtype in (np.uint32, types.uint32)) and lanes == COLUMNS_TOGETHER


@operation(lambda x, like: x if _are_long(x.dtype, len(like)) else None)
def long_words(typing_context: Any, x: Any, like: Any) -> Any:
    """Memory for columns where `transpose_long_rows` may write them, else None."""
    result = x if _are_long(x.dtype, like.lanes) else types.none

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if result is types.none:
            return context.get_dummy_value()
        return impl_ret_borrowed(context, builder, x, arguments[0])

    return result(x, like), codegen


def _transpose_long_twin(source: Any, starts: Any, first: int, distance: int, target: Any, to: int, like: Any) -> None:
    for k in range(PACKED):
        columns_to = to + k * COLUMNS_TOGETHER // PACKED * len(like)
        _transpose_rows_twin(source, starts, first, distance + k * COLUMNS_TOGETHER, target, columns_to, like)


@operation(_transpose_long_twin)
def transpose_long_rows(
    typing_context: Any, source: Any, starts: Any, first: Any, distance: Any, target: Any, to: Any, like: Any
) -> Any:
    """Writes 64 columns of bytes, packed, as `transpose_rows` writes 16, with fewer shuffles, of as many rows."""
    if source.dtype != types.uint8 or not _are_long(target.dtype, like.lanes):
        return None

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        load = row_loader(context, builder, source, starts, arguments)
        words = ir.VectorType(INT32, COLUMNS_TOGETHER)
        columns = transposed(builder, [load(i, 0, words) for i in range(like.lanes)])
        _store_columns(context, builder, columns, target, arguments[4], arguments[5])
        return context.get_dummy_value()

    intp = types.intp
    return types.void(source, starts, intp, intp, target, intp, like), codegen


def _put_twin(value: Any, target: Any, to: int, column: int, row: int, like: Any) -> None:
    if target.dtype == np.uint32:
        word = to + column // PACKED * len(like) + row
        target.view(np.uint8)[PACKED * word + column % PACKED] = value
    else:
        target[to + column * len(like) + row] = value


@operation(_put_twin)
def put_in_column(typing_context: Any, value: Any, target: Any, to: Any, column: Any, row: Any, like: Any) -> Any:
    """Writes the value of one row in one column, as `transpose_rows` would."""
    packed = target.dtype == types.uint32

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number, written, to, column, row, _ = arguments
        data, place = data_of(context, builder, target, written), ir.IntType(64)

        def of(count: int) -> Any:
            return ir.Constant(place, count)

        if packed:
            vector = builder.udiv(column, of(PACKED))
            word = builder.add(to, builder.add(builder.mul(vector, of(like.lanes)), row))
            at = builder.add(builder.mul(word, of(PACKED)), builder.and_(column, of(PACKED - 1)))
            stored = context.cast(builder, number, value, types.uint8)
            builder.store(stored, builder.gep(builder.bitcast(data, ir.IntType(8).as_pointer()), [at]))
        else:
            at = builder.add(to, builder.add(builder.mul(column, of(like.lanes)), row))
            stored = context.cast(builder, number, value, target.dtype)
            builder.store(stored, builder.gep(data, [at]))
        return context.get_dummy_value()

    intp = types.intp
    return types.void(value, target, intp, intp, intp, like), codegen


def _fma_columns_twin(
    x: Any, x_at: int, x_stride: int, y: Any, y_at: int, y_step: int, y_stride: int, grid: Any
) -> Any:
    lanes = len(grid[0][0])

    def column(at: int, k: int, like: Any) -> Any:
        if x.dtype == np.uint32:
            return (x[at : at + lanes] >> np.uint32(8 * k) & 255).astype(like.dtype)
        return load_twin(x, at + k * lanes, like)

    for k in range(PACKED):
        factors = [y[y_at + k * y_step + j * y_stride] for j in range(len(grid[0]))]
        grid = tuple(
            tuple(
                fma_twin(column(x_at + i * x_stride, k, v), np.full_like(v, factor), v)
                for v, factor in zip(row, factors, strict=True)
            )
            for i, row in enumerate(grid)
        )
    return grid


@operation(_fma_columns_twin)
def fma_columns(
    typing_context: Any, x: Any, x_at: Any, x_stride: Any, y: Any, y_at: Any, y_step: Any, y_stride: Any, grid: Any
) -> Any:
    """Adds products of four columns, one after the other: column k of tile i times y[y_at + k * y_step + j * y_stride].

    To vector (i, j) of the grid. The columns of tile i are where `transpose_rows` has written them, packed or not, from
    x[x_at + i * x_stride] on.
    """
    vector, rows, columns = llvm_type(grid.dtype.dtype), grid.count, grid.dtype.count
    packed = x.dtype == types.uint32

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x_data, x_at, x_stride, y_data, y_at, y_step, y_stride, sums = arguments

        def loaded(at: Any, kind: ir.VectorType) -> Any:
            return builder.load(pointer_to(context, builder, x, x_data, at, kind), align=size_of(x.dtype))

        def columns_of(at: Any) -> Callable[[int], Any]:
            if packed:
                parts = _bytes_of_words(builder, loaded(at, ir.VectorType(INT32, vector.count)))
                return lambda k: builder.sitofp(parts[k], vector)
            places = strided(builder, at, ir.Constant(at.type, vector.count), PACKED)
            return lambda k: loaded(places[k], vector)

        tiles = [columns_of(at) for at in strided(builder, x_at, x_stride, rows)]
        parts, factors = grid_parts(builder, sums, grid), data_of(context, builder, y, y_data)
        for k, first in enumerate(strided(builder, y_at, y_step, PACKED)):
            columns_now = [column(k) for column in tiles]
            for j, at in enumerate(strided(builder, first, y_stride, columns)):
                # Read where it is used: sums, columns and one factor are all that there are registers for.
                factor = filled(builder, builder.load(builder.gep(factors, [at])), vector.count)
                for column, row in zip(columns_now, parts, strict=True):
                    row[j] = multiply_add(builder, column, factor, row[j])
        return pack_grid(builder, parts)

    intp = types.intp
    return grid(x, intp, intp, y, intp, intp, intp, grid), codegen


def row_loader(context: Any, builder: Any, source: Any, starts: Any, arguments: Any) -> Callable[..., Any]:
    """What loads a vector of row i, some columns behind the distance; the arguments are those of `transpose_rows`."""
    data, places, first, distance = arguments[:4]
    begins = data_of(context, builder, starts, places)

    def load(i: int, columns: int, vector: ir.VectorType) -> Any:
        start = builder.load(builder.gep(begins, [builder.add(first, ir.Constant(first.type, i))]))
        offset = builder.add(builder.add(start, distance), ir.Constant(start.type, columns))
        return builder.load(pointer_to(context, builder, source, data, offset, vector), align=size_of(source.dtype))

    return load


def _store_columns(context: Any, builder: Any, columns: list[Any], target: Any, written: Any, to: Any) -> None:
    """Stores vectors one after the other."""
    step = ir.Constant(to.type, columns[0].type.count)
    for column, at in zip(columns, strided(builder, to, step, len(columns)), strict=True):
        pointer = pointer_to(context, builder, target, written, at, column.type)
        builder.store(column, pointer, align=size_of(target.dtype))


def _transpose_pairs_twin(source: Any, starts: Any, first: int, distance: int, target: Any, to: int, like: Any) -> None:
    halves = np.zeros((2, COLUMNS_TOGETHER * len(like)), like.dtype)
    for i, half in enumerate(halves):
        _transpose_rows_twin(source, starts, first, distance + i * COLUMNS_TOGETHER, half, 0, like)
    target[to : to + len(halves[0])] = paired_twin(*halves)


@operation(_transpose_pairs_twin)
def transpose_pairs(
    typing_context: Any, source: Any, starts: Any, first: Any, distance: Any, target: Any, to: Any, like: Any
) -> Any:
    """Writes 32 columns of bytes of as many rows as `like` has lanes, as `paired` columns k and k + 16.

    Row i is source[starts[first + i] + distance :]. Pairs of columns are written one after the other.
    """
    if source.dtype != types.uint8 or like.dtype != types.float32:
        return None

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        load = row_loader(context, builder, source, starts, arguments)
        low, high = (_columns_of_bytes(builder, load, llvm_type(like), first) for first in (0, COLUMNS_TOGETHER))
        pairs = [pair_of(builder, x, y) for x, y in zip(low, high, strict=True)]
        _store_columns(context, builder, pairs, target, arguments[4], arguments[5])
        return context.get_dummy_value()

    intp = types.intp
    return types.void(source, starts, intp, intp, target, intp, like), codegen
