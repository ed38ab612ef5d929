"""The first layer's features that are mostly not zero: all their values are multiplied.

Lanes are features: the weights lie unit by unit, `stride` apart and padded with zeros to whole vectors, and so do the
examples in scratch memory, once they are converted to the network's dtype. Blocks of sums stay in registers.
"""

from __future__ import annotations

from fastfnn.kernels.compilation import kernel
from fastfnn.kernels.offsets import clamped, shifted
from fastfnn.kernels.rows import ROWS_AHEAD, convert_dense, prefetch_row
from fastfnn.kernels.simd import add_grid, at, fma_grid, load, outer_fma, repeat, store, store_totals
from fastfnn.kernels.structures import Outputs

EXAMPLES_PER_PASS = 32  # of an update: a compromise between passes over the weights and rows in the nearest cache


@kernel
def forward(rows, examples, weights, z, scratch, like, four):
    """z = x @ weights.T for the examples of one tile, without scale or biases.

    `four` is an example of a vector of four lanes. The rows of the next tile are prefetched meanwhile, a few at a time:
    all at once, they would wait for each other.
    """
    lanes = len(like)
    for i in range(examples.size):
        example = at(examples.order, examples.first + i)
        convert_dense(rows, example, 0, weights.stride, scratch, i * rows.stride, like)
    sums_at = lanes * rows.stride
    blocks = ((weights.units + 3) // 4) * ((examples.size + 3) // 4)
    next_position, due = examples.first + examples.size, 0
    for unit in range(0, weights.units, 4):
        for i in range(0, examples.size, 4):
            x = clamped(0, i, examples.size, rows.stride)
            w = clamped(weights.at, unit, weights.units, weights.stride)
            products = repeat(like, 16)
            for _ in range(0, rows.dense, lanes):
                products = outer_fma(scratch, x, weights.values, w, products)
                x, w = shifted(x, lanes), shifted(w, lanes)
            store_totals(products, scratch, sums_at)
            for g in range(4):
                store(load(scratch, sums_at + 4 * g, four), z.values, z.at + (i + g) * z.stride + unit)
            due += lanes
            while due >= blocks:
                prefetch_row(rows, examples.order, next_position, examples.end)
                next_position += 1
                due -= blocks


@kernel
def update_block(scratch, feature, stride, dz, unit, count, weights, at_feature, grid):
    """weights += dz.T @ x for a row of units and a vector of features, over `count` examples."""
    x_at, dz_at = feature, dz.at + unit
    for _ in range(count):
        grid = fma_grid(scratch, x_at, 0, dz.values, dz_at, 1, grid)
        x_at += stride
        dz_at += dz.stride
    add_grid(grid, weights.values, weights.at + unit * weights.stride + at_feature, 0, weights.stride)


@kernel
def update_features(scratch, feature, stride, dz, count, weights, at_feature, vector):
    """weights += dz.T @ x for all units and a vector of features, over `count` examples."""
    unit = 0
    while weights.units - unit >= 5:
        update_block(scratch, feature, stride, dz, unit, count, weights, at_feature, repeat(repeat(vector, 5), 1))
        unit += 5
    while unit < weights.units:
        update_block(scratch, feature, stride, dz, unit, count, weights, at_feature, repeat(repeat(vector, 1), 1))
        unit += 1


@kernel
def update(rows, examples, share, weights, dz, scratch, like, wide):
    """weights += dz.T @ x, summed over the examples in their order, for a share of the features.

    `wide` is an example of a vector of as many features as the registers have room for.
    """
    for begin in range(0, examples.size, EXAMPLES_PER_PASS):
        count = min(EXAMPLES_PER_PASS, examples.size - begin)
        for i in range(count):
            position = examples.first + begin + i
            if share.cuts_stride != 0 or not rows.records:  # not in the nearest caches from the forward pass
                prefetch_row(rows, examples.order, position + ROWS_AHEAD, examples.first + examples.size)
            example = at(examples.order, position)
            convert_dense(rows, example, share.feature_begin, share.feature_end, scratch, i * rows.stride, like)
        dz_of_pass = Outputs(dz.values, dz.at + begin * dz.stride, dz.stride)
        feature = share.feature_begin
        while share.feature_end - feature >= len(wide):
            update_features(
                scratch, feature - share.feature_begin, rows.stride, dz_of_pass, count, weights, feature, wide
            )
            feature += len(wide)
        while feature < share.feature_end:
            update_features(
                scratch, feature - share.feature_begin, rows.stride, dz_of_pass, count, weights, feature, like
            )
            feature += len(like)
