"""The first layer of a block and of a batch, by the compiled code for the kind of rows that the run has."""

from __future__ import annotations

import numpy as np

from fastfnn.kernels.compilation import inlined_kernel
from fastfnn.kernels.lazy_momentum import is_pending
from fastfnn.kernels.optimizers import scale
from fastfnn.kernels.rows import MANY_EXAMPLES, ROWS_AHEAD
from fastfnn.kernels.simd import address, call_kernel, fma, load, splat, store, transpose
from fastfnn.kernels.structures import EXAMPLES_TOGETHER


@inlined_kernel
def rows_and_examples(inputs, order, end, position, count):
    """What every function of the first layer is given first."""
    rows = inputs.rows
    return rows[0], rows[1], rows[2], rows[3], rows[4], address(order), end, position, count


@inlined_kernel
def turns(inputs, layout):
    """Into how many parts the rows that come later are divided: the forward pass asks for one, the update for another.

    They arrive while there is something else to do. Without dense features, they are asked for as late as they may be.
    """
    return 2 if layout.first_layer_by_blocks and inputs.update[0] != 0 and inputs.dense_forward[0] != 0 else 1


@inlined_kernel
def is_by_bands(inputs):
    """Whether the listed features of a whole batch are multiplied band by band, before its blocks."""
    return inputs.whole[4] > 1 and inputs.forward[0] != 0


@inlined_kernel
def listed_products(inputs, given, weights, rows, rows_at, distance, layout):
    """Rows are the products of the listed features with weights, or what is stored for them."""
    whole, width = inputs.whole, layout.row_widths[1]
    for p in range(layout.panels):
        unit = layout.panel_units[p]
        of_panel = (weights, layout.weights[0] + unit, layout.main_width, layout.tail_weights)
        for band in range(whole[4]):
            of_band, asked_for = (whole[2], whole[3], band), distance if p == 0 and band == 0 else 0
            of_outputs = (rows, rows_at + unit, width, asked_for, turns(inputs, layout))
            call_kernel(inputs.forward[p], (*given, *of_band, *of_panel, *of_outputs))


@inlined_kernel
def listed_products_by_bands(inputs, order, end, position, count, layout, buffers, first_row):
    """The products of the listed features for so many examples of a batch, whose first one's are row `first_row`.

    They are where the gradients of the outputs will be as rows.
    """
    if is_by_bands(inputs) and count > 0:
        given, rows_at = rows_and_examples(inputs, order, end, position, count), row_at(layout, first_row)
        weights, rows = address(buffers.parameters), address(buffers.workspace)
        listed_products(inputs, given, weights, rows, rows_at, ROWS_AHEAD, layout)


@inlined_kernel
def row_at(layout, row):
    """Where a row of the gradient of the outputs is."""
    return layout.rows[1] + row * layout.row_widths[1]


@inlined_kernel
def listed_rows(inputs, order, end, position, count, distance, layout, buffers, first_row, like):
    """Rows of scratch memory are the products of the listed features for the examples of a tile."""
    width, lanes = layout.row_widths[1], len(like)
    if is_by_bands(inputs):
        rows_at = row_at(layout, first_row)
        for i in range(0, count * width, lanes):
            store(load(buffers.workspace, rows_at + i, like), buffers.scratch, i)
        return
    given, lazy, rows = rows_and_examples(inputs, order, end, position, count), buffers.lazy, address(buffers.scratch)
    listed_products(inputs, given, address(buffers.parameters), rows, 0, distance, layout)
    if is_pending(lazy):
        more_at = lanes * width
        listed_products(inputs, given, address(buffers.first_moment), rows, more_at, 0, layout)
        for i in range(0, count * width, lanes):
            more = load(buffers.scratch, more_at + i, like) * splat(lazy[1], like)
            store(fma(splat(lazy[0], like), load(buffers.scratch, i, like), more), buffers.scratch, i)


@inlined_kernel
def listed_outputs(inputs, order, end, position, count, distance, layout, buffers, first_row, z_at, like):
    """One tile: z (units, V) in the workspace is the products of the listed features, or zeros where there are none.

    Rows that come so many examples later are prefetched.
    """
    width, lanes = layout.row_widths[1], len(like)
    if inputs.forward[0] == 0:
        for unit in range(width):
            store(like, buffers.workspace, z_at + unit * lanes)
        return
    listed_rows(inputs, order, end, position, count, distance, layout, buffers, first_row, like)
    for i in range(count * width, lanes * width, lanes):  # lanes without an example stay finite
        store(like, buffers.scratch, i)
    for unit in range(0, width, lanes):
        transpose(buffers.scratch, unit, width, lanes, buffers.workspace, z_at + unit * lanes, lanes, like)
    for unit in range(layout.units[1], width):  # units that fill the last vector up stay 0
        store(like, buffers.workspace, z_at + unit * lanes)


@inlined_kernel
def add_dense_outputs(inputs, order, end, position, count, ahead, layout, buffers, z_at, z_tile):
    """z += the products of the dense features, for a few tiles; the rows at `ahead` come next."""
    given = rows_and_examples(inputs, order, end, position, count)
    of_weights = (address(buffers.parameters), layout.dense_weights, layout.dense_stride, layout.units[1])
    outputs = (address(buffers.workspace), z_at, z_tile)
    memory = (address(inputs.scratch), address(inputs.starts))
    call_kernel(inputs.dense_forward[0], (*given, *of_weights, *outputs, ahead, *memory))


@inlined_kernel
def forward(inputs, order, end, position, count, ahead, layout, buffers, feature_scale, first_row, z_at, z_tile, like):
    """The tiles of a block: z (units, V) in the workspace from the rows of order[position : position + count].

    A few tiles at a time, whose rows stay near. The examples from the position `ahead` on come after the block, whose
    first one is number `first_row` of a batch.
    """
    lanes, scale = len(like), splat(feature_scale, like)
    for begin in range(0, count, EXAMPLES_TOGETHER):
        at, first, n = z_at + begin // lanes * z_tile, position + begin, min(EXAMPLES_TOGETHER, count - begin)
        coming = first + n if begin + n < count else ahead
        distance = coming - first if inputs.dense_forward[0] != 0 else ROWS_AHEAD
        for i in range(0, n, lanes):
            tile_at, size, row = at + i // lanes * z_tile, min(lanes, n - i), first_row + begin + i
            listed_outputs(inputs, order, end, first + i, size, distance, layout, buffers, row, tile_at, like)
        if inputs.dense_forward[0] != 0:
            add_dense_outputs(inputs, order, end, first, n, coming, layout, buffers, at, z_tile)
    for tile_at in range(z_at, z_at + (count + lanes - 1) // lanes * z_tile, z_tile):
        for unit in range(layout.units[1]):
            at, bias = tile_at + unit * lanes, splat(buffers.parameters[layout.biases[0] + unit], like)
            store(fma(scale, load(buffers.workspace, at, like), bias), buffers.workspace, at)


@inlined_kernel
def scale_rows(count, layout, buffers, first_row, factor, like):
    """Multiplies the gradient of the first layer's outputs, as rows, by a factor."""
    scale(buffers.workspace, row_at(layout, first_row), row_at(layout, first_row + count), factor, like)


@inlined_kernel
def update(inputs, order, end, position, count, ahead, layout, target, target_at, workspace, first_row):
    """target += x.T @ dz for some examples of a batch, of which the first one's gradient is row `first_row`.

    Only for the features that are the thread's share. `target_at` is where the first layer's part of the target begins.
    The examples from the position `ahead` on come next.
    """
    update_dense(inputs, order, end, position, count, layout, target, target_at, workspace, first_row)
    distance = distance_of_update(inputs, position, count, ahead, layout)
    update_listed(inputs, order, end, position, count, distance, layout, target, target_at, workspace, first_row, 1.0)


@inlined_kernel
def update_dense(inputs, order, end, position, count, layout, target, target_at, workspace, first_row):
    """`update` for the dense features."""
    share, width = inputs.share, layout.row_widths[1]
    if share[0] < share[1] and inputs.dense_update[0] != 0:
        given = (*rows_and_examples(inputs, order, end, position, count), share[0], share[1], share[2], share[3])
        of_weights = (address(target), target_at + layout.dense_weights, layout.dense_stride, layout.units[1])
        of_rows = (address(workspace), row_at(layout, first_row), width)
        call_kernel(
            inputs.dense_update[0], (*given, *of_weights, *of_rows, address(inputs.scratch), address(inputs.starts))
        )


@inlined_kernel
def distance_of_update(inputs, position, count, ahead, layout):
    """How many examples later the rows come that an update asks for; 0 where it asks for none."""
    if turns(inputs, layout) > 1:
        return ahead - position
    if inputs.share[3] != 0 or count >= MANY_EXAMPLES:  # the forward pass had them too long ago, or in another core
        return ROWS_AHEAD
    return 0


@inlined_kernel
def update_listed(
    inputs, order, end, position, count, distance, layout, target, target_at, workspace, first_row, factor
):
    """`update` for the listed features, of which the gradient is multiplied by a factor."""
    share, width = inputs.share, layout.row_widths[1]
    if share[3] >= 0 and inputs.update[0] != 0:
        given, rows_at = rows_and_examples(inputs, order, end, position, count), row_at(layout, first_row)
        for p in range(layout.panels):
            unit = layout.panel_units[p]
            main_at, tail_at = target_at + layout.weights[0] + unit, target_at + layout.tail_weights
            of_panel = (address(target), main_at, layout.main_width, tail_at)
            of_rows = (address(workspace), rows_at + unit, width)
            for band in range(share[4]):
                of_band, asked_for = (share[2], share[3], band), distance if p == 0 and band == 0 else 0
                of_scale = (np.float64(factor), asked_for, turns(inputs, layout))
                call_kernel(inputs.update[p], (*given, *of_band, *of_panel, *of_rows, *of_scale))
