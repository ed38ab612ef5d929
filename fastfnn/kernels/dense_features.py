"""The first layer's features that are mostly not zero: all their values are multiplied.

Forward, they go through the tiles of a block: a few features at a time are written with examples as lanes, and
multiplied like the inputs of any layer. Bytes are written as they are, four in a word, where there are registers enough
to take them apart as they are multiplied. Nothing is summed over lanes, and each output is one sum over the features in
their order, however the tiles are grouped.

How the weights lie depends on the number of units; see `Layout`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastfnn.kernels import dense_by_feature, dense_by_unit
from fastfnn.kernels.compilation import inlined_kernel, kernel
from fastfnn.kernels.rows import (
    prefetch_dense,
    prefetch_entries,
    prefetch_first_lines,
    prefetch_row,
    row_start,
)
from fastfnn.kernels.simd import (
    COLUMNS_TOGETHER,
    PACKED,
    ROOMY,
    at,
    columns_of_vectors,
    fma_columns,
    itemsize,
    load_grid,
    long_words,
    prefetch,
    put_in_column,
    repeat,
    size_of_columns,
    store_grid,
    transpose_long_rows,
    transpose_rows,
)
from fastfnn.kernels.structures import BYTES_PER_LINE, FEATURES_TOGETHER, RECORDS_BY_KIND, Outputs

UNITS_OF_TILE = 20 if ROOMY else 5  # whose sums for one tile stay in registers
TILES, UNITS_OF_TILES = (2, 10) if ROOMY else (1, 5)  # of a grid of sums: bytes are taken apart for each group of units


@kernel
def grids_of_tiles(like):
    """Grids of sums for several tiles, and many units, few and one."""
    many, few, one = repeat(like, UNITS_OF_TILES), repeat(like, 4), repeat(like, 1)
    return repeat(many, TILES), repeat(few, TILES), repeat(one, TILES)


@kernel
def grids_of_tile(like):
    """The same for one tile."""
    many, few, one = repeat(like, UNITS_OF_TILE), repeat(like, 4), repeat(like, 1)
    return repeat(many, 1), repeat(few, 1), repeat(one, 1)


@kernel
def find_rows(rows, examples, begin, count, starts):
    """Where the values of the examples from number `begin` on begin; behind the last one, those of the last one."""
    for i in range(count):
        example = at(examples.order, examples.first + min(begin + i, examples.size - 1))
        starts[i] = row_start(rows, example)


@inlined_kernel
def find_coming_rows(rows, examples, position, count, starts, to):
    """The same for examples that come later, from a position of the order on, in starts[to:]."""
    for i in range(count):
        starts[to + i] = row_start(rows, at(examples.order, min(position + i, examples.end - 1)))


@kernel
def next_rows(rows, examples, begin, behind, ahead):
    """The position of the rows to ask for while the examples from number `begin` to the one `behind` are multiplied.

    They are the next ones of a matrix. Those of records have been read already for their listed features, but for those
    of the next block, from the position `ahead` on.
    """
    if rows.records:
        return ahead + begin
    return examples.first + behind if behind < examples.size else ahead


@kernel
def prefetch_part(rows, examples, position, feature, lanes):
    """Asks for a part of so many rows that come later, for each sixteen features of rows of now.

    All at once, they would keep the rows of now waiting: of records some at a time, of a matrix, whose rows are long,
    a cache line of each.
    """
    if rows.records:
        prefetch_records(rows, examples, position, feature, lanes)
    elif begins_line(rows, feature):
        for i in range(position, min(position + lanes, examples.end)):
            prefetch(rows.values, row_start(rows, at(examples.order, i)) + feature)


@inlined_kernel
def begins_line(rows, feature):
    """Whether this feature of a matrix is the first one of a cache line, if rows begin with one."""
    return feature * itemsize(rows.values) % BYTES_PER_LINE == 0


@inlined_kernel
def prefetch_records(rows, examples, position, feature, lanes):
    """`prefetch_part` of records; those of bytes are so short that they come with the listed features."""
    part, parts = feature // COLUMNS_TOGETHER, (rows.dense + COLUMNS_TOGETHER - 1) // COLUMNS_TOGETHER
    if rows.records == RECORDS_BY_KIND:
        prefetch_every_second(rows, examples, position, part, parts, lanes)
    elif itemsize(rows.values) > 1:
        if feature == 0:
            prefetch_first_lines(rows, examples.order, position, examples.end, 1)
        for i in range(part * lanes // parts, (part + 1) * lanes // parts):
            prefetch_row(rows, examples.order, position + i, examples.end)


@inlined_kernel
def prefetch_every_second(rows, examples, position, part, parts, lanes):
    """Asks for every second one of so many rows, a few for each part of the features but the first: those read by kind.

    The update asks for the others. All in either would keep it waiting.
    """
    if part == 0:
        prefetch_entries(rows, examples.order, position, min(position + lanes, examples.end), 1)
        return
    for i in range((part - 1) * lanes // (parts - 1), part * lanes // (parts - 1)):
        if i % 2 == 0:
            prefetch_dense(rows, examples.order, position + i, examples.end)


@kernel
def write_last_features(rows, starts, tile, feature, x, to, like):
    """`write_features` for fewer than 16, with zeros behind them."""
    for i in range(len(like) * COLUMNS_TOGETHER):  # one loop, which the compiler does not unroll
        row, k = i // COLUMNS_TOGETHER, i % COLUMNS_TOGETHER
        value = at(rows.values, at(starts, tile * len(like) + row) + min(feature + k, rows.dense - 1))
        put_in_column(value if feature + k < rows.dense else 0, x, to, k, row, like)


@kernel
def write_words(rows, starts, tile, first, last, x, to, like):
    """Writes features 64 at a time where they are packed, as long as there are so many; returns the next one."""
    feature = first
    if x is not None:
        while last - feature >= PACKED * COLUMNS_TOGETHER:
            columns_to = to + size_of_columns(x, feature - first, like)
            transpose_long_rows(rows.values, starts, tile * len(like), feature, x, columns_to, like)
            feature += PACKED * COLUMNS_TOGETHER
    return feature


@inlined_kernel
def write_features(rows, starts, tile, first, last, x, to, like):
    """Writes some features of a tile of examples, whose rows begin at `starts`, as columns, 16 or 64 at a time."""
    whole = last - (last - first) % COLUMNS_TOGETHER
    begin = write_words(rows, starts, tile, first, last, long_words(x, like), to, like)
    for feature in range(begin, whole, COLUMNS_TOGETHER):
        columns_to = to + size_of_columns(x, feature - first, like)
        transpose_rows(rows.values, starts, tile * len(like), feature, x, columns_to, like)
    if whole < last:
        write_last_features(rows, starts, tile, whole, x, to + size_of_columns(x, whole - first, like), like)


class Product(NamedTuple):
    """Some features, in whole vectors, of a few tiles, and their weights."""

    x: Any  # (tiles, features, V), maybe packed; `x_tile` from a tile to the next one
    x_tile: int
    features: int
    weights: Any
    weights_at: int
    units: int
    step: int  # from the weight of a feature to that of the next one
    vector_step: int  # from one vector of features to the next
    unit_step: int
    begins: bool  # whether these are the first features, else their products are added to those of the ones before


class Coming(NamedTuple):
    """The rows of some tiles from a position on, of which parts are asked for, and the first feature of now.

    Rows of a matrix begin at starts[starts_at:].
    """

    rows: Any
    examples: Any
    position: int
    tiles: int
    starts: Any
    starts_at: int
    feature: int


@inlined_kernel
def from_feature(coming, feature):
    """The same rows, when this feature is the first one of now."""
    return Coming(coming.rows, coming.examples, coming.position, coming.tiles, coming.starts, coming.starts_at, feature)


@inlined_kernel
def prefetch_coming_records(coming, k, first_tile, last_tile, lanes):
    """Asks for a part of the records of some tiles that come later, when feature k of those of now is multiplied.

    Each takes one of the few places that a core has for what is on its way to it, until it is there. While rows of now
    are read, those would be without a place; while they are multiplied, few are needed.
    """
    if coming.rows.records and k % COLUMNS_TOGETHER == 0:
        for tile in range(first_tile, last_tile):
            position, feature = coming.position + tile * lanes, coming.feature + k
            prefetch_records(coming.rows, coming.examples, position, feature, lanes)


@inlined_kernel
def prefetch_coming_lines(coming, feature, first_row, rows, first_tile, last_tile, lanes):
    """Likewise for rows of a matrix: a cache line of some of each tile, without a branch that is mispredicted."""
    if not coming.rows.records and begins_line(coming.rows, feature):
        for tile in range(first_tile, last_tile):
            for row in range(first_row, first_row + rows):
                prefetch(coming.rows.values, at(coming.starts, coming.starts_at + tile * lanes + row) + feature)


@kernel
def multiply_grid(product, unit, z, coming, asked, grid):
    """Writes a product to z, or adds it, for as many tiles, and units from this one on, as the grid has.

    The rows that come next have been asked for `asked` tiles before, and for so many as is returned then: one more for
    each group of units, and all by the last one. Of floats, which have many cache lines, half a tile at a time: all
    would keep the multiply-adds waiting.
    """
    lanes, x_at = len(grid[0][0]), 0
    behind = coming.tiles if unit + len(grid[0]) == product.units else min(asked + 1, coming.tiles)
    z_at, vector_at = z.at + unit * lanes, product.weights_at + unit * product.unit_step
    together = lanes // 2 if itemsize(coming.rows.values) > 1 else lanes
    if not product.begins:
        grid = load_grid(z.values, z_at, z.stride, lanes, grid)
    for k in range(0, product.features, lanes):
        weights_at, feature = vector_at, coming.feature + k
        prefetch_coming_records(coming, k, asked, behind, lanes)
        for row in range(0, lanes, together):
            prefetch_coming_lines(coming, feature, row, together, asked, behind, lanes)
            for _ in range(together // PACKED):
                of_weights = (product.weights, weights_at, product.step, product.unit_step)
                grid = fma_columns(product.x, x_at, product.x_tile, *of_weights, grid)
                x_at += size_of_columns(product.x, PACKED, grid[0][0])
                weights_at += PACKED * product.step
        vector_at += product.vector_step
    store_grid(grid, z.values, z_at, z.stride, lanes)
    return behind


@kernel
def multiply_units(multiply, product, z, coming, grids):
    """Calls `multiply`, which is like `multiply_grid`, for all units of a product, in grids of many, few and one."""
    many, few, one = grids
    unit, asked = 0, 0
    while unit < product.units:
        if product.units - unit >= len(many[0]):
            asked = multiply(product, unit, z, coming, asked, many)
            unit += len(many[0])
        elif product.units - unit >= len(few[0]):
            asked = multiply(product, unit, z, coming, asked, few)
            unit += len(few[0])
        else:
            asked = multiply(product, unit, z, coming, asked, one)
            unit += 1


class Factors(NamedTuple):
    """The weights, and scratch memory for values."""

    weights: Any
    by_feature: bool
    x: Any


@kernel
def multiply_tiles(factors, rows, starts, z, coming, grids):
    """z = x @ weights for as many tiles as the grids have, of which the rows begin at `starts`."""
    tiles, like, weights = len(grids[0]), grids[0][0][0], factors.weights
    lanes = len(like)
    together = columns_of_vectors(factors.x, FEATURES_TOGETHER)
    x_tile = size_of_columns(factors.x, together, like)
    step = weights.stride if factors.by_feature else 1
    unit_step = 1 if factors.by_feature else lanes
    vector_step = lanes * weights.stride if factors.by_feature else weights.stride
    for first in range(0, rows.dense, together):
        last = min(first + together, rows.dense)
        for tile in range(tiles):
            write_features(rows, starts, tile, first, last, factors.x, tile * x_tile, like)
        at_first = weights.at + first // lanes * vector_step
        product = Product(
            factors.x,
            x_tile,
            last - first,
            weights.values,
            at_first,
            weights.units,
            step,
            vector_step,
            unit_step,
            first == 0,
        )
        multiply_units(multiply_grid, product, z, from_feature(coming, first), grids)


@kernel
def next_tiles(multiply, factors, rows, examples, begin, z, ahead, ahead_tiles, starts, grids):
    """Calls `multiply` for the tiles from example number `begin` on, as many as the grids have.

    Meanwhile the rows of some tiles from the position `ahead` on are asked for.
    """
    lanes, tiles = len(grids[0][0][0]), len(grids[0])
    of_tiles = Outputs(z.values, z.at + begin // lanes * z.stride, z.stride)
    find_rows(rows, examples, begin, tiles * lanes, starts)
    if not rows.records:
        find_coming_rows(rows, examples, ahead, ahead_tiles * lanes, starts, tiles * lanes)
    coming = Coming(rows, examples, ahead, ahead_tiles, starts, tiles * lanes, 0)
    multiply(factors, rows, starts, of_tiles, coming, grids)


@kernel
def go_through_tiles(multiply, factors, rows, examples, z, ahead, starts, of_tiles, of_tile):
    """Calls `multiply`, which is like `multiply_tiles`, for all tiles; the rows at the position `ahead` come next.

    Complete tiles are multiplied together, by the grids `of_tiles`, so that fewer loads are needed for as many
    products.
    """
    lanes, tiles, begin = len(of_tile[0][0][0]), len(of_tiles[0]), 0
    while examples.size - begin > (tiles - 1) * lanes:
        behind = begin + tiles * lanes
        coming = next_rows(rows, examples, begin, behind, ahead)
        next_tiles(multiply, factors, rows, examples, begin, z, coming, tiles, starts, of_tiles)
        begin = behind
    of_next = 1 if rows.records or examples.size <= lanes else tiles  # of a matrix, the first ones of the next block
    while begin < examples.size:
        behind = begin + lanes
        coming = next_rows(rows, examples, begin, behind, ahead)
        next_tiles(multiply, factors, rows, examples, begin, z, coming, of_next, starts, of_tile)
        begin = behind


@kernel
def forward(rows, examples, weights, by_feature, z, ahead, starts, x, like):
    """z = x @ weights for some tiles, without scale or biases.

    Lanes behind the last example get what it gets. The rows of the examples from the position `ahead` on are prefetched
    meanwhile. `x` is scratch memory, of words where bytes are packed.
    """
    factors = Factors(weights, by_feature, x)
    of_tiles, of_tile = grids_of_tiles(like), grids_of_tile(like)
    go_through_tiles(multiply_tiles, factors, rows, examples, z, ahead, starts, of_tiles, of_tile)


@kernel
def update(rows, examples, share, weights, dz, scratch, of_features, of_units, direct):
    """weights += the gradient x.T @ dz, summed over the examples in their order, for a share of the features.

    `of_features` is an example of a vector where weights lie unit by unit, `of_units` one where they lie feature by
    feature; the other one is None. `direct` is the grids of sums of several vectors of features where values are
    multiplied where they lie, else None. Only what is not None is compiled: hence no branches with else, of which the
    compiler would see but one that is not taken.
    """
    if of_features is not None:
        dense_by_unit.update(rows, examples, share, weights, dz, scratch, of_features, direct)
    if of_units is not None:
        dense_by_feature.update(rows, examples, share, weights, dz, scratch, of_units)
