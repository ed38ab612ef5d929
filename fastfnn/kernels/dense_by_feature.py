"""The gradient of the weights of the first layer's dense features, where they lie feature by feature.

Lanes are units: the weights lie feature by feature, `stride` apart and padded with zeros to whole vectors; one that is
not full costs little among many. Values are converted to the network's dtype in scratch memory; blocks of sums stay in
registers.
"""

from __future__ import annotations

from fastfnn.kernels.compilation import kernel
from fastfnn.kernels.rows import convert_dense, row_start
from fastfnn.kernels.simd import ROOMY, add_grid, at, fma_grid, prefetch, repeat
from fastfnn.kernels.structures import EXAMPLES_PER_PASS, FEATURES_TOGETHER, Outputs


@kernel
def vectors_of_panel(units, lanes):
    """Of how many vectors the next panel of so many units is: four, or fewer where that leaves no single one."""
    vectors = (units + lanes - 1) // lanes
    if not ROOMY:
        return 1
    return 3 if vectors == 5 else min(vectors, 4)


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
