"""Blocks whose lanes are summed or exchanged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastfnn.kernels.simd.arithmetic import fma_twin, pairwise
from fastfnn.kernels.simd.grids import parts_of, strided
from fastfnn.kernels.simd.matrices import pair_of, paired_twin
from fastfnn.kernels.simd.memory import load_twin
from fastfnn.kernels.simd.vectors import (
    INT32,
    LLVM_SCALARS,
    constant_vector,
    data_of,
    llvm_type,
    multiply_add,
    operation,
    pointer_to,
    shuffled,
    size_of,
)

COLUMNS_TOGETHER = 16  # of `transpose_rows`


def _outer_twin(x: Any, x_offsets: Any, y: Any, y_offsets: Any, block: Any) -> Any:
    lanes = len(block[0])
    pairs = [(i, j) for i in x_offsets for j in y_offsets]
    return tuple(fma_twin(x[i : i + lanes], y[j : j + lanes], v) for (i, j), v in zip(pairs, block, strict=True))


@operation(_outer_twin)
def outer_fma(typing_context: Any, x: Any, x_offsets: Any, y: Any, y_offsets: Any, block: Any) -> Any:
    """Adds the product of the vectors at x_offsets[i] of `x` and y_offsets[j] of `y` to vector (i, j) of the block."""
    vector = block.dtype

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def loads(array_type: Any, array: Any, offsets: Any, count: int) -> list[Any]:
            pointers = [
                pointer_to(context, builder, array_type, array, builder.extract_value(offsets, i), llvm_type(vector))
                for i in range(count)
            ]
            return [builder.load(pointer, align=size_of(vector.dtype)) for pointer in pointers]

        xs = loads(x, arguments[0], arguments[1], x_offsets.count)
        ys = loads(y, arguments[2], arguments[3], y_offsets.count)
        parts = parts_of(builder, arguments[4], block.count)
        products = [(a, b) for a in xs for b in ys]
        return cgutils.pack_array(
            builder, [multiply_add(builder, a, b, part) for (a, b), part in zip(products, parts, strict=True)]
        )

    return block(x, x_offsets, y, y_offsets, block), codegen


def _butterfly(builder: Any, x: Any, y: Any, width: int) -> tuple[Any, Any]:
    """Swaps the odd groups of `width` lanes of x with the even ones of y."""
    lanes = x.type.count
    low = [i if i // width % 2 == 0 else lanes + i - width for i in range(lanes)]
    high = [i + width if i // width % 2 == 0 else lanes + i for i in range(lanes)]
    return shuffled(builder, x, y, low), shuffled(builder, x, y, high)


def transposed(builder: Any, vectors: list[Any]) -> list[Any]:
    """The transpose of a square block of registers, in log2(lanes) rounds of shuffles."""
    vectors = list(vectors)
    width = len(vectors) // 2
    while width:
        for i in range(len(vectors)):
            if i // width % 2 == 0:
                vectors[i], vectors[i + width] = _butterfly(builder, vectors[i], vectors[i + width], width)
        width //= 2
    return vectors


def _sums_twin(block: Any, array: Any, offset: int) -> None:
    for i, vector in enumerate(block):
        array[offset + i] = pairwise(vector)


@operation(_sums_twin)
def store_totals(typing_context: Any, block: Any, array: Any, offset: Any) -> Any:
    """array[offset + i] = total(vector i), for a block whose length is a multiple of the lanes.

    Summed by transposing as far as needed: n vectors of n lanes cost n - 1 additions instead of n log2(n).
    """
    vector = llvm_type(block.dtype)
    lanes = block.dtype.lanes

    def sums(builder: Any, vectors: list[Any]) -> Any:
        width = lanes // 2
        while width:
            half = len(vectors) // 2
            pairs = [_butterfly(builder, vectors[i], vectors[i + half], width) for i in range(half)]
            vectors = [builder.fadd(low, high) for low, high in pairs]
            width //= 2
        return vectors[0]

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        parts = parts_of(builder, arguments[0], block.count)
        start = pointer_to(context, builder, array, arguments[1], arguments[2], vector)
        for n, first in enumerate(range(0, block.count, lanes)):
            result = sums(builder, parts[first : first + lanes])
            builder.store(result, builder.gep(start, [INT32(n)]), align=size_of(array.dtype))
        return context.get_dummy_value()

    return types.void(block, array, types.intp), codegen


def _transpose_twin(
    source: Any, start: int, stride: int, rows: int, target: Any, to: int, to_stride: int, like: Any
) -> None:
    lanes = len(like)
    square = np.zeros((lanes, lanes), like.dtype)
    for i in range(min(rows, lanes)):
        square[i] = load_twin(source, start + i * stride, like)
    for i in range(lanes):
        target[to + i * to_stride : to + i * to_stride + lanes] = square[:, i]


@operation(_transpose_twin)
def transpose(
    typing_context: Any,
    source: Any,
    start: Any,
    stride: Any,
    rows: Any,
    target: Any,
    to: Any,
    to_stride: Any,
    like: Any,
) -> Any:
    """Transposes a square of as many rows and columns as `like` has lanes, from `source` to `target`.

    Row i begins at source[start + i * stride] for i < rows, which is at least 1, and is zeros behind; column i is
    written from target[to + i * to_stride].
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data, start, stride, count, written, to, to_stride, zero = arguments
        align = size_of(like.dtype)

        def loaded(i: int) -> Any:
            exists = builder.icmp_signed("<", ir.Constant(count.type, i), count)
            offset = builder.add(start, builder.mul(stride, ir.Constant(stride.type, i)))
            pointer = pointer_to(context, builder, source, data, builder.select(exists, offset, start), llvm_type(like))
            return builder.select(exists, builder.load(pointer, align=align), zero)

        columns = transposed(builder, [loaded(i) for i in range(like.lanes)])
        for column, at in zip(columns, strided(builder, to, to_stride, like.lanes), strict=True):
            builder.store(column, pointer_to(context, builder, target, written, at, llvm_type(like)), align=align)
        return context.get_dummy_value()

    intp = types.intp
    return types.void(source, intp, intp, intp, target, intp, intp, like), codegen


def _transpose_rows_twin(source: Any, starts: Any, first: int, distance: int, target: Any, to: int, like: Any) -> None:
    for i in range(len(like)):
        begin = starts[first + i] + distance
        row = source[begin : begin + COLUMNS_TOGETHER]
        target[to + i : to + i + COLUMNS_TOGETHER * len(like) : len(like)] = row


def _joined(builder: Any, vectors: list[Any]) -> Any:
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


def _columns_of_bytes(builder: Any, load: Any, like: ir.VectorType, first: int = 0) -> list[Any]:
    """Sixteen columns of bytes as numbers: transposed as 32-bit words, four by four, which are then taken apart."""
    rows = [load(i, first, ir.VectorType(INT32, 4)) for i in range(like.count)]
    squares = transposed(builder, [_joined(builder, rows[i::4]) for i in range(4)])
    return [builder.sitofp(part, like) for words in squares for part in _bytes_of_words(builder, words)]


def _columns_of_floats(builder: Any, load: Any, like: ir.VectorType) -> list[Any]:
    """Sixteen columns, square by square."""
    squares = range(0, COLUMNS_TOGETHER, like.count)
    return [
        column
        for distance in squares
        for column in transposed(builder, [load(i, distance, like) for i in range(like.count)])
    ]


@operation(_transpose_rows_twin)
def transpose_rows(
    typing_context: Any, source: Any, starts: Any, first: Any, distance: Any, target: Any, to: Any, like: Any
) -> Any:
    """Writes 16 columns of as many rows as `like` has lanes, one vector a column, in the dtype of `like`.

    Row i is source[starts[first + i] + distance :], of bytes or of values of that dtype. Columns are written from
    target[to] on, one after the other.
    """
    of_bytes = source.dtype == types.uint8
    if not of_bytes and source.dtype != like.dtype:
        return None

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        load = _row_loader(context, builder, source, starts, arguments)
        columns = (_columns_of_bytes if of_bytes else _columns_of_floats)(builder, load, llvm_type(like))
        _store_columns(context, builder, columns, target, arguments[4], arguments[5])
        return context.get_dummy_value()

    intp = types.intp
    return types.void(source, starts, intp, intp, target, intp, like), codegen


def _row_loader(context: Any, builder: Any, source: Any, starts: Any, arguments: Any) -> Callable[..., Any]:
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
        load = _row_loader(context, builder, source, starts, arguments)
        low, high = (_columns_of_bytes(builder, load, llvm_type(like), first) for first in (0, COLUMNS_TOGETHER))
        pairs = [pair_of(builder, x, y) for x, y in zip(low, high, strict=True)]
        _store_columns(context, builder, pairs, target, arguments[4], arguments[5])
        return context.get_dummy_value()

    intp = types.intp
    return types.void(source, starts, intp, intp, target, intp, like), codegen
