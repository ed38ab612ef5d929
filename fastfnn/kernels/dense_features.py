"""The first layer's features that are mostly not zero: all their values are multiplied.

Forward, they go through the tiles of a block: a few features at a time are written with examples as lanes, in the
network's dtype, and multiplied like the inputs of any layer. Nothing is summed over lanes, and each output is one sum
over the features in their order, however the tiles are grouped.

How the weights lie depends on the number of units; see `Layout`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastfnn.kernels import dense_by_feature, dense_by_unit
from fastfnn.kernels.compilation import inlined_kernel, kernel
from fastfnn.kernels.rows import (
    convert_dense,
    prefetch_dense,
    prefetch_entries,
    prefetch_first_lines,
    prefetch_row,
    row_start,
)
from fastfnn.kernels.simd import (
    COLUMNS_TOGETHER,
    ROOMY,
    at,
    fma_grid,
    itemsize,
    load_grid,
    prefetch,
    repeat,
    store_grid,
    transpose,
    transpose_rows,
)
from fastfnn.kernels.structures import BYTES_PER_LINE, FEATURES_TOGETHER, RECORDS_BY_KIND, TILES_TOGETHER, Outputs

UNITS_OF_TILES = 5  # whose sums for as many tiles stay in registers
UNITS_OF_TILE = 20 if ROOMY else 5


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
def write_features(rows, examples, begin, tile, feature, starts, scratch, to, spare_at, like):
    """Writes 16 features of the tile of examples from number `begin` on as vectors of examples, zeros behind the last.

    It is this tile of those whose rows begin at `starts`. Rows that end before the 16 are filled up in the spare part
    of scratch memory.
    """
    lanes = len(like)
    if feature + COLUMNS_TOGETHER <= rows.dense:
        transpose_rows(rows.values, starts, tile * lanes, feature, scratch, to, like)
        return
    for i in range(lanes):
        example = at(examples.order, examples.first + min(begin + i, examples.size - 1))
        row_at = spare_at + i * COLUMNS_TOGETHER
        convert_dense(rows, example, feature, feature + COLUMNS_TOGETHER, scratch, row_at, like)
    for k in range(0, COLUMNS_TOGETHER, lanes):
        transpose(scratch, spare_at + k, COLUMNS_TOGETHER, lanes, scratch, to + k * lanes, lanes, like)


class Product(NamedTuple):
    """Some features, in whole vectors, of a few tiles, and their weights."""

    x: Any  # (tiles, features, V), `x_tile` from a tile to the next one
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
        for _ in range(lanes):
            grid = fma_grid(product.x, x_at, product.x_tile, product.weights, weights_at, product.unit_step, grid)
            x_at += lanes
            weights_at += product.step
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
def forward_tiles(rows, examples, begin, weights, by_feature, z, ahead, starts, scratch, grids):
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
            number = begin + tile * lanes
            for feature in range(first, last, COLUMNS_TOGETHER):
                to = tile * x_tile + (feature - first) * lanes
                write_features(rows, examples, number, tile, feature, starts, scratch, to, tiles * x_tile, like)
        at_first = weights.at + first // lanes * vector_step
        product = Product(
            scratch,
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
def forward(rows, examples, weights, by_feature, z, ahead, starts, scratch, like):
    """z = x @ weights for some tiles, without scale or biases.

    Lanes behind the last example get what it gets. The rows of the examples from the position `ahead` on are prefetched
    meanwhile.

    Complete tiles are multiplied together, so that fewer loads are needed for as many products. That does not pay for
    few units and long rows of floats, which memory keeps waiting: sixteen rows at a time arrive sooner than all.
    """
    lanes = len(like)
    most, many, few, one = repeat(like, UNITS_OF_TILE), repeat(like, UNITS_OF_TILES), repeat(like, 4), repeat(like, 1)
    begin, short = 0, by_feature or itemsize(rows.values) == 1
    while short and examples.size - begin > (TILES_TOGETHER - 1) * lanes:
        behind = begin + TILES_TOGETHER * lanes
        coming = next_rows(rows, examples, begin, behind, ahead)
        grids = repeat(many, TILES_TOGETHER), repeat(few, TILES_TOGETHER), repeat(one, TILES_TOGETHER)
        forward_tiles(rows, examples, begin, weights, by_feature, z, coming, starts, scratch, grids)
        begin = behind
    while begin < examples.size:
        behind = begin + lanes
        coming = next_rows(rows, examples, begin, behind, ahead)
        grids = repeat(most, 1), repeat(few, 1), repeat(one, 1)
        forward_tiles(rows, examples, begin, weights, by_feature, z, coming, starts, scratch, grids)
        begin = behind


@kernel
def update(rows, examples, share, weights, dz, scratch, of_features, of_units, direct):
    """weights += the gradient x.T @ dz, summed over the examples in their order, for a share of the features.

    `of_features` is an example of a vector where weights lie unit by unit, `of_units` one where they lie feature by
    feature; the other one is None. `direct` is one where the rows have the network's dtype, else None. Only what is not
    None is compiled: hence no branches with else, of which the compiler would see but one that is not taken.
    """
    if of_features is not None:
        dense_by_unit.update(rows, examples, share, weights, dz, scratch, of_features, direct)
    if of_units is not None:
        dense_by_feature.update(rows, examples, share, weights, dz, scratch, of_units)
