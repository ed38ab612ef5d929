"""The passes of a layer of few units through one tile, whose numbers of units are literals.

A unit of a tile is a vector, whose lanes are examples; units follow each other. Weights (K, H) are rows, `width`
elements apart and filled up with zeros to whole vectors. Sums stay in registers, and code of at most `UNROLLED`
multiply-adds has no loops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastfnn.kernels.processor import ROOMY
from fastfnn.kernels.simd.arithmetic import fma_twin
from fastfnn.kernels.simd.memory import load_twin, store_twin
from fastfnn.kernels.simd.transposes import transposed
from fastfnn.kernels.simd.vectors import (
    constant_vector,
    data_of,
    filled,
    llvm_type,
    multiply_add,
    operation,
    size_of,
)

MOST_SUMS = 20 if ROOMY else 5  # of a product, that the registers have room for
MOST_ROWS = 10 if ROOMY else 5  # of a gradient, beside a tile's rows
UNROLLED = 400  # multiply-adds

Sums = list[Any]


class Values:
    """An array in code that is being made; offsets are numbers, or such as the code computes."""

    def __init__(self, context: Any, builder: Any, kind: Any, array: Any, vector: ir.VectorType) -> None:
        self.builder, self.vector, self.align = builder, vector, size_of(kind.dtype)
        self.data = data_of(context, builder, kind, array)

    def _at(self, *offsets: Any) -> Any:
        total = ir.IntType(64)(0)
        for offset in offsets:
            total = self.builder.add(total, ir.IntType(64)(offset) if isinstance(offset, int) else offset)
        return self.builder.gep(self.data, [total])

    def _vector_at(self, *offsets: Any) -> Any:
        return self.builder.bitcast(self._at(*offsets), self.vector.as_pointer())

    def times(self, number: Any, distance: int) -> Any:
        """An offset: a number that the code computes times a distance."""
        return self.builder.mul(number, ir.IntType(64)(distance))

    def load(self, *offsets: Any) -> Any:
        """The vector at the sum of the offsets."""
        return self.builder.load(self._vector_at(*offsets), align=self.align)

    def store(self, value: Any, *offsets: Any) -> None:
        """Stores a vector there."""
        self.builder.store(value, self._vector_at(*offsets), align=self.align)

    def splat(self, *offsets: Any) -> Any:
        """A vector that is filled with the number there."""
        return filled(self.builder, self.builder.load(self._at(*offsets)), self.vector.count)


def _groups(count: int, most: int) -> Iterator[range]:
    """The numbers below `count` in as few ranges of at most so many as there can be, of about the same length."""
    size = -(-count // -(-count // most))
    for first in range(0, count, size):
        yield range(first, min(first + size, count))


def _accumulate(builder: Any, count: int, sums: Sums, add: Callable[[Any, Sums], Sums]) -> Sums:
    """add(k, sums) for k below `count`, one after the other; in a loop where there would be too much code."""
    together = max(1, UNROLLED // len(sums))
    whole = count // together * together if count > together else 0
    if whole:
        places = [cgutils.alloca_once_value(builder, value) for value in sums]
        slices = [ir.IntType(64)(number) for number in (0, whole, together)]
        with cgutils.for_range_slice(builder, *slices) as (first, _):
            inner = [builder.load(place) for place in places]
            for k in range(together):
                inner = add(builder.add(first, ir.IntType(64)(k)), inner)
            for place, value in zip(places, inner, strict=True):
                builder.store(value, place)
        sums = [builder.load(place) for place in places]
    for k in range(whole, count):
        sums = add(ir.IntType(64)(k), sums)
    return sums


def _tile(workspace: Any, start: int, units: int, like: Any) -> Any:
    return [load_twin(workspace, start + i * len(like), like) for i in range(units)]


def _products_twin(x: Any, weights: Any, starts: Any, sums: Any) -> Any:
    """sums[j] + x[0] * weights[starts[0][j]] + x[1] * weights[starts[1][j]] and so on."""
    for vector, offsets in zip(x, starts, strict=True):
        numbers = [np.full_like(vector, weights[offset]) for offset in offsets]
        sums = [fma_twin(vector, number, total) for number, total in zip(numbers, sums, strict=True)]
    return sums


def _forward_twin(
    workspace: Any,
    x_at: int,
    weights: Any,
    weights_at: int,
    biases_at: int,
    to: int,
    n_in: int,
    n_out: int,
    width: int,
    rectified: int,
    like: Any,
) -> None:
    sums = [np.full_like(like, weights[biases_at + j]) for j in range(n_out)]
    starts = [[weights_at + k * width + j for j in range(n_out)] for k in range(n_in)]
    for j, z in enumerate(_products_twin(_tile(workspace, x_at, n_in, like), weights, starts, sums)):
        store_twin(np.where(z < 0, 0, z).astype(z.dtype) if rectified else z, workspace, to + j * len(like))


@operation(_forward_twin, prefer_literal=True)
def forward_tile(
    typing_context: Any,
    workspace: Any,
    x_at: Any,
    weights: Any,
    weights_at: Any,
    biases_at: Any,
    to: Any,
    n_in: Any,
    n_out: Any,
    width: Any,
    rectified: Any,
    like: Any,
) -> Any:
    """The outputs of a layer, biases + x @ weights, or where `rectified` is 1 their ReLU, in which NaN stays NaN."""
    literals = _literals(n_in, n_out, width, rectified)
    if literals is None:
        return None
    terms, sums_wanted, stride, is_rectified = literals

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_type(like)
        values = Values(context, builder, workspace, arguments[0], vector)
        of_weights = Values(context, builder, weights, arguments[2], vector)
        _, first_x, _, first_weight, first_bias, target, *_ = arguments
        for units in _groups(sums_wanted, MOST_SUMS):

            def add(k: Any, sums: Sums, units: range = units) -> Sums:
                x = values.load(first_x, values.times(k, vector.count))
                row = of_weights.times(k, stride)
                factors = [of_weights.splat(first_weight, row, j) for j in units]
                return [multiply_add(builder, x, w, z) for w, z in zip(factors, sums, strict=True)]

            biases = [of_weights.splat(first_bias, j) for j in units]
            for j, z in zip(units, _accumulate(builder, terms, biases, add), strict=True):
                zero = constant_vector(vector, 0)
                result = builder.select(builder.fcmp_ordered("<", z, zero), zero, z) if is_rectified else z
                values.store(result, target, j * vector.count)
        return context.get_dummy_value()

    intp = types.intp
    return types.void(workspace, intp, weights, intp, intp, intp, n_in, n_out, width, rectified, like), codegen


def _backward_twin(
    workspace: Any,
    dz_at: int,
    weights: Any,
    weights_at: int,
    x_at: int,
    to: int,
    scale: float,
    n_in: int,
    n_out: int,
    width: int,
    gated: int,
    like: Any,
) -> None:
    starts = [[weights_at + k * width + j for k in range(n_in)] for j in range(n_out)]
    sums = _products_twin(_tile(workspace, dz_at, n_out, like), weights, starts, [np.zeros_like(like)] * n_in)
    for k, (dx, x) in enumerate(zip(sums, _tile(workspace, x_at, n_in, like), strict=True)):
        opened = np.where(x > 0, dx * dx.dtype.type(scale), 0).astype(dx.dtype)
        store_twin(opened if gated else dx, workspace, to + k * len(like))


@operation(_backward_twin, prefer_literal=True)
def backward_tile(
    typing_context: Any,
    workspace: Any,
    dz_at: Any,
    weights: Any,
    weights_at: Any,
    x_at: Any,
    to: Any,
    scale: Any,
    n_in: Any,
    n_out: Any,
    width: Any,
    gated: Any,
    like: Any,
) -> Any:
    """The gradient of a layer's inputs x, dz @ weights.T; where `gated` is 1, of what x is `scale` * the ReLU of."""
    literals = _literals(n_in, n_out, width, gated)
    if literals is None:
        return None
    sums_wanted, terms, stride, is_gated = literals

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_type(like)
        zero = constant_vector(vector, 0)
        values = Values(context, builder, workspace, arguments[0], vector)
        of_weights = Values(context, builder, weights, arguments[2], vector)
        _, first_dz, _, first_weight, first_x, target, number, *_ = arguments
        factor = filled(builder, context.cast(builder, number, types.float64, like.dtype), vector.count)
        for units in _groups(sums_wanted, MOST_SUMS):

            def add(j: Any, sums: Sums, units: range = units) -> Sums:
                dz = values.load(first_dz, values.times(j, vector.count))
                factors = [of_weights.splat(first_weight, k * stride, j) for k in units]
                return [multiply_add(builder, dz, w, dx) for w, dx in zip(factors, sums, strict=True)]

            for k, dx in zip(units, _accumulate(builder, terms, [zero] * len(units), add), strict=True):
                result = dx
                if is_gated:
                    is_open = builder.fcmp_ordered(">", values.load(first_x, k * vector.count), zero)
                    result = builder.select(is_open, builder.fmul(dx, factor), zero)
                values.store(result, target, k * vector.count)
        return context.get_dummy_value()

    intp, real = types.intp, types.float64
    return types.void(workspace, intp, weights, intp, intp, intp, real, n_in, n_out, width, gated, like), codegen


def _rows_of_tile_twin(workspace: Any, start: int, units: int, like: Any) -> Any:
    """The lanes of a tile as rows, filled up with zeros to whole vectors of units."""
    lanes = len(like)
    rows = np.zeros((lanes, -(-units // lanes) * lanes), like.dtype)
    rows[:, :units] = np.stack(_tile(workspace, start, units, like), axis=1)
    return rows


def _halves_summed(rows: Any) -> Any:
    while len(rows) > 1:
        rows = rows[: len(rows) // 2] + rows[len(rows) // 2 :]
    return rows[0]


def _gradient_twin(
    workspace: Any,
    x_at: int,
    dz_at: int,
    target: Any,
    to: int,
    biases_to: int,
    n_in: int,
    n_out: int,
    width: int,
    like: Any,
) -> None:
    rows = _rows_of_tile_twin(workspace, dz_at, n_out, like)
    size = rows.shape[1]
    for k, x in enumerate(_tile(workspace, x_at, n_in, like)):
        sums = target[to + k * width : to + k * width + size]
        for row, number in zip(rows, x, strict=True):
            sums[:] = fma_twin(row, np.full_like(row, number), sums)
    target[biases_to : biases_to + size] += _halves_summed(rows)


def _rows_in_registers(builder: Any, values: Values, start: Any, units: int) -> Iterator[tuple[int, Sums]]:
    """For each vector of units of a tile, its first unit and the lanes as rows."""
    lanes = values.vector.count
    zero = constant_vector(values.vector, 0)
    for unit in range(0, units, lanes):
        loaded = [values.load(start, (unit + i) * lanes) for i in range(min(lanes, units - unit))]
        yield unit, transposed(builder, loaded + [zero] * (lanes - len(loaded)))


def _add_sum(builder: Any, rows: Sums, target: Values, *offsets: Any) -> None:
    """Adds the sum of the rows, halves first, to what is there."""
    while len(rows) > 1:
        half = len(rows) // 2
        rows = [builder.fadd(x, y) for x, y in zip(rows[:half], rows[half:], strict=True)]
    target.store(builder.fadd(target.load(*offsets), rows[0]), *offsets)


@operation(_gradient_twin, prefer_literal=True)
def gradient_tile(
    typing_context: Any,
    workspace: Any,
    x_at: Any,
    dz_at: Any,
    target: Any,
    to: Any,
    biases_to: Any,
    n_in: Any,
    n_out: Any,
    width: Any,
    like: Any,
) -> Any:
    """Adds the gradient of a layer's weights, x.T @ dz, and that of its biases to what is in the target.

    Examples are added in their order; those of biases halves first.
    """
    literals = _literals(n_in, n_out, width)
    if literals is None:
        return None
    count, units, stride = literals

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_type(like)
        values = Values(context, builder, workspace, arguments[0], vector)
        sums = Values(context, builder, target, arguments[3], vector)
        _, first_x, first_dz, _, start, biases_start, *_ = arguments

        def add(first: Any, together: int, unit: int, rows: Sums) -> None:
            places = [(start, unit, sums.times(first, stride), k * stride) for k in range(together)]
            x_at = values.times(first, vector.count)
            totals = [sums.load(*place) for place in places]
            for i, row in enumerate(rows):
                numbers = [values.splat(first_x, x_at, k * vector.count + i) for k in range(together)]
                totals = [multiply_add(builder, row, x, total) for x, total in zip(numbers, totals, strict=True)]
            for total, place in zip(totals, places, strict=True):
                sums.store(total, *place)

        for unit, rows in _rows_in_registers(builder, values, first_dz, units):
            groups = list(_groups(count, MOST_ROWS))
            size = len(groups[0])
            whole = count // size * size if count * len(rows) > UNROLLED else 0
            if whole:
                slices = [ir.IntType(64)(number) for number in (0, whole, size)]
                with cgutils.for_range_slice(builder, *slices) as (first, _):
                    add(first, size, unit, rows)
            for group in groups[whole // size :]:
                add(ir.IntType(64)(group.start), len(group), unit, rows)
            _add_sum(builder, rows, sums, biases_start, unit)
        return context.get_dummy_value()

    intp = types.intp
    return types.void(workspace, intp, intp, target, intp, intp, n_in, n_out, width, like), codegen


def _rows_twin(
    workspace: Any, dz_at: int, to: int, factor: Any, target: Any, biases_to: int, units: int, width: int, like: Any
) -> None:
    rows = _rows_of_tile_twin(workspace, dz_at, units, like)
    size = rows.shape[1]
    for i, row in enumerate(rows):
        workspace[to + i * width : to + i * width + size] = row * like.dtype.type(factor)
    target[biases_to : biases_to + size] += _halves_summed(rows)


@operation(_rows_twin, prefer_literal=True)
def rows_of_tile(
    typing_context: Any,
    workspace: Any,
    dz_at: Any,
    to: Any,
    factor: Any,
    target: Any,
    biases_to: Any,
    units: Any,
    width: Any,
    like: Any,
) -> Any:
    """Writes the lanes of a tile, times a factor, as rows `width` apart; adds their sum to what is in the target."""
    literals = _literals(units, width)
    if literals is None:
        return None
    count, stride = literals

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_type(like)
        values = Values(context, builder, workspace, arguments[0], vector)
        sums = Values(context, builder, target, arguments[4], vector)
        factors = filled(builder, context.cast(builder, arguments[3], types.float64, like.dtype), vector.count)
        for unit, rows in _rows_in_registers(builder, values, arguments[1], count):
            for i, row in enumerate(rows):
                values.store(builder.fmul(row, factors), arguments[2], unit + i * stride)
            _add_sum(builder, rows, sums, arguments[5], unit)
        return context.get_dummy_value()

    intp = types.intp
    return types.void(workspace, intp, intp, types.float64, target, intp, units, width, like), codegen


def _literals(*numbers: Any) -> list[int] | None:
    """What literals say, or None where one of these is none."""
    if not all(isinstance(number, types.IntegerLiteral) for number in numbers):
        return None
    return [number.literal_value for number in numbers]
