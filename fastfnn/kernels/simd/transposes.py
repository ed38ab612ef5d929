"""Blocks whose lanes are summed or exchanged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastfnn.kernels.simd.arithmetic import fma_twin, pairwise
from fastfnn.kernels.simd.grids import parts_of, strided
from fastfnn.kernels.simd.memory import load_twin
from fastfnn.kernels.simd.vectors import (
    INT32,
    llvm_type,
    multiply_add,
    operation,
    pointer_to,
    shuffled,
    size_of,
)

GROUP_BITS = 128


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


def _lanes_of_group(vector: ir.VectorType) -> int:
    """How many lanes 16 bytes have, which is what most shuffles stay within."""
    bits = {ir.DoubleType(): 64, ir.FloatType(): 32}.get(vector.element) or vector.element.width
    return int(GROUP_BITS // bits)


def _zipped(builder: Any, pair: Sequence[Any], width: int) -> list[Any]:
    """Groups of `width` lanes of two vectors in turn: of the lower half of each 16 bytes, and of the upper one."""
    (x, y), vector = pair, pair[0].type
    lanes, together = vector.count, _lanes_of_group(vector)
    half = together // 2
    result = []
    for upper in (0, half):
        starts = [first + upper + k for first in range(0, lanes, together) for k in range(0, half, width)]
        chosen = [start + source + i for start in starts for source in (0, lanes) for i in range(width)]
        result.append(shuffled(builder, x, y, chosen))
    return result


def _transposed_group(builder: Any, vectors: list[Any]) -> list[Any]:
    """The transpose of each square of as many vectors as 16 bytes have lanes."""
    if len(vectors) == 2:
        return _zipped(builder, vectors, 1)
    first, second = _zipped(builder, vectors[:2], 1), _zipped(builder, vectors[2:], 1)
    return [column for pair in zip(first, second, strict=True) for column in _zipped(builder, pair, 2)]


def transposed(builder: Any, vectors: list[Any]) -> list[Any]:
    """The transpose of a square block of registers, in log2(lanes) rounds of shuffles.

    Groups of 16 bytes are exchanged first. Within these, lanes are taken in turn: unlike an exchange, processors do
    that without a table of lanes, which would have to be copied before each use.
    """
    vectors, together = list(vectors), _lanes_of_group(vectors[0].type)
    width = len(vectors) // 2
    while width >= together:
        for i in range(len(vectors)):
            if i // width % 2 == 0:
                vectors[i], vectors[i + width] = _butterfly(builder, vectors[i], vectors[i + width], width)
        width //= 2
    groups = [vectors[i : i + together] for i in range(0, len(vectors), together)]
    return [column for group in groups for column in _transposed_group(builder, group)]


def interleaved(builder: Any, rows: list[Any]) -> list[Any]:
    """The bytes of four rows in turn: vector i has those of the i-th sixteen bytes of each row.

    Within groups of 16 bytes first, as words of which those groups are exchanged then.
    """
    vectors, group = _transposed_group(builder, rows), _lanes_of_group(rows[0].type)
    for width in (2, 1):
        for i in range(len(vectors)):
            if i // width % 2 == 0:
                vectors[i], vectors[i + width] = _butterfly(builder, vectors[i], vectors[i + width], width * group)
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
