"""Tuples of vectors.

A tuple of vectors of one type is a block of registers, a tuple of such blocks a grid: grid[i][j] is the vector in row
i and column j. Their lengths are part of their types, so these are unrolled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils

from fastfnn.kernels.simd.arithmetic import fma_twin
from fastfnn.kernels.simd.memory import load_twin, store_twin, vector_at
from fastfnn.kernels.simd.vectors import (
    constant_vector,
    data_of,
    filled,
    llvm_type,
    multiply_add,
    operation,
    pointer_to,
    size_of,
)


@operation(lambda item, count: (item,) * count, prefer_literal=True)
def repeat(typing_context: Any, item: Any, count: Any) -> Any:
    """A tuple of `count`, a literal, copies of a vector: a block; or of a block: a grid."""
    if not isinstance(count, types.IntegerLiteral):
        return None
    copies = count.literal_value

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return cgutils.pack_array(builder, [arguments[0]] * copies)

    return types.UniTuple(item, copies)(item, count), codegen


def parts_of(builder: Any, block: Any, count: int) -> list[Any]:
    """The vectors of a block, or the blocks of a grid."""
    return [builder.extract_value(block, i) for i in range(count)]


def grid_parts(builder: Any, grid: Any, kind: Any) -> list[list[Any]]:
    """The vectors of a grid of this type, row by row."""
    return [parts_of(builder, row, kind.dtype.count) for row in parts_of(builder, grid, kind.count)]


def pack_grid(builder: Any, rows: list[list[Any]]) -> Any:
    """A grid of these vectors."""
    return cgutils.pack_array(builder, [cgutils.pack_array(builder, row) for row in rows])


def strided(builder: Any, first: Any, stride: Any, count: int) -> list[Any]:
    """first, first + stride, first + 2 * stride, ..."""
    offsets = [first]
    while len(offsets) < count:
        offsets.append(builder.add(offsets[-1], stride))
    return offsets


def _grid_pointers(context: Any, builder: Any, array: Any, arguments: Any, grid: Any) -> list[list[Any]]:
    """Pointers to array[offset + i * row_stride + j * stride]; the arguments are array and these three."""
    data, offset, row_stride, stride = arguments
    vector = llvm_type(grid.dtype.dtype)
    return [
        [
            pointer_to(context, builder, array, data, at, vector)
            for at in strided(builder, row, stride, grid.dtype.count)
        ]
        for row in strided(builder, offset, row_stride, grid.count)
    ]


def _grid_twin(function: Callable[..., Any]) -> Callable[..., Any]:
    """function(vector, offset) for every vector of a grid, which lies at the offset in the array."""

    def apply(grid: Any, offset: int, row_stride: int, stride: int) -> Any:
        return tuple(
            tuple(function(vector, offset + i * row_stride + j * stride) for j, vector in enumerate(row))
            for i, row in enumerate(grid)
        )

    return apply


def _load_grid_twin(array: Any, offset: int, row_stride: int, stride: int, like: Any) -> Any:
    return _grid_twin(lambda v, at: load_twin(array, at, v))(like, offset, row_stride, stride)


@operation(_load_grid_twin)
def load_grid(typing_context: Any, array: Any, offset: Any, row_stride: Any, stride: Any, like: Any) -> Any:
    """The grid whose vector (i, j) is at array[offset + i * row_stride + j * stride]."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointers = _grid_pointers(context, builder, array, arguments[:4], like)
        align = size_of(array.dtype)
        return pack_grid(builder, [[builder.load(p, align=align) for p in row] for row in pointers])

    intp = types.intp
    return like(array, intp, intp, intp, like), codegen


def _store_grid_twin(grid: Any, array: Any, offset: int, row_stride: int, stride: int) -> None:
    _grid_twin(lambda v, at: store_twin(v, array, at))(grid, offset, row_stride, stride)


@operation(_store_grid_twin)
def store_grid(typing_context: Any, grid: Any, array: Any, offset: Any, row_stride: Any, stride: Any) -> Any:
    """Stores vector (i, j) of the grid at array[offset + i * row_stride + j * stride]."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointers = _grid_pointers(context, builder, array, arguments[1:], grid)
        for row, places in zip(grid_parts(builder, arguments[0], grid), pointers, strict=True):
            for vector, place in zip(row, places, strict=True):
                builder.store(vector, place, align=size_of(array.dtype))
        return context.get_dummy_value()

    intp = types.intp
    return types.void(grid, array, intp, intp, intp), codegen


def _add_grid_twin(grid: Any, array: Any, offset: int, row_stride: int, stride: int) -> None:
    _grid_twin(lambda v, at: store_twin(load_twin(array, at, v) + v, array, at))(grid, offset, row_stride, stride)


@operation(_add_grid_twin)
def add_grid(typing_context: Any, grid: Any, array: Any, offset: Any, row_stride: Any, stride: Any) -> Any:
    """Adds vector (i, j) to what is at array[offset + i * row_stride + j * stride]; places must not overlap."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointers = _grid_pointers(context, builder, array, arguments[1:], grid)
        align = size_of(array.dtype)
        for row, places in zip(grid_parts(builder, arguments[0], grid), pointers, strict=True):
            for vector, place in zip(row, places, strict=True):
                builder.store(builder.fadd(builder.load(place, align=align), vector), place, align=align)
        return context.get_dummy_value()

    intp = types.intp
    return types.void(grid, array, intp, intp, intp), codegen


def _splat_grid_twin(array: Any, offset: int, stride: int, like: Any) -> Any:
    return _grid_twin(lambda v, at: np.full_like(v, array[at]))(like, offset, 0, stride)


@operation(_splat_grid_twin)
def splat_grid(typing_context: Any, array: Any, offset: Any, stride: Any, like: Any) -> Any:
    """The grid whose vectors in column j are filled with array[offset + j * stride]."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        scalars = _scalars(context, builder, array, arguments[:3], like.dtype.count)
        row = [filled(builder, scalar, like.dtype.dtype.lanes) for scalar in scalars]
        return pack_grid(builder, [row] * like.count)

    return like(array, types.intp, types.intp, like), codegen


def _scalars(context: Any, builder: Any, array: Any, arguments: Any, count: int) -> list[Any]:
    """array[offset + j * stride] for j < count; the arguments are array, offset, stride."""
    data = data_of(context, builder, array, arguments[0])
    return [builder.load(builder.gep(data, [at])) for at in strided(builder, arguments[1], arguments[2], count)]


def _fma_grid_twin(x: Any, x_at: int, x_stride: int, y: Any, y_at: int, y_stride: int, grid: Any) -> Any:
    def product(row: int, column: int, sums: Any) -> Any:
        vector = load_twin(x, x_at + row * x_stride, sums)
        return fma_twin(vector, np.full_like(vector, y[y_at + column * y_stride]), sums)

    return tuple(tuple(product(i, j, v) for j, v in enumerate(row)) for i, row in enumerate(grid))


@operation(_fma_grid_twin)
def fma_grid(typing_context: Any, x: Any, x_at: Any, x_stride: Any, y: Any, y_at: Any, y_stride: Any, grid: Any) -> Any:
    """Adds the vector at x[x_at + i * x_stride] times the scalar y[y_at + j * y_stride] to vector (i, j).

    x may be of another dtype, as for `load_converted`.
    """
    vector, rows, columns = llvm_type(grid.dtype.dtype), grid.count, grid.dtype.count

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        scalars = _scalars(context, builder, y, arguments[3:6], columns)
        splats = [filled(builder, scalar, vector.count) for scalar in scalars]
        result = []
        for at, sums in zip(
            strided(builder, arguments[1], arguments[2], rows), grid_parts(builder, arguments[6], grid), strict=True
        ):
            loaded = vector_at(context, builder, x, arguments[0], at, grid.dtype.dtype)
            result.append([multiply_add(builder, loaded, s, part) for s, part in zip(splats, sums, strict=True)])
        return pack_grid(builder, result)

    intp = types.intp
    return grid(x, intp, intp, y, intp, intp, grid), codegen


@operation(lambda grid: tuple(tuple(np.where(v < 0, 0, v).astype(v.dtype) for v in row) for row in grid))
def rectify_grid(typing_context: Any, grid: Any) -> Any:
    """max(x, 0) of every lane; NaN stays NaN."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        zero = constant_vector(llvm_type(grid.dtype.dtype), 0)
        rows = grid_parts(builder, arguments[0], grid)
        return pack_grid(
            builder, [[builder.select(builder.fcmp_ordered("<", v, zero), zero, v) for v in row] for row in rows]
        )

    return grid(grid), codegen


def _add_loads_twin(array: Any, offset: int, stride: int, block: Any) -> Any:
    return tuple(v + load_twin(array, offset + i * stride, v) for i, v in enumerate(block))


@operation(_add_loads_twin)
def add_loads(typing_context: Any, array: Any, offset: Any, stride: Any, block: Any) -> Any:
    """Adds the vector at array[offset + i * stride] to vector i of the block."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector, result = llvm_type(block.dtype), []
        offsets = strided(builder, arguments[1], arguments[2], block.count)
        for at, part in zip(offsets, parts_of(builder, arguments[3], block.count), strict=True):
            pointer = pointer_to(context, builder, array, arguments[0], at, vector)
            result.append(builder.fadd(part, builder.load(pointer, align=size_of(array.dtype))))
        return cgutils.pack_array(builder, result)

    return block(array, types.intp, types.intp, block), codegen
