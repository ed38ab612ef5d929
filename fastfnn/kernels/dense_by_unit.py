"""The first layer's features that are mostly not zero: all their values are multiplied.

Lanes are features: the weights lie unit by unit, `stride` apart and padded with zeros to whole vectors. Values that are
stored in the network's dtype are multiplied where they lie; others, and those of a vector that is not full, are
converted to scratch memory first. Blocks of sums stay in registers.

`direct` is a vector where the values have the network's dtype, else None, so that code is compiled only where it fits.
"""

from __future__ import annotations

from fastfnn.kernels.compilation import inlined_kernel, kernel
from fastfnn.kernels.offsets import clamped, shifted
from fastfnn.kernels.rows import convert_dense, prefetch_row, row_start
from fastfnn.kernels.simd import (
    add_grid,
    at,
    fma_grid,
    itemsize,
    load,
    load_converted,
    outer_fma,
    prefetch,
    repeat,
    store,
    store_totals,
)
from fastfnn.kernels.structures import BYTES_PER_LINE, EXAMPLES_PER_PASS, Examples, Outputs

MANY_EXAMPLES = 1024  # of which the rows leave the second-level cache


@kernel
def start_of(rows, examples, i):
    """Where the values of an example of a tile begin; behind the last one, those of the last one."""
    return row_start(rows, at(examples.order, examples.first + min(i, examples.size - 1)))


@inlined_kernel
def products_in_place(rows, examples, i, weights, w, count, ahead, products):
    """Adds the products of four examples' first `count` values with four units' weights, to be summed over the lanes.

    The row that begins at `ahead` is prefetched meanwhile, a cache line at a time: all at once, they would keep the
    rows of now waiting.
    """
    lanes = len(products[0])
    x = (
        start_of(rows, examples, i),
        start_of(rows, examples, i + 1),
        start_of(rows, examples, i + 2),
        start_of(rows, examples, i + 3),
    )
    for k in range(0, count, lanes):
        prefetch(rows.values, ahead + k)
        products = outer_fma(rows.values, x, weights.values, w, products)
        x, w = shifted(x, lanes), shifted(w, lanes)
    return products


@kernel
def forward(rows, examples, weights, z, scratch, like, four, direct):
    """z = x @ weights.T for the examples of one tile, without scale or biases.

    `four` is an example of a vector of four lanes. The rows of the next tile are prefetched meanwhile, one by one.
    """
    lanes, in_place = len(like), 0
    if direct is not None:
        in_place = rows.dense // lanes * lanes
    if in_place < weights.stride:
        for i in range(examples.size):
            example = at(examples.order, examples.first + i)
            convert_dense(rows, example, in_place, weights.stride, scratch, i * rows.stride, like)
    sums_at = lanes * rows.stride
    blocks = ((weights.units + 3) // 4) * ((examples.size + 3) // 4)
    next_position, due = examples.first + examples.size, 0
    for unit in range(0, weights.units, 4):
        for i in range(0, examples.size, 4):
            w = clamped(weights.at, unit, weights.units, weights.stride)
            products = repeat(like, 16)
            due += lanes
            if direct is not None:
                ahead = 0
                if due >= blocks and next_position < examples.end:
                    ahead = row_start(rows, at(examples.order, next_position))
                    next_position += 1
                    due -= blocks
                products = products_in_place(rows, examples, i, weights, w, in_place, ahead, products)
                w = shifted(w, in_place)
            x = clamped(0, i, examples.size, rows.stride)
            for _ in range(in_place, weights.stride, lanes):
                products = outer_fma(scratch, x, weights.values, w, products)
                x, w = shifted(x, lanes), shifted(w, lanes)
            store_totals(products, scratch, sums_at)
            for g in range(4):
                store(load(scratch, sums_at + 4 * g, four), z.values, z.at + (i + g) * z.stride + unit)
            while due >= blocks:
                prefetch_row(rows, examples.order, next_position, examples.end)
                next_position += 1
                due -= blocks


@inlined_kernel
def place(rows, examples, number, feature, width, direct):
    """Where the values of an example of a pass are, from a feature on."""
    if direct is not None:
        return row_start(rows, at(examples.order, examples.first + number)) + feature
    return number * width


@kernel
def update_block(x, rows, examples, dz, unit, weights, feature, grid, direct):
    """weights += dz.T @ x for a row of units and a vector of features, over the examples of a pass.

    Meanwhile a cache line of the next pass is prefetched for each example, of every row of units another one.
    """
    dz_at, width = dz.at + unit, len(grid[0][0])
    line = unit // len(grid[0]) * (BYTES_PER_LINE // itemsize(x))
    for i in range(examples.size):
        x_at = place(rows, examples, i, feature, width, direct)
        if direct is not None and line < width and examples.first + examples.size + i < examples.end:
            prefetch(x, place(rows, examples, examples.size + i, feature, width, direct) + line)
        grid = fma_grid(x, x_at, 0, dz.values, dz_at, 1, grid)
        dz_at += dz.stride
    add_grid(grid, weights.values, weights.at + unit * weights.stride + feature, 0, weights.stride)


@kernel
def update_features(x, rows, examples, weights, dz, feature, vector, direct):
    """weights += dz.T @ x for all units and a vector of features, over the examples of a pass."""
    unit = 0
    while weights.units - unit >= 5:
        update_block(x, rows, examples, dz, unit, weights, feature, repeat(repeat(vector, 5), 1), direct)
        unit += 5
    while unit < weights.units:
        update_block(x, rows, examples, dz, unit, weights, feature, repeat(repeat(vector, 1), 1), direct)
        unit += 1


@kernel
def update_converted(rows, examples, weights, dz, feature, scratch, like, vector):
    """`update_features` with the values converted first: a vector of each example, one after the other."""
    width = len(vector)
    whole = feature + width <= rows.dense
    for i in range(examples.size):
        position = examples.first + i
        if position + examples.size < examples.end:
            prefetch(rows.values, row_start(rows, at(examples.order, position + examples.size)) + feature)
        example = at(examples.order, position)
        if whole:
            store(load_converted(rows.values, row_start(rows, example) + feature, vector), scratch, i * width)
        else:
            convert_dense(rows, example, feature, feature + width, scratch, i * width, like)
    update_features(scratch, rows, examples, weights, dz, feature, vector, None)


@kernel
def update_pass(rows, examples, share, weights, dz, scratch, like, wide, direct):
    """`update` over so few examples that a vector of their features stays in the nearest cache."""
    feature = share.feature_begin
    if direct is not None:
        while min(share.feature_end, rows.dense) - feature >= len(wide):
            update_features(rows.values, rows, examples, weights, dz, feature, wide, direct)
            feature += len(wide)
    while share.feature_end - feature >= len(wide):
        update_converted(rows, examples, weights, dz, feature, scratch, like, wide)
        feature += len(wide)
    while feature < share.feature_end:
        update_converted(rows, examples, weights, dz, feature, scratch, like, like)
        feature += len(like)


@kernel
def update(rows, examples, share, weights, dz, scratch, like, wide, direct):
    """weights += dz.T @ x, summed over the examples in their order, for a share of the features.

    `wide` is an example of a vector of as many features as the registers have room for.
    """
    # The forward pass had the rows in another thread's cache, or has filled this one's with others since.
    far = direct is not None or not rows.records or share.cuts_stride != 0 or examples.size >= MANY_EXAMPLES
    end = examples.first + examples.size
    for begin in range(0, examples.size, EXAMPLES_PER_PASS):
        count = min(EXAMPLES_PER_PASS, examples.size - begin)
        first = examples.first + begin
        of_pass = Examples(examples.order, end if far else first + count, first, count)
        dz_of_pass = Outputs(dz.values, dz.at + begin * dz.stride, dz.stride)
        update_pass(rows, of_pass, share, weights, dz_of_pass, scratch, like, wide, direct)
