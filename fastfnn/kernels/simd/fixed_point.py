"""Fixed-point numbers of three signed bytes, and their products with bytes, summed as integers (VNNI).

A number is digits of base 256 from -128 to 127, the first of which is the lowest, in the bytes of a 32-bit word whose
last byte is zero. One instruction multiplies four bytes of each word with four digits and adds all to a 32-bit sum: as
many products as four multiply-adds have, without a rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from fastfnn.kernels.simd.arithmetic import fma_twin
from fastfnn.kernels.simd.columns import joined, row_loader
from fastfnn.kernels.simd.grids import grid_parts, pack_grid, strided
from fastfnn.kernels.simd.transposes import interleaved
from fastfnn.kernels.simd.vectors import (
    INT32,
    LLVM_SCALARS,
    call_intrinsic,
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

LARGEST = 0x7F0000  # near the largest number that three digits can be, with room for an error of the factor
BASE = 256
MIDDLE = 0x808080  # what makes all digits positive
CURRENT_ROUNDING = 4
INT8, INT16 = ir.IntType(8), ir.IntType(16)


def _fixed_twin(x: Any, factors: Any, like: Any) -> Any:
    with np.errstate(all="ignore"):
        numbers = np.rint(np.nan_to_num(x * factors)).astype(np.int64)
    return ((numbers + MIDDLE ^ MIDDLE) & 0xFFFFFFFF).astype(like.dtype)


@operation(_fixed_twin)
def fixed_point(typing_context: Any, x: Any, factors: Any, like: Any) -> Any:
    """The digits of x * factors, to the nearest number, as words like `like`; any beyond `LARGEST` and for NaN."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        words = llvm_type(like)
        scaled = builder.fmul(arguments[0], arguments[1])
        every = [constant_vector(words, 0), ir.Constant(INT16, -1), INT32(CURRENT_ROUNDING)]
        numbers = call_intrinsic(builder, "llvm.x86.avx512.mask.cvtps2dq.512", words, [scaled, *every])
        middle = constant_vector(words, MIDDLE)
        return builder.xor(builder.add(numbers, middle), middle)

    return like(x, factors, like), codegen


def _bytes_together_twin(words: Any) -> Any:
    return words.view(np.uint8).reshape(-1, 4, 4).swapaxes(1, 2).reshape(-1).view(words.dtype)


@operation(_bytes_together_twin)
def bytes_together(typing_context: Any, words: Any) -> Any:
    """Of each four words: a word of their lowest bytes, one of the next ones, and so on."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        of_bytes = builder.bitcast(arguments[0], ir.VectorType(INT8, 4 * words.lanes))
        lanes = [first + 4 * i + byte for first in range(0, 4 * words.lanes, 16) for byte in range(4) for i in range(4)]
        return builder.bitcast(shuffled(builder, of_bytes, of_bytes, lanes), arguments[0].type)

    return words(words), codegen


@operation(lambda words: words.max())
def largest(typing_context: Any, words: Any) -> Any:
    """The largest lane of unsigned words."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return call_intrinsic(builder, f"llvm.vector.reduce.umax.v{words.lanes}i32", INT32, [arguments[0]])

    return words.dtype(words), codegen


def _dot_twin(x: Any, x_at: int, x_stride: int, y: Any, y_at: int, y_stride: int, grid: Any) -> Any:
    def dot(i: int, j: int, sums: Any) -> Any:
        of_bytes = x[x_at + i * x_stride :][: len(sums)].view(np.uint8).astype(np.int64).reshape(-1, 4)
        digits = y[y_at + j * y_stride :][:1].view(np.int8).astype(np.int64)
        return ((sums.astype(np.int64) + of_bytes @ digits) & 0xFFFFFFFF).astype(sums.dtype)

    return tuple(tuple(dot(i, j, v) for j, v in enumerate(row)) for i, row in enumerate(grid))


@operation(_dot_twin)
def dot_grid(typing_context: Any, x: Any, x_at: Any, x_stride: Any, y: Any, y_at: Any, y_stride: Any, grid: Any) -> Any:
    """Adds the products of four bytes of each word at x[x_at + i * x_stride] and four digits to vector (i, j).

    The digits are in the word y[y_at + j * y_stride].
    """
    words, rows, columns = llvm_type(grid.dtype.dtype), grid.count, grid.dtype.count

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x_data, x_at, x_stride, y_data, y_at, y_stride, sums = arguments
        tiles = [
            builder.load(pointer_to(context, builder, x, x_data, at, words), align=size_of(x.dtype))
            for at in strided(builder, x_at, x_stride, rows)
        ]
        parts, digits = grid_parts(builder, sums, grid), data_of(context, builder, y, y_data)
        for j, at in enumerate(strided(builder, y_at, y_stride, columns)):
            factor = filled(builder, builder.load(builder.gep(digits, [at])), words.count)
            for tile, row in zip(tiles, parts, strict=True):
                row[j] = call_intrinsic(builder, "llvm.x86.avx512.vpdpbusd.512", words, [row[j], tile, factor])
        return pack_grid(builder, parts)

    intp = types.intp
    return grid(x, intp, intp, y, intp, intp, grid), codegen


def _four_rows_twin(source: Any, starts: Any, first: int, distance: int, like: Any) -> Any:
    begins = [starts[first + i] + distance for i in range(4)]
    return np.stack([source[begin : begin + len(like)] for begin in begins], axis=1).reshape(-1).view(like.dtype)


@operation(_four_rows_twin)
def four_rows(typing_context: Any, source: Any, starts: Any, first: Any, distance: Any, like: Any) -> Any:
    """Of so many columns of bytes as `like` has lanes: a word of those of four rows, the first one's in the lowest.

    Row i is source[starts[first + i] + distance :].
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        load = row_loader(context, builder, source, starts, arguments)
        rows = [load(i, 0, ir.VectorType(INT8, like.lanes)) for i in range(4)]
        lanes = [row * like.lanes + column for column in range(like.lanes) for row in range(4)]
        together = joined(builder, rows)
        return builder.bitcast(shuffled(builder, together, together, lanes), llvm_type(like))

    intp = types.intp
    return like(source, starts, intp, intp, like), codegen


def _four_long_rows_twin(
    source: Any, starts: Any, first: int, distance: int, target: Any, to: int, stride: int, like: Any
) -> None:
    for i in range(4):
        words = _four_rows_twin(source, starts, first, distance + i * len(like), like)
        target[to + i * stride : to + i * stride + len(like)] = words


@operation(_four_long_rows_twin)
def store_four_rows(
    typing_context: Any,
    source: Any,
    starts: Any,
    first: Any,
    distance: Any,
    target: Any,
    to: Any,
    stride: Any,
    like: Any,
) -> Any:
    """Writes what `four_rows` returns for four times as many columns: vector i to target[to + i * stride]."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        load, words = row_loader(context, builder, source, starts, arguments), llvm_type(like)
        written, to, stride = arguments[4:7]
        vectors = interleaved(builder, [load(i, 0, ir.VectorType(INT8, 4 * like.lanes)) for i in range(4)])
        for vector, at in zip(vectors, strided(builder, to, stride, 4), strict=True):
            place = pointer_to(context, builder, target, written, at, words)
            builder.store(builder.bitcast(vector, words), place, align=size_of(target.dtype))
        return context.get_dummy_value()

    intp = types.intp
    return types.void(source, starts, intp, intp, target, intp, intp, like), codegen


def _add_sums_twin(
    lowest: Any, middle: Any, highest: Any, factors: Any, factors_at: int, z: Any, z_at: int, z_stride: int
) -> None:
    base = np.full(len(lowest[0][0]), BASE, z.dtype)
    for i, row in enumerate(zip(lowest, middle, highest, strict=True)):
        for j, digits in enumerate(zip(*row, strict=True)):
            low, mid, high = (x.view(np.int32).astype(z.dtype) for x in digits)
            place = slice(z_at + i * z_stride + j * len(low), z_at + i * z_stride + (j + 1) * len(low))
            number = fma_twin(fma_twin(high, base, mid), base, low)
            with np.errstate(invalid="ignore"):
                z[place] = fma_twin(number, np.full_like(number, factors[factors_at + j]), z[place])


@operation(_add_sums_twin)
def add_sums(
    typing_context: Any,
    lowest: Any,
    middle: Any,
    highest: Any,
    factors: Any,
    factors_at: Any,
    z: Any,
    z_at: Any,
    z_stride: Any,
) -> Any:
    """Adds the sums of products with the digits of fixed-point numbers, grids of signed integers, to vectors of floats.

    Vector (i, j), times factors[factors_at + j], to that at z[z_at + i * z_stride + j * lanes].
    """
    vector = ir.VectorType(LLVM_SCALARS[z.dtype], lowest.dtype.dtype.lanes)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        parts = [grid_parts(builder, grid, lowest) for grid in arguments[:3]]
        _, _, _, factors_data, factors_at, z_data, z_at, z_stride = arguments
        data, base = data_of(context, builder, factors, factors_data), constant_vector(vector, float(BASE))
        align, columns = size_of(z.dtype), lowest.dtype.count
        one, lanes = (ir.Constant(z_at.type, count) for count in (1, vector.count))
        rows = [strided(builder, at, lanes, columns) for at in strided(builder, z_at, z_stride, lowest.count)]
        for j, at in enumerate(strided(builder, factors_at, one, columns)):
            factor = filled(builder, builder.load(builder.gep(data, [at])), vector.count)
            for i, places in enumerate(rows):
                low, middle, high = (builder.sitofp(part[i][j], vector) for part in parts)
                number = multiply_add(builder, multiply_add(builder, high, base, middle), base, low)
                place = pointer_to(context, builder, z, z_data, places[j], vector)
                added = multiply_add(builder, number, factor, builder.load(place, align=align))
                builder.store(added, place, align=align)
        return context.get_dummy_value()

    intp = types.intp
    return types.void(lowest, middle, highest, factors, intp, z, intp, intp), codegen
