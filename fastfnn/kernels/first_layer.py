"""The first layer of a block and of a batch, by the compiled code for the kind of rows that the run has."""

from __future__ import annotations

import numpy as np

from fastfnn.kernels.compilation import inlined_kernel
from fastfnn.kernels.lazy_momentum import is_pending
from fastfnn.kernels.optimizers import scale
from fastfnn.kernels.rows import MANY_EXAMPLES
from fastfnn.kernels.simd import address, call_kernel, fma, load, prefetch_near, splat, store, transpose
from fastfnn.kernels.structures import EXAMPLES_TOGETHER, RECORDS_BY_KIND, ROWS_AHEAD


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
    both = inputs.dense_forward[0] != 0 and not is_by_kind(inputs)
    return 2 if layout.first_layer_by_blocks and inputs.update[0] != 0 and both else 1


@inlined_kernel
def is_at_once(inputs):
    """Whether one call goes through the dense and the listed features of a batch, which has few examples."""
    return inputs.at_once[0] != 0


@inlined_kernel
def has_dense(inputs):
    """Whether there are dense features, which the thread goes through."""
    return is_at_once(inputs) or inputs.dense_forward[0] != 0


@inlined_kernel
def has_listed(inputs):
    """Whether there are listed features, which the thread goes through."""
    return is_at_once(inputs) or inputs.forward[0] != 0


@inlined_kernel
def forget_weights(inputs):
    """The next outputs are those of other weights than the ones before."""
    inputs.starts[EXAMPLES_TOGETHER] = 0


@inlined_kernel
def is_by_kind(inputs):
    """Whether the thread goes through the dense features or the listed ones, not both, of a whole batch at a time."""
    return inputs.rows[4] == RECORDS_BY_KIND


@inlined_kernel
def cuts_and_panel(share, layout, unit, weights, weights_at, rows, rows_at):
    """What functions of listed features are given of a share and a panel, whose first unit this is.

    The first layer's weights, or their gradient, begin at weights[weights_at], rows of all units at rows[rows_at].
    """
    of_panel = (weights, weights_at + layout.weights[0] + unit, layout.main_width, weights_at + layout.tail_weights)
    return (share[2], share[3], share[4], *of_panel, rows, rows_at + unit, layout.row_widths[1])


@inlined_kernel
def dense_weights(layout, weights, weights_at):
    """What functions of dense features are given of their weights, or their gradient."""
    return weights, weights_at + layout.dense_weights, layout.dense_stride, layout.units[1]


@inlined_kernel
def listed_products(inputs, given, weights, rows, rows_at, distance, layout):
    """Rows are the products of the listed features with weights, or what is stored for them."""
    every, memory = turns(inputs, layout), address(inputs.found)
    for p in range(layout.panels):
        of_panel = cuts_and_panel(inputs.whole, layout, layout.panel_units[p], weights, 0, rows, rows_at)
        asked_for = distance if p == 0 else 0
        call_kernel(inputs.forward[p], (*given, *of_panel, asked_for, every, memory))


@inlined_kernel
def row_at(layout, row):
    """Where a row of the gradient of the outputs is."""
    return layout.rows[1] + row * layout.row_widths[1]


@inlined_kernel
def listed_outputs(inputs, order, end, position, count, distance, layout, buffers, first_row, like):
    """Rows of the workspace, from row `first_row` of a batch on, are the products of the listed features.

    They are where the gradient of the outputs will be. Rows that come so many examples later are prefetched.
    """
    if inputs.forward[0] != 0:
        given, rows_at = rows_and_examples(inputs, order, end, position, count), row_at(layout, first_row)
        weights, rows = address(buffers.parameters), address(buffers.workspace)
        listed_products(inputs, given, weights, rows, rows_at, distance, layout)
        if is_pending(buffers.lazy):
            add_velocities(inputs, order, end, position, count, layout, buffers, rows_at, like)


@inlined_kernel
def add_velocities(inputs, order, end, position, count, layout, buffers, rows_at, like):
    """Rows of products with the weights as stored become those with what they are, where momentum is lazy."""
    lazy, width, lanes = buffers.lazy, layout.row_widths[1], len(like)
    for begin in range(0, count, lanes):
        size, at = min(lanes, count - begin), rows_at + begin * width
        given = rows_and_examples(inputs, order, end, position + begin, size)
        listed_products(inputs, given, address(buffers.first_moment), address(buffers.scratch), 0, 0, layout)
        for i in range(0, size * width, lanes):
            more = load(buffers.scratch, i, like) * splat(lazy[1], like)
            store(fma(splat(lazy[0], like), load(buffers.workspace, at + i, like), more), buffers.workspace, at + i)


@inlined_kernel
def memory_for_dense(inputs):
    """What functions of dense features are given to write to."""
    return address(inputs.scratch), address(inputs.starts)


@inlined_kernel
def dense_outputs(inputs, order, end, position, count, ahead, layout, buffers, z_at, z_tile, like):
    """z (units, V), in tiles of the workspace, is the products of the dense features; the rows at `ahead` come next."""
    if inputs.dense_forward[0] != 0:
        of_weights, memory = dense_weights(layout, address(buffers.parameters), 0), memory_for_dense(inputs)
        for begin in range(0, count, EXAMPLES_TOGETHER):
            given = rows_and_examples(inputs, order, end, position + begin, min(EXAMPLES_TOGETHER, count - begin))
            outputs = (address(buffers.workspace), z_at + begin // len(like) * z_tile, z_tile)
            call_kernel(inputs.dense_forward[0], (*given, *of_weights, *outputs, ahead + begin, *memory))


@inlined_kernel
def outputs_at_once(inputs, order, end, position, count, ahead, layout, buffers, first_row, z_at, z_tile):
    """`listed_outputs` and `dense_outputs` of a batch in one call."""
    given, rows_at = rows_and_examples(inputs, order, end, position, count), row_at(layout, first_row)
    weights, rows = address(buffers.parameters), address(buffers.workspace)
    of_listed = cuts_and_panel(inputs.whole, layout, 0, weights, 0, rows, rows_at)
    asking = (ahead - position, turns(inputs, layout), address(inputs.found))
    of_dense = (*dense_weights(layout, weights, 0), rows, z_at, z_tile, ahead, *memory_for_dense(inputs))
    call_kernel(inputs.at_once[0], (*given, *of_listed, *asking, *of_dense))


@inlined_kernel
def add_outputs(inputs, count, layout, buffers, row, z_at, scale, like):
    """One tile: z becomes scale * (products of the dense features + those of the listed ones) + biases."""
    width, lanes = layout.row_widths[1], len(like)
    if has_listed(inputs):
        for unit in range(0, width, lanes):
            rows_at, to = row_at(layout, row) + unit, unit * lanes
            transpose(buffers.workspace, rows_at, width, count, buffers.scratch, to, lanes, like)
    for unit in range(layout.units[1]):
        at, bias, z = z_at + unit * lanes, splat(buffers.parameters[layout.biases[0] + unit], like), like
        if has_dense(inputs):
            z = load(buffers.workspace, at, like)
        if has_listed(inputs):
            z = z + load(buffers.scratch, unit * lanes, like)
        store(fma(scale, z, bias), buffers.workspace, at)


@inlined_kernel
def prefetch_outputs(layout, buffers, row, z_at, like):
    """Asks for the products of a tile, of which another thread has written those of one kind of features."""
    width, lanes = layout.row_widths[1], len(like)
    for i in range(0, lanes * width, lanes):
        prefetch_near(buffers.workspace, row_at(layout, row) + i)
    for unit in range(layout.units[1]):
        prefetch_near(buffers.workspace, z_at + unit * lanes)


@inlined_kernel
def forward(inputs, order, end, position, count, ahead, layout, buffers, feature_scale, first_row, z_at, z_tile, like):
    """The tiles of a block: z (units, V) in the workspace from the rows of order[position : position + count].

    A few tiles at a time, whose rows stay near. The products of listed and of dense features are sums of their own,
    which are there already where threads divide these kinds. The examples from the position `ahead` on come after the
    block, whose first one is number `first_row` of a batch.
    """
    lanes, scale = len(like), splat(feature_scale, like)
    for begin in range(0, count, EXAMPLES_TOGETHER):
        at, first, row = z_at + begin // lanes * z_tile, position + begin, first_row + begin
        n = min(EXAMPLES_TOGETHER, count - begin)
        coming = first + n if begin + n < count else ahead
        distance = coming - first if has_dense(inputs) else ROWS_AHEAD
        if is_at_once(inputs):
            outputs_at_once(inputs, order, end, first, n, coming, layout, buffers, row, at, z_tile)
        elif not is_by_kind(inputs):
            listed_outputs(inputs, order, end, first, n, distance, layout, buffers, row, like)
            dense_outputs(inputs, order, end, first, n, coming, layout, buffers, at, z_tile, like)
        for i in range(0, n, lanes):
            if is_by_kind(inputs) and i + lanes < n:
                prefetch_outputs(layout, buffers, row + i + lanes, at + (i // lanes + 1) * z_tile, like)
            add_outputs(inputs, min(lanes, n - i), layout, buffers, row + i, at + i // lanes * z_tile, scale, like)


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
    if is_at_once(inputs):
        update_at_once(inputs, order, end, position, count, layout, target, target_at, workspace, first_row)
        return
    update_dense(inputs, order, end, position, count, layout, target, target_at, workspace, first_row)
    distance = distance_of_update(inputs, position, count, ahead, layout)
    update_listed(inputs, order, end, position, count, distance, layout, target, target_at, workspace, first_row, 1.0)


@inlined_kernel
def update_at_once(inputs, order, end, position, count, layout, target, target_at, workspace, first_row):
    """`update` in one call, of the rows that `outputs_at_once` has looked up."""
    share, rows_at = inputs.share, row_at(layout, first_row)
    given, weights, rows = rows_and_examples(inputs, order, end, position, count), address(target), address(workspace)
    of_dense = (share[0], share[1], share[2], share[3], *dense_weights(layout, weights, target_at))
    of_rows = (rows, rows_at, layout.row_widths[1])
    of_listed = cuts_and_panel(share, layout, 0, weights, target_at, rows, rows_at)
    call_kernel(
        inputs.at_once[1],
        (*given, *of_dense, *of_rows, *memory_for_dense(inputs), *of_listed, address(inputs.found)),
    )


@inlined_kernel
def update_dense(inputs, order, end, position, count, layout, target, target_at, workspace, first_row):
    """`update` for the dense features."""
    share, width = inputs.share, layout.row_widths[1]
    if share[0] < share[1] and inputs.dense_update[0] != 0:
        given = (*rows_and_examples(inputs, order, end, position, count), share[0], share[1], share[2], share[3])
        of_weights = dense_weights(layout, address(target), target_at)
        of_rows = (address(workspace), row_at(layout, first_row), width)
        call_kernel(inputs.dense_update[0], (*given, *of_weights, *of_rows, *memory_for_dense(inputs)))


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
    share, every = inputs.share, turns(inputs, layout)
    if share[3] >= 0 and inputs.update[0] != 0:
        given, rows_at = rows_and_examples(inputs, order, end, position, count), row_at(layout, first_row)
        weights, rows = address(target), address(workspace)
        for p in range(layout.panels):
            of_panel = cuts_and_panel(share, layout, layout.panel_units[p], weights, target_at, rows, rows_at)
            asked_for = distance if p == 0 else 0
            asking = (np.float64(factor), asked_for, every, address(inputs.found))
            call_kernel(inputs.update[p], (*given, *of_panel, *asking))
