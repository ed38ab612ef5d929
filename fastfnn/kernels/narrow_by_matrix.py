"""The first layer's dense features in matrix registers, where there are at most 32 units.

As in `dense_by_matrix`, but each square of values is multiplied by all that there is for its terms, one after the
other: a register is multiplied by another one in less time if the last product was its own too. The first sixteen units
have a square of sums, those behind them another. Where these are so few that all their parts fit one square, its sums
are of parts, which are added up in the end: one product instead of three.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastfnn.kernels.compilation import inlined_kernel, kernel
from fastfnn.kernels.dense_by_matrix import (
    TERMS_AHEAD,
    Memory,
    prefetch_gradients,
    write_columns,
    write_columns_of_bytes,
    write_gradient,
    write_rows,
    write_weights,
)
from fastfnn.kernels.dense_features import find_rows, next_rows, prefetch_part
from fastfnn.kernels.matrices import squares_of_terms
from fastfnn.kernels.simd import (
    PAIRS_OF_SQUARE,
    SIDE,
    SQUARE,
    add_product,
    clear_register,
    itemsize,
    leave_matrix_registers,
    load,
    load_register,
    store,
    store_register,
    take_matrix_registers,
)
from fastfnn.kernels.structures import EXAMPLES_TOGETHER, PARTS, TERMS_OF_SQUARES

RING = 4  # squares of values, each with its parts: one is written while the one before it is multiplied


class Factor(NamedTuple):
    """Weights or a gradient as squares, a unit a row: of each term all parts of the first units, then of the others.

    The parts of the others follow each other, so that they are three squares or, `together`, one.
    """

    values: Any
    at: int
    step: int  # from a term to the next one
    first: int  # units
    others: int
    together: bool


@inlined_kernel
def factor_of(units, values, at):
    """A factor of so many units, at an offset of scratch memory."""
    first = min(units, SIDE)
    others = units - first
    return Factor(values, at, PARTS * units * SIDE, first, others, PARTS * others <= SIDE)


@inlined_kernel
def take_registers(factor):
    """Takes registers: 0, 1 and 4 have a row for each of the first units, 2, 3 and 5 for each of the others' sums."""
    take_matrix_registers(factor.first, max(1, PARTS * factor.others if factor.together else factor.others))


@inlined_kernel
def load_sums(factor, values, at):
    """Loads the sums of all units, which are rows one after the other."""
    load_register(0, values, at, SIDE)
    if factor.together:
        clear_register(2)
    else:
        load_register(2, values, at + SQUARE, SIDE)


@inlined_kernel
def clear_sums():
    """Begins with zeros."""
    clear_register(0)
    clear_register(2)


@inlined_kernel
def store_sums(factor, values, at, begins, memory, like):
    """Stores them; those of parts are added up first, and to what is there unless the sums begin here."""
    store_register(0, values, at, SIDE)
    if not factor.together:
        store_register(2, values, at + SQUARE, SIDE)
    elif factor.others > 0:
        store_register(2, memory.values, memory.spare, SIDE)
        step = factor.others * SIDE
        for i in range(0, step, SIDE):
            sums = load(memory.values, memory.spare + i, like)
            for part in range(step, PARTS * step, step):
                sums = sums + load(memory.values, memory.spare + i + part, like)
            if not begins:
                sums = sums + load(values, at + SQUARE + i, like)
            store(sums, values, at + SQUARE + i)


@inlined_kernel
def add_term(factor, term, values, at, parts):
    """Adds the products of a term's squares of the factor with those of the values, of so many parts.

    Parts whose product is below the precision are left out, unless they share a square with others. What is multiplied
    by all parts of the values stays in registers.
    """
    first_at, square, other = factor.at + term * factor.step, factor.first * SIDE, factor.others * SIDE
    others_at = first_at + PARTS * square
    load_register(7, values, at, SIDE)
    load_register(1, factor.values, first_at, SIDE)
    load_register(4, factor.values, first_at + 2 * square, SIDE)
    if factor.others > 0:
        load_register(3, factor.values, others_at, SIDE)
    add_product(0, 1, 7)
    add_product(0, 4, 7)
    load_register(4, factor.values, first_at + square, SIDE)
    if factor.others > 0:
        add_product(2, 3, 7)
    add_product(0, 4, 7)
    if not factor.together:
        load_register(5, factor.values, others_at + 2 * other, SIDE)
        add_product(2, 5, 7)
        load_register(5, factor.values, others_at + other, SIDE)
        add_product(2, 5, 7)
    for part in range(1, parts):
        load_register(7, values, at + part * SQUARE, SIDE)
        add_product(0, 1, 7)
        if part < 2:
            add_product(0, 4, 7)
        if factor.others > 0:
            add_product(2, 3, 7)
        if part < 2 and not factor.together:
            add_product(2, 5, 7)


@inlined_kernel
def ring_at(number, parts):
    """Where the squares of values of this number are."""
    return number % RING * parts * SQUARE


@inlined_kernel
def prefetch_next_tile(rows, examples, first, terms, feature, coming):
    """Asks for parts of the rows of the tile that comes next, while the features from this one on are written.

    The floats of a matrix are asked for some terms before they are written. Only the first ones of the next tile are
    left, for the end of this one.
    """
    begin = feature
    if not rows.records and itemsize(rows.values) > 1:
        begin -= max(terms - TERMS_AHEAD, 0) * PAIRS_OF_SQUARE
    if begin >= first:
        for k in range(begin, min(begin + PAIRS_OF_SQUARE, rows.dense), SIDE):
            prefetch_part(rows, examples, coming, k, SIDE)


@inlined_kernel
def write_tile(rows, examples, first, terms, number, ahead, memory, parts, of_bytes, like):
    """Writes the squares of values of this number, a column an example: all terms of a tile, then those of the next.

    The terms are the features from the first one on.
    """
    tile, feature = number // terms, first + number % terms * PAIRS_OF_SQUARE
    if tile * SIDE < examples.size:
        coming = next_rows(rows, examples, tile * SIDE, (tile + 1) * SIDE, ahead)
        if of_bytes is not None:
            write_columns_of_bytes(rows, examples, tile, feature, ring_at(number, parts), memory, like)
        if of_bytes is None:
            write_columns(rows, examples, tile, feature, ring_at(number, parts), memory, of_bytes, like)
        prefetch_next_tile(rows, examples, first, terms, feature, coming)


@kernel
def forward(rows, examples, weights, z, ahead, starts, scratch, of_bytes, like):
    """`dense_by_matrix.forward`."""
    blocks, tiles = (rows.dense + SIDE - 1) // SIDE, (examples.size + SIDE - 1) // SIDE
    parts = 1 if of_bytes is not None else PARTS
    factor = factor_of(weights.units, scratch, RING * parts * SQUARE)
    find_rows(rows, examples, 0, tiles * SIDE, starts)
    take_registers(factor)
    for feature in range(0, rows.dense, TERMS_OF_SQUARES * PAIRS_OF_SQUARE):
        terms = min(TERMS_OF_SQUARES, squares_of_terms(rows.dense - feature))
        memory = Memory(scratch, factor.at + terms * factor.step, starts)
        write_tile(rows, examples, feature, terms, 0, ahead, memory, parts, of_bytes, like)
        for unit in range(0, weights.units, SIDE):
            n, to = min(SIDE, weights.units - unit), factor.at + unit * PARTS * SIDE
            write_weights(weights, blocks, feature, terms, unit, n, scratch, to, factor.step, n * SIDE, parts, like)
        for tile in range(tiles):
            if feature == 0:
                clear_sums()
            else:
                load_sums(factor, z.values, z.at + tile * z.stride)
            for term in range(terms):
                number = tile * terms + term
                write_tile(rows, examples, feature, terms, number + 1, ahead, memory, parts, of_bytes, like)
                add_term(factor, term, scratch, ring_at(number, parts), parts)
            store_sums(factor, z.values, z.at + tile * z.stride, feature == 0, memory, like)
    leave_matrix_registers()


@inlined_kernel
def write_block(rows, examples, share, begin, terms, number, memory, parts, of_bytes, like):
    """Writes the squares of values of this number, a column a feature: all terms of 16 features, then of the next 16.

    The terms are the examples from number `begin` on.
    """
    feature = share.feature_begin + number // terms * SIDE
    if feature < share.feature_end:
        to = ring_at(number, parts)
        write_rows(rows, examples, begin, number % terms, feature, to, memory, of_bytes, like)


@kernel
def update(rows, examples, share, weights, dz, starts, scratch, of_bytes, like):
    """`dense_by_matrix.update`."""
    parts = 1 if of_bytes is not None else PARTS
    factor = factor_of(weights.units, scratch, RING * parts * SQUARE)
    take_registers(factor)
    for begin in range(0, examples.size, EXAMPLES_TOGETHER):
        count = min(EXAMPLES_TOGETHER, examples.size - begin)
        terms = squares_of_terms(count)
        memory = Memory(scratch, factor.at + terms * factor.step, starts)
        find_rows(rows, examples, begin, terms * PAIRS_OF_SQUARE, starts)
        write_block(rows, examples, share, begin, terms, 0, memory, parts, of_bytes, like)
        for unit in range(0, weights.units, SIDE):
            n, to = min(SIDE, weights.units - unit), factor.at + unit * PARTS * SIDE
            write_gradient(
                dz, begin, count, terms, unit, n, scratch, to, factor.step, n * SIDE, memory.spare, parts, like
            )
        for block in range((share.feature_end - share.feature_begin) // SIDE):
            w_at = weights.at + (share.feature_begin // SIDE + block) * weights.stride
            prefetch_gradients(rows, examples, begin, block, dz, weights.units)
            load_sums(factor, weights.values, w_at)
            for term in range(terms):
                number = block * terms + term
                write_block(rows, examples, share, begin, terms, number + 1, memory, parts, of_bytes, like)
                add_term(factor, term, scratch, ring_at(number, parts), parts)
            store_sums(factor, weights.values, w_at, False, memory, like)
    leave_matrix_registers()
