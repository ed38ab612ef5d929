"""The gradient of the weights of the first layer's dense features, where they lie unit by unit.

Lanes are features: of every vector of features, the weights of a unit are a vector, and units follow each other.
Values are multiplied where they lie if they are stored in the network's dtype, or if they are bytes and there are
registers enough to convert them in between. Others, and those of a vector that is not full, are converted to scratch
memory first. Blocks of sums stay in registers.

`direct` is grids of sums where values are multiplied where they lie, else None, so that code is compiled only where it
fits.
"""

from __future__ import annotations

from fastfnn.kernels.compilation import inlined_kernel, kernel
from fastfnn.kernels.rows import MANY_EXAMPLES, convert_dense, row_start
from fastfnn.kernels.simd import ROOMY, add_grid, at, fma_grid, load_converted, prefetch, repeat, store
from fastfnn.kernels.structures import (
    BYTES_IN_PLACE,
    EXAMPLES_PER_PASS,
    IN_SCRATCH,
    VALUES_IN_PLACE,
    Examples,
    Outputs,
)

WIDE_VECTORS = 4 if ROOMY else 1  # of features, whose sums for five units stay in registers
UNITS_OF_VECTOR = 10 if ROOMY else 5  # whose sums for one vector do


@kernel
def no_grids(like):
    """Nothing, since all values are converted first."""
    return


@kernel
def grids_of_values(like):
    """Grids of sums for several vectors of features, which have the network's dtype, and many units, few and one."""
    many, few, one = repeat(like, 5), repeat(like, 2), repeat(like, 1)
    return repeat(many, WIDE_VECTORS), repeat(few, WIDE_VECTORS), repeat(one, WIDE_VECTORS)


@kernel
def grids_of_bytes(like):
    """Grids for vectors of bytes, which are converted for each group of units: the fewer, the better."""
    many, few, one = repeat(like, 10), repeat(like, 5), repeat(like, 1)
    return repeat(many, 2), repeat(few, 2), repeat(one, 2)


GRIDS_IN_PLACE = {IN_SCRATCH: no_grids, VALUES_IN_PLACE: grids_of_values, BYTES_IN_PLACE: grids_of_bytes}


@inlined_kernel
def place(rows, examples, number, feature, width, direct):
    """Where the values of an example of a pass are, from a feature on."""
    if direct is not None:
        return row_start(rows, at(examples.order, examples.first + number)) + feature
    return number * width


@kernel
def update_block(x, rows, examples, width, dz, unit, weights, feature, grid, direct):
    """weights += dz.T @ x over the examples of a pass; the grid has vectors of features, `width` in all, and units."""
    dz_at, lanes = dz.at + unit, len(grid[0][0])
    for i in range(examples.size):
        x_at = place(rows, examples, i, feature, width, direct)
        grid = fma_grid(x, x_at, lanes, dz.values, dz_at, 1, grid)
        dz_at += dz.stride
    w_at = weights.at + feature // lanes * weights.stride + unit * lanes
    add_grid(grid, weights.values, w_at, weights.stride, lanes)


@kernel
def update_units(x, rows, examples, weights, dz, unit, feature, grid, direct):
    """`update_block` for the units from `unit` on, as long as there are enough for the grid; returns the next one."""
    width, together = len(grid) * len(grid[0][0]), len(grid[0])
    while weights.units - unit >= together:
        update_block(x, rows, examples, width, dz, unit, weights, feature, grid, direct)
        unit += together
    return unit


@kernel
def update_vectors(x, rows, examples, weights, dz, feature, grids, direct):
    """weights += dz.T @ x for all units and several vectors of features, in grids of many units, of few and of one."""
    many, few, one = grids
    unit = update_units(x, rows, examples, weights, dz, 0, feature, many, direct)
    unit = update_units(x, rows, examples, weights, dz, unit, feature, few, direct)
    update_units(x, rows, examples, weights, dz, unit, feature, one, direct)


@kernel
def update_vector(x, rows, examples, weights, dz, feature, like):
    """weights += dz.T @ x for all units and one vector of features."""
    many, few, one = repeat(like, UNITS_OF_VECTOR), repeat(like, 5), repeat(like, 1)
    grids = repeat(many, 1), repeat(few, 1), repeat(one, 1)
    update_vectors(x, rows, examples, weights, dz, feature, grids, None)


@kernel
def convert_vectors(rows, examples, feature, scratch, vectors):
    """Writes some vectors of features of each example of a pass to scratch memory, an example after the other.

    The next pass is prefetched meanwhile.
    """
    like, count = vectors[0], len(vectors)
    width = count * len(like)
    whole = feature + width <= rows.dense
    for i in range(examples.size):
        position = examples.first + i
        if position + examples.size < examples.end:
            prefetch(rows.values, row_start(rows, at(examples.order, position + examples.size)) + feature)
        example = at(examples.order, position)
        if whole:
            start = row_start(rows, example) + feature
            for k in range(0, width, len(like)):
                store(load_converted(rows.values, start + k, like), scratch, i * width + k)
        else:
            convert_dense(rows, example, feature, feature + width, scratch, i * width, like)


@kernel
def update_pass(rows, examples, share, weights, dz, scratch, like, direct):
    """`update` over so few examples that some vectors of their features stay in the nearest cache."""
    lanes, feature = len(like), share.feature_begin
    if direct is not None:
        width = len(direct[0]) * lanes
        while min(share.feature_end, rows.dense) - feature >= width:
            update_vectors(rows.values, rows, examples, weights, dz, feature, direct, direct)
            feature += width
    if direct is None:
        wide = grids_of_values(like)
        while share.feature_end - feature >= WIDE_VECTORS * lanes:
            convert_vectors(rows, examples, feature, scratch, repeat(like, WIDE_VECTORS))
            update_vectors(scratch, rows, examples, weights, dz, feature, wide, None)
            feature += WIDE_VECTORS * lanes
    while feature < share.feature_end:
        convert_vectors(rows, examples, feature, scratch, repeat(like, 1))
        update_vector(scratch, rows, examples, weights, dz, feature, like)
        feature += lanes


@kernel
def update(rows, examples, share, weights, dz, scratch, like, direct):
    """weights += dz.T @ x, summed over the examples in their order, for a share of the features."""
    # The forward pass had the rows in another thread's cache, or has filled this one's with others since.
    far = not rows.records or share.cuts_stride != 0 or examples.size >= MANY_EXAMPLES
    end = examples.first + examples.size
    for begin in range(0, examples.size, EXAMPLES_PER_PASS):
        count = min(EXAMPLES_PER_PASS, examples.size - begin)
        first = examples.first + begin
        of_pass = Examples(examples.order, end if far else first + count, first, count)
        dz_of_pass = Outputs(dz.values, dz.at + begin * dz.stride, dz.stride)
        update_pass(rows, of_pass, share, weights, dz_of_pass, scratch, like, direct)
