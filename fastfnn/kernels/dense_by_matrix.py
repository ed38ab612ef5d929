"""The first layer's dense features in matrix registers, forward and backward; weights lie unit by unit.

Squares of weights and of gradients have a unit a row. Forward, sums are those of tiles: a column an example, and the
terms are pairs of features. Backward, sums are the weights where they lie: a column a feature, and the terms are pairs
of examples. Bytes are bfloat16 numbers, floats three of them; `of_bytes` is a vector where rows are bytes, else None.

The squares of rows are written one by one between the products of the last ones, which are computed meanwhile.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastfnn.kernels.compilation import inlined_kernel, kernel
from fastfnn.kernels.dense_features import find_rows, next_rows, prefetch_part, write_features
from fastfnn.kernels.matrices import (
    Squares,
    Sums,
    add_terms,
    square_height,
    squares_of_terms,
    store_leading_parts,
    store_parts,
    take_registers,
)
from fastfnn.kernels.rows import convert_dense, row_start
from fastfnn.kernels.simd import (
    PAIRS_OF_SQUARE,
    SIDE,
    SQUARE,
    at,
    clear_sums,
    itemsize,
    leave_matrix_registers,
    load,
    load_converted,
    load_sums,
    paired,
    prefetch,
    prefetch_near,
    repeat,
    store,
    store_sums,
    transpose,
    transpose_pairs,
)
from fastfnn.kernels.structures import BYTES_PER_LINE, EXAMPLES_TOGETHER, PARTS, RECORDS_BY_KIND, TERMS_OF_SQUARES

TERMS_AHEAD = 2  # so much later, floats are needed that are asked for: enough for memory
GRADIENTS_AHEAD = 16  # rows of them that are asked for with some features: all of a pass with the first of many


class Memory(NamedTuple):
    """Scratch memory."""

    values: Any
    spare: int  # offset of room for three squares that nothing else needs
    starts: Any  # where the rows of the examples begin


@kernel
def write_weights(weights, blocks, feature, terms, unit, units, target, to, step, square, times, like):
    """Writes squares of the weights of some units, for the features from `feature` on, `step` from term to term."""
    for term in range(terms):
        block = feature // SIDE + 2 * term
        for i in range(units):
            w_at = weights.at + block * weights.stride + (unit + i) * SIDE
            second = like
            if block + 1 < blocks:
                second = load(weights.values, w_at + weights.stride, like)
            store_parts(load(weights.values, w_at, like), second, target, to + i * SIDE, square, times)
        to += step


@inlined_kernel
def store_rows(x, y, target, to, of_bytes):
    """Writes the pairs of values of rows as a row of the squares of their parts.

    Products that are left out are small enough where the parts of the other factor are as small as can be.
    """
    if of_bytes is not None:
        store(paired(x, y), target, to)
    if of_bytes is None:
        store_leading_parts(x, y, target, to, SQUARE)


@kernel
def write_columns(rows, examples, tile, feature, to, memory, of_bytes, like):
    """Writes squares of a tile of examples, a column an example, for the features from `feature` on.

    Those of a later term come to the nearest cache meanwhile.
    """
    values, spare = memory.values, memory.spare
    for half in range(2):
        k = feature + half * SIDE
        k = k if k < rows.dense else feature  # times weights that are zeros
        write_features(rows, memory.starts, tile, k, min(k + SIDE, rows.dense), values, spare + half * SQUARE, like)
    for i in range(SIDE):
        x, y = load(values, spare + i * SIDE, like), load(values, spare + SQUARE + i * SIDE, like)
        store_rows(x, y, values, to + i * SIDE, of_bytes)
        behind = at(memory.starts, tile * SIDE + i) + feature + TERMS_AHEAD * PAIRS_OF_SQUARE
        prefetch_near(rows.values, behind)
        prefetch_near(rows.values, behind + SIDE)


@kernel
def write_columns_of_bytes(rows, examples, tile, feature, to, memory, like):
    """The same for bytes."""
    if feature + PAIRS_OF_SQUARE <= rows.dense:
        transpose_pairs(rows.values, memory.starts, tile * SIDE, feature, memory.values, to, like)
    else:
        write_columns(rows, examples, tile, feature, to, memory, like, like)


@kernel
def write_tiles(rows, examples, feature, term, x, tile, count, ahead, memory, of_bytes, like):
    """Writes squares of one or two tiles for one term, and asks for the rows of the two that come next."""
    k, lanes = feature + term * PAIRS_OF_SQUARE, 2 * SIDE // max(1, count)
    coming = next_rows(rows, examples, tile * SIDE, (tile + 2) * SIDE, ahead)
    for t in range(tile, tile + count):
        to = x.at + t * x.step + term * x.parts * SQUARE
        if of_bytes is not None:
            write_columns_of_bytes(rows, examples, t, k, to, memory, like)
        if of_bytes is None:
            write_columns(rows, examples, t, k, to, memory, of_bytes, like)
        for first in range(k, min(k + PAIRS_OF_SQUARE, rows.dense), SIDE):
            prefetch_part(rows, examples, coming + (t - tile) * lanes, first, lanes)


@kernel
def forward_grid(rows, examples, feature, terms, weights, x, sums, tile, ahead, memory, written, grid, of_bytes, like):
    """Adds products to the sums of one or two tiles and rows of squares, which begin with the first features.

    The squares of the tiles are written meanwhile, unless they are there: always one term ahead, since a register
    cannot be loaded before what was stored there has arrived in the cache.
    """
    tiles = (examples.size + SIDE - 1) // SIDE
    count = 0 if written else len(grid[0])
    following = 0 if written else min(2, tiles - tile - count)
    if feature == 0:
        clear_sums(grid)
    else:
        load_sums(sums.values, sums.at, sums.row_step, sums.column_step, sums.stride, grid)
    for term in range(terms):
        if term + 1 < terms:
            write_tiles(rows, examples, feature, term + 1, x, tile, count, ahead, memory, of_bytes, like)
        else:
            write_tiles(rows, examples, feature, 0, x, tile + count, following, ahead, memory, of_bytes, like)
        add_terms(weights, x, 0, tile, term, grid)
    store_sums(sums.values, sums.at, sums.row_step, sums.column_step, sums.stride, grid)


@kernel
def forward(rows, examples, weights, z, ahead, starts, scratch, of_bytes, like):
    """z = x @ weights for the tiles of at most `EXAMPLES_TOGETHER` examples, without scale or biases.

    Lanes behind the last example get what it gets. The rows of the examples from the position `ahead` on are prefetched
    meanwhile.
    """
    units, blocks, tiles = weights.units, (rows.dense + SIDE - 1) // SIDE, (examples.size + SIDE - 1) // SIDE
    height, one, two = square_height(units), repeat(like, 1), repeat(like, 2)
    parts = 1 if of_bytes is not None else PARTS
    find_rows(rows, examples, 0, tiles * SIDE, starts)
    for feature in range(0, rows.dense, TERMS_OF_SQUARES * PAIRS_OF_SQUARE):
        terms = min(TERMS_OF_SQUARES, squares_of_terms(rows.dense - feature))
        x = Squares(scratch, 0, terms * parts * SQUARE, SQUARE, parts)
        w = Squares(scratch, tiles * x.step, terms * PARTS * height * SIDE, height * SIDE, PARTS)
        memory = Memory(scratch, w.at + 2 * w.step, starts)
        for unit in range(0, units, 2 * height):
            rest, written = min(2 * height, units - unit), unit > 0
            take_registers(height, rest)
            for i in range(0, rest, height):
                to, count = w.at + i // height * w.step, min(height, rest - i)
                step = PARTS * w.square
                write_weights(
                    weights, blocks, feature, terms, unit + i, count, scratch, to, step, w.square, parts, like
                )
            if not written:
                write_tiles(rows, examples, feature, 0, x, 0, min(2, tiles), ahead, memory, of_bytes, like)
            for tile in range(0, tiles, 2):
                sums = Sums(z.values, z.at + tile * z.stride + unit * SIDE, height * SIDE, z.stride, SIDE)
                given = rows, examples, feature, terms, w, x, sums, tile, ahead, memory, written
                if rest > height:
                    if tile + 1 < tiles:
                        forward_grid(*given, repeat(two, 2), of_bytes, like)
                    else:
                        forward_grid(*given, repeat(one, 2), of_bytes, like)
                elif tile + 1 < tiles:
                    forward_grid(*given, repeat(two, 1), of_bytes, like)
                else:
                    forward_grid(*given, repeat(one, 1), of_bytes, like)
    leave_matrix_registers()


@kernel
def write_gradient(dz, begin, count, terms, unit, units, target, to, step, square, spare, times, like):
    """Writes squares of the gradient of some units' outputs, for `count` examples from number `begin` on."""
    for term in range(terms):
        for half in range(2):
            first = term * PAIRS_OF_SQUARE + half * SIDE
            if first < count:
                dz_at = dz.at + (begin + first) * dz.stride + unit
                transpose(dz.values, dz_at, dz.stride, count - first, target, spare + half * SQUARE, SIDE, like)
            else:
                for i in range(0, SQUARE, SIDE):
                    store(like, target, spare + half * SQUARE + i)
        for i in range(0, units * SIDE, SIDE):
            x, y = load(target, spare + i, like), load(target, spare + SQUARE + i, like)
            store_parts(x, y, target, to + i, square, times)
        to += step


@inlined_kernel
def prefetch_next(rows, examples, number, feature):
    """Asks for what is needed later of the same features, once for each cache line.

    That is the example which comes a pass later. By kind, the rows of the batch have been read by this thread, and
    those of the next one are asked for, of which the forward pass leaves every second one.
    """
    later = EXAMPLES_TOGETHER
    if rows.records == RECORDS_BY_KIND:
        later = examples.size
        is_due = number % 2 == 1 and examples.first + number + later < examples.end
    else:
        is_due = number + later < examples.size
    if is_due and feature * itemsize(rows.values) % BYTES_PER_LINE == 0:
        prefetch(rows.values, row_start(rows, at(examples.order, examples.first + number + later)) + feature)


@inlined_kernel
def prefetch_gradients(rows, examples, begin, number, dz, units):
    """By kind, asks for a few rows of the gradient of the next pass, of which other threads have written some."""
    if rows.records == RECORDS_BY_KIND:
        first = begin + EXAMPLES_TOGETHER + number * GRADIENTS_AHEAD
        for i in range(first, min(first + GRADIENTS_AHEAD, examples.size)):
            for unit in range(0, units, SIDE):
                prefetch(dz.values, dz.at + i * dz.stride + unit)


@kernel
def write_rows(rows, examples, begin, term, feature, to, memory, of_bytes, like):
    """Writes squares of sixteen features, a column a feature, for some examples of a pass.

    Of floats, the sixteen behind them, another cache line, come to the nearest cache meanwhile.
    """
    values, spare = memory.values, memory.spare
    for i in range(SIDE):
        number, row_at = term * PAIRS_OF_SQUARE + i, to + i * SIDE
        if feature + SIDE <= rows.dense:
            x = load_converted(rows.values, at(memory.starts, number) + feature, like)
            y = load_converted(rows.values, at(memory.starts, number + SIDE) + feature, like)
            store_rows(x, y, values, row_at, of_bytes)
            if of_bytes is None:
                prefetch_near(rows.values, at(memory.starts, number) + feature + SIDE)
                prefetch_near(rows.values, at(memory.starts, number + SIDE) + feature + SIDE)
        else:
            for half in range(2):
                position = examples.first + min(begin + number + half * SIDE, examples.size - 1)
                example, half_at = at(examples.order, position), spare + half * SIDE
                convert_dense(rows, example, feature, feature + SIDE, values, half_at, like)
            store_rows(load(values, spare, like), load(values, spare + SIDE, like), values, row_at, of_bytes)
        prefetch_next(rows, examples, begin + number, feature)
        prefetch_next(rows, examples, begin + number + SIDE, feature)


@kernel
def write_blocks(rows, examples, begin, term, feature, count, x, memory, of_bytes, like):
    """Writes squares of a few vectors of features for one term."""
    for block in range(count):
        to, k = x.at + block * x.step + term * x.parts * SQUARE, feature + block * SIDE
        write_rows(rows, examples, begin, term, k, to, memory, of_bytes, like)


@kernel
def update_grid(
    rows, examples, begin, terms, feature, behind, gradient, square, x, following, sums, memory, grid, of_bytes, like
):
    """Adds products to the weights of one or two vectors of features and rows of squares.

    The squares of the features are written meanwhile, for the first rows of squares, likewise one term ahead; `behind`
    more vectors of features come next.
    """
    count = 0 if square > 0 else len(grid[0])
    behind = 0 if square > 0 else behind
    load_sums(sums.values, sums.at, sums.row_step, sums.column_step, sums.stride, grid)
    for term in range(terms):
        if term + 1 < terms:
            write_blocks(rows, examples, begin, term + 1, feature, count, x, memory, of_bytes, like)
        else:
            write_blocks(rows, examples, begin, 0, feature + 2 * SIDE, behind, following, memory, of_bytes, like)
        add_terms(gradient, x, square, 0, term, grid)
    store_sums(sums.values, sums.at, sums.row_step, sums.column_step, sums.stride, grid)


@kernel
def update(rows, examples, share, weights, dz, starts, scratch, of_bytes, like):
    """weights += dz.T @ x, summed over the examples in their order, for a share of the features."""
    units, one, two = weights.units, repeat(like, 1), repeat(like, 2)
    height = square_height(units)
    squares = (units + height - 1) // height
    parts = 1 if of_bytes is not None else PARTS
    for begin in range(0, examples.size, EXAMPLES_TOGETHER):
        count = min(EXAMPLES_TOGETHER, examples.size - begin)
        terms = squares_of_terms(count)
        x = Squares(scratch, 0, terms * parts * SQUARE, SQUARE, parts)
        following = Squares(scratch, 2 * x.step, x.step, SQUARE, parts)
        gradient = Squares(scratch, 4 * x.step, terms * PARTS * height * SIDE, height * SIDE, PARTS)
        memory = Memory(scratch, gradient.at + squares * gradient.step, starts)
        find_rows(rows, examples, begin, terms * PAIRS_OF_SQUARE, starts)
        for square in range(squares):
            unit, to = square * height, gradient.at + square * gradient.step
            n, step = min(height, units - unit), PARTS * gradient.square
            write_gradient(
                dz, begin, count, terms, unit, n, scratch, to, step, gradient.square, memory.spare, parts, like
            )
        taken = 0
        blocks = min(2, (share.feature_end - share.feature_begin) // SIDE)
        write_blocks(rows, examples, begin, 0, share.feature_begin, blocks, x, memory, of_bytes, like)
        for feature in range(share.feature_begin, share.feature_end, 2 * SIDE):
            both = feature + SIDE < share.feature_end
            behind = max(0, min(2, (share.feature_end - feature) // SIDE - 2))
            number = (feature - share.feature_begin) // (2 * SIDE)
            prefetch_gradients(rows, examples, begin, number, dz, units)
            for square in range(0, squares, 2):
                unit = square * height
                rest = min(2 * height, units - unit)
                if taken != rest:
                    take_registers(height, rest)
                    taken = rest
                w_at = weights.at + feature // SIDE * weights.stride + unit * SIDE
                sums = Sums(weights.values, w_at, height * SIDE, weights.stride, SIDE)
                given = rows, examples, begin, terms, feature, behind, gradient, square, x, following, sums, memory
                if rest > height:
                    if both:
                        update_grid(*given, repeat(two, 2), of_bytes, like)
                    else:
                        update_grid(*given, repeat(one, 2), of_bytes, like)
                elif both:
                    update_grid(*given, repeat(two, 1), of_bytes, like)
                else:
                    update_grid(*given, repeat(one, 1), of_bytes, like)
            x, following = following, x
    leave_matrix_registers()
