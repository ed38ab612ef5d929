"""The first layer's features that are mostly not zero, where there are many units: all their values are multiplied.

Lanes are units: the weights lie feature by feature, `stride` apart and padded with zeros to whole vectors. Nothing is
summed over lanes, which few features would not pay for, and a vector that is not full costs little among many. Values
are converted to the network's dtype in scratch memory; blocks of sums stay in registers.
"""

from __future__ import annotations

from fastfnn.kernels.compilation import kernel
from fastfnn.kernels.rows import convert_dense, prefetch_row, row_start
from fastfnn.kernels.simd import ROOMY, add_grid, at, fma_grid, load_grid, prefetch, repeat, store_grid
from fastfnn.kernels.structures import EXAMPLES_PER_PASS, FEATURES_TOGETHER, Outputs

FEATURES_PER_PASS = 128  # forward, so that their weights for a panel of units stay in the nearest cache


@kernel
def vectors_of_panel(units, lanes):
    """Of how many vectors the next panel of so many units is: four, or fewer where that leaves no single one."""
    vectors = (units + lanes - 1) // lanes
    if not ROOMY:
        return 1
    return 3 if vectors == 5 else min(vectors, 4)


@kernel
def forward_block(scratch, x_at, x_stride, first, last, weights, unit, z, z_at, grid):
    """Adds the products of the features first..last-1 to z, of which the grid has vectors of units and examples."""
    lanes = len(grid[0][0])
    if first > 0:
        grid = load_grid(z.values, z_at, lanes, z.stride, grid)
    w_at = weights.at + first * weights.stride + unit
    for feature in range(first, last):
        grid = fma_grid(weights.values, w_at, lanes, scratch, x_at + feature, x_stride, grid)
        w_at += weights.stride
    store_grid(grid, z.values, z_at, lanes, z.stride)


@kernel
def forward_panel(rows, size, scratch, weights, unit, z, grid):
    """z = x @ weights for the examples of a tile and the units of one panel, as many as the grid has."""
    together = len(grid[0])
    for first in range(0, rows.dense, FEATURES_PER_PASS):
        last = min(first + FEATURES_PER_PASS, rows.dense)
        for i in range(0, size, together):
            z_at = z.at + i * z.stride + unit
            forward_block(scratch, i * rows.stride, rows.stride, first, last, weights, unit, z, z_at, grid)


@kernel
def forward(rows, examples, weights, z, scratch, like):
    """z = x @ weights for the examples of one tile, without scale or biases; the rows of the next one are prefetched.

    Examples are multiplied a few at a time, so that z must have room for a whole tile.
    """
    lanes, width = len(like), (rows.dense + len(like) - 1) // len(like) * len(like)
    for i in range(examples.size):
        position = examples.first + i
        convert_dense(rows, at(examples.order, position), 0, width, scratch, i * rows.stride, like)
        prefetch_row(rows, examples.order, position + lanes, examples.end)
    unit = 0
    while unit < weights.units:
        vectors = vectors_of_panel(weights.units - unit, lanes)
        if vectors == 4:
            forward_panel(rows, examples.size, scratch, weights, unit, z, repeat(repeat(like, 4), 4))
        elif vectors == 3:
            forward_panel(rows, examples.size, scratch, weights, unit, z, repeat(repeat(like, 4), 3))
        elif vectors == 2:
            forward_panel(rows, examples.size, scratch, weights, unit, z, repeat(repeat(like, 8), 2))
        else:
            forward_panel(rows, examples.size, scratch, weights, unit, z, repeat(repeat(like, 4), 1))
        unit += vectors * lanes


@kernel
def update_block(scratch, x_at, x_stride, count, weights, w_at, dz, dz_at, grid):
    """weights += x.T @ dz over `count` examples, for as many vectors of units and as many features as the grid has."""
    lanes = len(grid[0][0])
    for k in range(len(grid[0])):
        for unit in range(0, len(grid) * lanes, lanes):
            prefetch(weights.values, w_at + k * weights.stride + unit)
    for _ in range(count):
        grid = fma_grid(dz.values, dz_at, lanes, scratch, x_at, 1, grid)
        dz_at += dz.stride
        x_at += x_stride
    add_grid(grid, weights.values, w_at, lanes, weights.stride)


@kernel
def update_panel(scratch, feature, features, count, weights, unit, dz, grid):
    """`update_block` for the features from `feature` on, which scratch memory begins with, and a panel of units."""
    for k in range(0, features, len(grid[0])):
        w_at = weights.at + (feature + k) * weights.stride + unit
        update_block(scratch, k, FEATURES_TOGETHER, count, weights, w_at, dz, dz.at + unit, grid)


@kernel
def update_features(scratch, feature, features, count, weights, dz, like):
    """weights += x.T @ dz over `count` examples, for the features whose values are in scratch memory."""
    lanes, unit = len(like), 0
    while unit < weights.units:
        vectors = vectors_of_panel(weights.units - unit, lanes)
        if vectors == 4:
            update_panel(scratch, feature, features, count, weights, unit, dz, repeat(repeat(like, 4), 4))
        elif vectors == 3:
            update_panel(scratch, feature, features, count, weights, unit, dz, repeat(repeat(like, 4), 3))
        elif vectors == 2:
            update_panel(scratch, feature, features, count, weights, unit, dz, repeat(repeat(like, 8), 2))
        else:
            update_panel(scratch, feature, features, count, weights, unit, dz, repeat(repeat(like, 4), 1))
        unit += vectors * lanes


@kernel
def update(rows, examples, share, weights, dz, scratch, like):
    """weights += x.T @ dz, summed over the examples in their order, for a share of the features."""
    end = examples.first + examples.size
    for begin in range(0, examples.size, EXAMPLES_PER_PASS):
        count = min(EXAMPLES_PER_PASS, examples.size - begin)
        dz_of_pass = Outputs(dz.values, dz.at + begin * dz.stride, dz.stride)
        for feature in range(share.feature_begin, share.feature_end, FEATURES_TOGETHER):
            features = min(FEATURES_TOGETHER, share.feature_end - feature)
            for i in range(count):
                position = examples.first + begin + i
                if position + count < end:
                    ahead = at(examples.order, position + count)
                    prefetch(rows.values, row_start(rows, ahead) + feature)
                example = at(examples.order, position)
                convert_dense(rows, example, feature, feature + features, scratch, i * FEATURES_TOGETHER, like)
            update_features(scratch, feature, features, count, weights, dz_of_pass, like)
