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
    fma_columns,
    itemsize,
    load_grid,
    prefetch,
    put_in_column,
    repeat,
    store_grid,
    transpose_rows,
)
from fastfnn.kernels.structures import BYTES_PER_LINE, FEATURES_TOGETHER, RECORDS_BY_KIND, TILES_TOGETHER, Outputs

UNITS_OF_TILE = 20 if ROOMY else 5  # whose sums for one tile stay in registers


@kernel
def grids_of_tiles(like):
    """Grids of sums for several tiles, and many units, few and one."""
    many, few, one = repeat(like, 5), repeat(like, 4), repeat(like, 1)
    return repeat(many, TILES_TOGETHER), repeat(few, TILES_TOGETHER), repeat(one, TILES_TOGETHER)


@kernel
def grids_of_packed(like):
    """Grids for tiles of packed bytes, which are taken apart for each group of units: the fewer, the better."""
    many, few, one = repeat(like, 10), repeat(like, 4), repeat(like, 1)
    return repeat(many, 2), repeat(few, 2), repeat(one, 2)


@kernel
def find_rows(rows, examples, begin, count, starts):
    """Where the values of the examples from number `begin` on begin; behind the last one, those of the last one."""
    for i in range(count):
        example = at(examples.order, examples.first + min(begin + i, examples.size - 1))
        starts[i] = row_start(rows, example)


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
    a cache line of each. Records of bytes are so short that they come with the listed features.
    """
    part, parts = feature // COLUMNS_TOGETHER, (rows.dense + COLUMNS_TOGETHER - 1) // COLUMNS_TOGETHER
    if rows.records == RECORDS_BY_KIND:
        prefetch_every_second(rows, examples, position, part, parts, lanes)
    elif rows.records and itemsize(rows.values) > 1:
        if feature == 0:
            prefetch_first_lines(rows, examples.order, position, examples.end, 1)
        for i in range(part * lanes // parts, (part + 1) * lanes // parts):
            prefetch_row(rows, examples.order, position + i, examples.end)
    if not rows.records and feature * itemsize(rows.values) % BYTES_PER_LINE == 0:
        for i in range(position, min(position + lanes, examples.end)):
            prefetch(rows.values, row_start(rows, at(examples.order, i)) + feature)


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


@inlined_kernel
def write_features(rows, starts, tile, first, last, x, to, like):
    """Writes some features of a tile of examples, whose rows begin at `starts`, as columns, 16 at a time."""
    whole = last - (last - first) % COLUMNS_TOGETHER
    for feature in range(first, whole, COLUMNS_TOGETHER):
        transpose_rows(rows.values, starts, tile * len(like), feature, x, to + (feature - first) * len(like), like)
    if whole < last:
        write_last_features(rows, starts, tile, whole, x, to + (whole - first) * len(like), like)


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
    """The rows of the examples from a position on, of which parts are asked for, and the first feature of now."""

    rows: Any
    examples: Any
    position: int
    feature: int


@inlined_kernel
def prefetch_coming(coming, k, tiles, lanes):
    """Asks for a part of the rows of some tiles that come later, when feature k of those of now is multiplied.

    Each takes one of the few places that a core has for what is on its way to it, until it is there. While rows of now
    are read, those would be without a place; while they are multiplied, few are needed.
    """
    if k % COLUMNS_TOGETHER == 0:
        for tile in range(tiles):
            position, feature = coming.position + tile * lanes, coming.feature + k
            prefetch_part(coming.rows, coming.examples, position, feature, lanes)


@kernel
def multiply_grid(product, unit, z, coming, grid):
    """Writes a product to z, or adds it, for as many tiles, and units from this one on, as the grid has."""
    lanes, x_at = len(grid[0][0]), 0
    z_at, vector_at = z.at + unit * lanes, product.weights_at + unit * product.unit_step
    if not product.begins:
        grid = load_grid(z.values, z_at, z.stride, lanes, grid)
    for k in range(0, product.features, lanes):
        weights_at = vector_at
        if unit == 0:
            prefetch_coming(coming, k, len(grid), lanes)
        for _ in range(lanes // PACKED):
            of_weights = (product.weights, weights_at, product.step, product.unit_step)
            grid = fma_columns(product.x, x_at, product.x_tile, *of_weights, grid)
            x_at += PACKED * lanes
            weights_at += PACKED * product.step
        vector_at += product.vector_step
    store_grid(grid, z.values, z_at, z.stride, lanes)


@kernel
def multiply(product, z, coming, grids):
    """Writes a product to z, or adds it, for all units, in grids of many, of few and of one."""
    many, few, one = grids
    unit = 0
    while unit < product.units:
        if product.units - unit >= len(many[0]):
            multiply_grid(product, unit, z, coming, many)
            unit += len(many[0])
        elif product.units - unit >= len(few[0]):
            multiply_grid(product, unit, z, coming, few)
            unit += len(few[0])
        else:
            multiply_grid(product, unit, z, coming, one)
            unit += 1


@kernel
def forward_tiles(rows, examples, begin, weights, by_feature, z, ahead, starts, x, grids):
    """`forward` for the tiles from example number `begin` on, as many as the grids have."""
    tiles, like = len(grids[0]), grids[0][0][0]
    lanes = len(like)
    x_tile = FEATURES_TOGETHER * lanes
    step = weights.stride if by_feature else 1
    unit_step = 1 if by_feature else lanes
    vector_step = lanes * weights.stride if by_feature else weights.stride
    of_tiles = Outputs(z.values, z.at + begin // lanes * z.stride, z.stride)
    find_rows(rows, examples, begin, tiles * lanes, starts)
    for first in range(0, rows.dense, FEATURES_TOGETHER):
        last = min(first + FEATURES_TOGETHER, rows.dense)
        for tile in range(tiles):
            write_features(rows, starts, tile, first, last, x, tile * x_tile, like)
        at_first = weights.at + first // lanes * vector_step
        product = Product(
            x,
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
        multiply(product, of_tiles, Coming(rows, examples, ahead, first), grids)


@kernel
def forward(rows, examples, weights, by_feature, z, ahead, starts, x, grids, like):
    """z = x @ weights for some tiles, without scale or biases.

    Lanes behind the last example get what it gets. The rows of the examples from the position `ahead` on are prefetched
    meanwhile. `x` is scratch memory, of words where bytes are packed.

    Complete tiles are multiplied together, as many as the grids have, so that fewer loads are needed for as many
    products. That does not pay for few units and long rows of floats, which memory keeps waiting: sixteen rows at a
    time arrive sooner than all.
    """
    lanes, tiles = len(like), len(grids[0])
    begin, short = 0, by_feature or itemsize(rows.values) == 1
    while short and examples.size - begin > (tiles - 1) * lanes:
        behind = begin + tiles * lanes
        coming = next_rows(rows, examples, begin, behind, ahead)
        forward_tiles(rows, examples, begin, weights, by_feature, z, coming, starts, x, grids)
        begin = behind
    most, few, one = repeat(like, UNITS_OF_TILE), repeat(like, 4), repeat(like, 1)
    of_tile = repeat(most, 1), repeat(few, 1), repeat(one, 1)
    while begin < examples.size:
        behind = begin + lanes
        coming = next_rows(rows, examples, begin, behind, ahead)
        forward_tiles(rows, examples, begin, weights, by_feature, z, coming, starts, x, of_tile)
        begin = behind


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
