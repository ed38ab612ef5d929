"""Rows of numbers of units, one row an example or a feature, filled up with zeros to whole vectors.

A matrix of units has a row a unit. A table lies in scratch memory and has a row for each column of such a matrix.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from fastfnn.kernels.compilation import kernel
from fastfnn.kernels.simd import at, fma, load, maximum, splat, store, total, transpose

SQUARE = 64  # numbers of a square block of float64


class Table(NamedTuple):
    """Rows `width` apart from values[at] on; `square` is where there is room for a few vectors."""

    values: Any
    at: int
    width: int
    square: int  # a square block, and one vector more


class Units(NamedTuple):
    """The rows first..first+number-1 of a matrix in C order with `stride` columns."""

    values: Any
    first: int
    number: int
    stride: int


@kernel
def clear(table, rows, like):
    """Fills the rows of a table with zeros."""
    for i in range(table.at, table.at + rows * table.width, len(like)):
        store(like, table.values, i)


@kernel
def fill(units, begin, end, table, like):
    """The columns begin..end-1 of the units become the rows of a table; returns whether all numbers are finite."""
    lanes = len(like)
    whole = end - (end - begin) % lanes
    for unit in range(0, table.width, lanes):
        rows = min(lanes, units.number - unit)
        for k in range(begin, whole, lanes):
            start = (units.first + unit) * units.stride + k
            to = table.at + (k - begin) * table.width + unit
            transpose(units.values, start, units.stride, rows, table.values, to, table.width, like)
    for k in range(whole, end):
        to = table.at + (k - begin) * table.width
        for unit in range(table.width):
            exists = unit < units.number
            table.values[to + unit] = at(units.values, (units.first + unit) * units.stride + k) if exists else 0.0
    return is_finite(table.values, table.at, (end - begin) * table.width, like)


@kernel
def is_finite(values, begin, count, like):
    """Whether so many numbers, whole vectors, are all finite."""
    sums = like
    for i in range(begin, begin + count, len(like)):
        sums = fma(load(values, i, like), like, sums)  # 0 * inf is NaN
    return math.isfinite(total(sums))


class Finish(NamedTuple):
    """What becomes of a table's numbers: x * scale + biases[unit], and max(that, 0) in `rectified`."""

    scale: float
    biases: Any
    biases_stride: int
    biased: bool
    rectified: Any
    rectify: bool


@kernel
def spill(table, begin, end, units, finish, like):
    """The rows of a table become the columns begin..end-1 of the units."""
    lanes = len(like)
    for unit in range(0, units.number, lanes):
        for k in range(begin, end, lanes):
            count = min(lanes, end - k)
            start = table.at + (k - begin) * table.width + unit
            transpose(table.values, start, table.width, count, table.values, table.square, lanes, like)
            for u in range(min(lanes, units.number - unit)):
                row = units.first + unit + u
                bias = at(finish.biases, row * finish.biases_stride) if finish.biased else 0.0
                numbers = load(table.values, table.square + u * lanes, like)
                numbers = fma(numbers, splat(finish.scale, like), splat(bias, like))
                put(numbers, units.values, row * units.stride + k, count, table)
                if finish.rectify:
                    put(maximum(like, numbers), finish.rectified, row * units.stride + k, count, table)


@kernel
def put(numbers, target, to, count, table):
    """target[to : to + count] = the first lanes of a vector."""
    if count == len(numbers):
        store(numbers, target, to)
    else:
        store(numbers, table.values, table.square + SQUARE)
        for i in range(count):
            target[to + i] = at(table.values, table.square + SQUARE + i)
