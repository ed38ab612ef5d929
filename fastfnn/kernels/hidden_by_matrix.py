"""Wide layers behind the first in matrix registers: the products of `hidden`, float32 numbers as three parts each."""

from __future__ import annotations

from fastfnn.kernels.compilation import inlined_kernel, kernel
from fastfnn.kernels.matrices import (
    Squares,
    Sums,
    add_terms,
    square_height,
    squares_of_terms,
    store_nearest_parts,
    take_registers,
)
from fastfnn.kernels.simd import (
    PAIRS_OF_SQUARE,
    SIDE,
    SQUARE,
    leave_matrix_registers,
    load,
    load_sums,
    repeat,
    splat,
    store,
    store_sums,
    transpose,
)
from fastfnn.kernels.structures import EXAMPLES_TOGETHER, PARTS, TERMS_OF_SQUARES


@inlined_kernel
def multiply_grid(x, y, column, terms, sums, grid):
    """Adds all terms to a grid of sums."""
    load_sums(sums.values, sums.at, sums.row_step, sums.column_step, sums.stride, grid)
    for term in range(terms):
        add_terms(x, y, 0, column, term, grid)
    store_sums(sums.values, sums.at, sums.row_step, sums.column_step, sums.stride, grid)


@kernel
def multiply_squares(x, y, rows, columns, terms, sums, like):
    """sums += x @ y for one or two rows of squares of x, and so many columns of y."""
    one, two = repeat(like, 1), repeat(like, 2)
    for column in range(0, columns, 2):
        at = Sums(sums.values, sums.at + column * sums.column_step, sums.row_step, sums.column_step, sums.stride)
        if rows > 1:
            if column + 1 < columns:
                multiply_grid(x, y, column, terms, at, repeat(two, 2))
            else:
                multiply_grid(x, y, column, terms, at, repeat(one, 2))
        elif column + 1 < columns:
            multiply_grid(x, y, column, terms, at, repeat(two, 1))
        else:
            multiply_grid(x, y, column, terms, at, repeat(one, 1))


@kernel
def write_pairs(source, at, step, count, first, target, to, like):
    """Writes squares of 32 vectors that are `step` apart: row i has vectors i and i + 16.

    The first one has the number `first`; there are `count` in all, and zeros behind.
    """
    for i in range(SIDE):
        x, y = like, like
        if first + i < count:
            x = load(source, at + (first + i) * step, like)
        if first + i + SIDE < count:
            y = load(source, at + (first + i + SIDE) * step, like)
        store_nearest_parts(x, y, target, to + i * SIDE, SQUARE)


@kernel
def write_tile(product, tile, first, terms, target, to, like):
    """Writes squares of a tile of x, a column an example."""
    x_at = product.x_at + tile * product.x_tile
    for term in range(terms):
        k = first + term * PAIRS_OF_SQUARE
        write_pairs(product.workspace, x_at, SIDE, product.n_in, k, target, to, like)
        to += PARTS * SQUARE


@kernel
def write_weights(product, unit, units, first, terms, target, to, square, spare, like):
    """Writes squares of the weights of some units, a unit a row, for the terms from `first` on."""
    for term in range(terms):
        for half in range(2):
            k = first + term * PAIRS_OF_SQUARE + half * SIDE
            count, half_at = min(SIDE, product.n_in - k), spare + half * SQUARE
            at = product.weights_at + unit * product.stride + k * product.step
            if count <= 0:
                for i in range(0, SQUARE, SIDE):
                    store(like, target, half_at + i)
            elif product.stride == 1:
                transpose(product.weights, at, product.step, count, target, half_at, SIDE, like)
            else:
                for i in range(units):
                    store(load(product.weights, at + i * product.stride, like), target, half_at + i * SIDE)
        for i in range(0, units * SIDE, SIDE):
            x, y = load(target, spare + i, like), load(target, spare + SQUARE + i, like)
            store_nearest_parts(x, y, target, to + i, square)
        to += PARTS * square


@kernel
def multiply(product, tiles, scratch, like):
    """`hidden.multiply` without the activation, for at most `EXAMPLES_TOGETHER` examples.

    Weights behind a row's last one are zeros.
    """
    for tile in range(tiles):
        out_at = product.out_at + tile * product.out_tile
        for unit in range(product.n_out):
            start = like
            if product.biases_at >= 0:
                start = splat(product.weights[product.biases_at + unit], like)
            store(start, product.workspace, out_at + unit * SIDE)
    height = square_height(product.n_out)
    for first in range(0, product.n_in, TERMS_OF_SQUARES * PAIRS_OF_SQUARE):
        terms = min(TERMS_OF_SQUARES, squares_of_terms(product.n_in - first))
        x = Squares(scratch, 0, terms * PARTS * SQUARE, SQUARE, PARTS)
        w = Squares(scratch, tiles * x.step, terms * PARTS * height * SIDE, height * SIDE, PARTS)
        spare = w.at + 2 * w.step
        for tile in range(tiles):
            write_tile(product, tile, first, terms, scratch, x.at + tile * x.step, like)
        for unit in range(0, product.n_out, 2 * height):
            rest = min(2 * height, product.n_out - unit)
            take_registers(height, rest)
            for i in range(0, rest, height):
                to, units = w.at + i // height * w.step, min(height, rest - i)
                write_weights(product, unit + i, units, first, terms, scratch, to, w.square, spare, like)
            at = product.out_at + unit * SIDE
            sums = Sums(product.workspace, at, height * SIDE, product.out_tile, SIDE)
            multiply_squares(w, x, 1 if rest <= height else 2, tiles, terms, sums, like)
    leave_matrix_registers()


@kernel
def write_rows(product, begin, row, rows, count, x, like):
    """Writes squares of some units of x, a unit a row, for `count` examples from number `begin` on."""
    height = x.square // SIDE
    x_at = product.x_at + begin // SIDE * product.x_tile + (product.first_row + row) * SIDE
    for i in range(rows):
        to, at = x.at + i // height * x.step + i % height * SIDE, x_at + i * SIDE
        for first in range(0, count, PAIRS_OF_SQUARE):
            a, b = load(product.workspace, at, like), like
            if first + SIDE < count:
                b = load(product.workspace, at + product.x_tile, like)
            store_nearest_parts(a, b, x.values, to, x.square)
            at += 2 * product.x_tile
            to += PARTS * x.square


@kernel
def gradient(product, examples, scratch, like):
    """`hidden.gradient_by_rows`; dz is zeros behind its last unit, and x counts for as many examples as there are."""
    rows, columns = product.last_row - product.first_row, (product.n_out + SIDE - 1) // SIDE
    height, start = square_height(rows), product.gradients_at + product.first_row * product.stride
    for at in range(start, start + rows * product.stride, product.stride):
        for unit in range(0, columns * SIDE, SIDE):
            store(like, product.gradients, at + unit)
    for begin in range(0, examples, EXAMPLES_TOGETHER):
        count = min(EXAMPLES_TOGETHER, examples - begin)
        terms = squares_of_terms(count)
        dz = Squares(scratch, 0, terms * PARTS * SQUARE, SQUARE, PARTS)
        x = Squares(scratch, columns * dz.step, terms * PARTS * height * SIDE, height * SIDE, PARTS)
        for column in range(columns):
            dz_at, to = product.dz_at + begin * product.dz_tile + column * SIDE, column * dz.step
            for first in range(0, count, PAIRS_OF_SQUARE):
                write_pairs(product.workspace, dz_at, product.dz_tile, count, first, scratch, to, like)
                to += PARTS * SQUARE
        for row in range(0, rows, 2 * height):
            rest = min(2 * height, rows - row)
            take_registers(height, rest)
            write_rows(product, begin, row, rest, count, x, like)
            at = start + row * product.stride
            sums = Sums(product.gradients, at, height * product.stride, SIDE, product.stride)
            multiply_squares(x, dz, 1 if rest <= height else 2, columns, terms, sums, like)
    leave_matrix_registers()
