"""Products of float32 matrices in matrix registers.

A square is what a register holds: rows of 16 pairs of terms. Both factors are written as squares first, each as one or
more parts, the squares of all parts of the same terms one after the other; then sums go through the registers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastfnn.kernels.compilation import inlined_kernel, kernel
from fastfnn.kernels.simd import (
    PAIRS_OF_SQUARE,
    SIDE,
    add_products,
    leading_half,
    load_factors,
    nearest_half,
    paired,
    store,
    take_matrix_registers,
)
from fastfnn.kernels.structures import PARTS


@kernel
def square_height(units):
    """Of how many units the squares of a factor have one a row: all about the same, so that as few as possible pad."""
    squares = (units + SIDE - 1) // SIDE
    return (units + squares - 1) // squares


@kernel
def squares_of_terms(count):
    """Into how many squares so many terms go."""
    return (count + PAIRS_OF_SQUARE - 1) // PAIRS_OF_SQUARE


@inlined_kernel
def take_registers(height, rows):
    """Takes registers for grids of so many rows: one row of squares of a height, or two, of which the last is lower."""
    take_matrix_registers(min(height, rows), max(1, rows - height))


@inlined_kernel
def store_nearest_parts(x, y, target, to, step):
    """Writes the pairs of x and y as a row of the squares of their parts, `step` apart.

    Parts are as small as can be, so that products of small ones may be left out. The last ones are bfloat16 numbers
    only while subnormal numbers are flushed.
    """
    first, second = nearest_half(x), nearest_half(y)
    store(paired(first, second), target, to)
    x, y = x - first, y - second
    first, second = nearest_half(x), nearest_half(y)
    store(paired(first, second), target, to + step)
    store(paired(x - first, y - second), target, to + 2 * step)


@inlined_kernel
def store_leading_parts(x, y, target, to, step):
    """The same with less to compute, where no product is left out."""
    first, second = leading_half(x), leading_half(y)
    store(paired(first, second), target, to)
    x, y = x - first, y - second
    first, second = leading_half(x), leading_half(y)
    store(paired(first, second), target, to + step)
    store(paired(x - first, y - second), target, to + 2 * step)


@inlined_kernel
def store_parts(x, y, target, to, step, times):
    """Writes the parts of x and y, which are multiplied by numbers of so many parts."""
    if times == 1:
        store_leading_parts(x, y, target, to, step)
    else:
        store_nearest_parts(x, y, target, to, step)


class Squares(NamedTuple):
    """A factor: the squares of some rows or columns, those of their terms and parts one after the other."""

    values: Any
    at: int
    step: int  # from some rows or columns to the next ones
    square: int  # elements of a square
    parts: int


class Sums(NamedTuple):
    """What is added to: squares that are `row_step` apart for other rows, `column_step` for other columns."""

    values: Any
    at: int
    row_step: int
    column_step: int
    stride: int  # from a row of a square to the next one


@inlined_kernel
def add_terms(x, y, row, column, term, grid):
    """Adds a square of terms to the sums of a grid; parts whose product is below the precision are left out."""
    x_at = x.at + row * x.step + term * x.parts * x.square
    y_at = y.at + column * y.step + term * y.parts * y.square
    for i in range(y.parts):
        load_factors(y.values, y_at + i * y.square, y.step, grid[0])
        for j in range(PARTS - i):
            add_products(x.values, x_at + j * x.square, x.step, grid)
