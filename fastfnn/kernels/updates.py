"""Gradients of the weights and the optimiser's step, for the parameters that are a thread's part."""

from __future__ import annotations

from fastfnn.kernels import first_layer, hidden, lazy_momentum, optimizers, passes
from fastfnn.kernels.compilation import inlined_kernel, kernel
from fastfnn.kernels.hidden import WeightGradient
from fastfnn.kernels.simd import address, call_kernel, load, store, zeros_of
from fastfnn.kernels.structures import MOST_GROUPS, SGD, TILES_BY_ROWS

ROWS_OF_SQUARES = 256  # likewise in matrix registers: the squares of the other factor are written for each such range
ROWS_TOGETHER = 120  # of later weights, whose gradient is used while it is in the second-level cache


@inlined_kernel
def blocks_of(count, layout):
    """How many blocks a batch has."""
    return (count + layout.block - 1) // layout.block


@inlined_kernel
def partial_gradients(block, number, layout, buffers, like):
    """The gradients of narrow layers' weights and of all biases over one block, while it is in the nearest cache."""
    tiles, partials = passes.tiles_of(block, like), buffers.partials
    start = number * layout.partial_size
    for layer in range(1, layout.depth + 1):
        dz_tile = passes.tile_size(layout, layer, like)
        dz_at = passes.gradient_at(layout, layer) + block.tile * dz_tile
        n_out, to = layout.units[layer], start + layout.partial_biases[layer - 1]
        if layer > 1 and layout.rows[layer] >= 0 and tiles <= TILES_BY_ROWS:  # the first layer's rows are scaled
            width = layout.row_widths[layer]
            rows_at, examples = layout.rows[layer] + block.tile * len(like) * width, tiles * len(like)
            hidden.bias_gradient_by_rows(buffers.workspace, rows_at, width, n_out, examples, partials, to, like)
        else:
            hidden.bias_gradient(buffers.workspace, dz_at, dz_tile, n_out, tiles, partials, to, buffers.scratch, like)
        if layout.partial_weights[layer - 1] >= 0:
            x_tile = passes.tile_size(layout, layer - 1, like)
            product = WeightGradient(
                buffers.workspace,
                layout.activations[layer - 1] + block.tile * x_tile,
                x_tile,
                dz_at,
                dz_tile,
                n_out,
                0,
                layout.units[layer - 1],
                partials,
                start + layout.partial_weights[layer - 1],
                layout.row_widths[layer],
            )
            hidden.gradient_by_tiles(product, tiles, buffers.scratch, like, zeros_of(like, 4))


@inlined_kernel
def gradient_by_rows(layer, first_row, last_row, count, tiles, layout, buffers, settings, like):
    """The gradient of some rows of a wide layer's weights over the whole batch."""
    lanes = len(like)
    product = WeightGradient(
        buffers.workspace,
        layout.activations[layer - 1],
        passes.tile_size(layout, layer - 1, like),
        layout.rows[layer],
        layout.row_widths[layer],
        layout.units[layer],
        first_row,
        last_row,
        buffers.gradients,
        layout.weights[layer - 1],
        layout.row_widths[layer],
    )
    # Where tiles in between are not full, their zeros are summed as well.
    are_full = count <= layout.block or layout.block % lanes == 0
    examples = count if are_full else tiles * lanes
    if passes.is_by_matrix(layer, layout, settings):
        of_x = (address(product.workspace), product.x_at, product.x_tile)
        of_rows = (product.dz_at, product.dz_tile, product.n_out, first_row, last_row)
        target = (address(product.gradients), product.gradients_at, product.stride)
        call_kernel(settings.matrix[1], (*of_x, *of_rows, *target, examples, address(buffers.squares)))
    else:
        hidden.gradient_by_rows(product, examples, like)


@kernel
def sum_partials(buffers, begin, to, count, blocks, size, like):
    """Sums a range of the partial gradients over the blocks."""
    for i in range(0, count, len(like)):
        sums = load(buffers.partials, begin + i, like)
        for block in range(1, blocks):
            sums = sums + load(buffers.partials, begin + i + block * size, like)
        store(sums, buffers.gradients, to + i)


@inlined_kernel
def update_later_weights(optimizer, part, count, tiles, layout, buffers, settings, rate, decay, step, like):
    """One step of the optimiser on the part's weights behind the first layer.

    A few rows at a time, whose gradient stays in the second-level cache from its first sum to its use.
    """
    numbers, blocks = part.rows.numbers, blocks_of(count, layout)
    for i in range(part.rows.size):
        layer, last_row = numbers[3 * i], numbers[3 * i + 2]
        width, weights_at = layout.row_widths[layer], layout.weights[layer - 1]
        together = ROWS_OF_SQUARES if passes.is_by_matrix(layer, layout, settings) else ROWS_TOGETHER
        for row in range(numbers[3 * i + 1], last_row, together):
            behind = min(row + together, last_row)
            begin, end = weights_at + row * width, weights_at + behind * width
            if layout.rows[layer] >= 0:
                gradient_by_rows(layer, row, behind, count, tiles, layout, buffers, settings, like)
            else:
                partial_at = layout.partial_weights[layer - 1] + row * width
                sum_partials(buffers, partial_at, begin, end - begin, blocks, layout.partial_size, like)
            optimizer(buffers, settings, begin, end, rate, decay, step, like)


@inlined_kernel
def update_later_layers(optimizer, part, count, layout, buffers, settings, rate, decay, step, like):
    """One step of the optimiser on all that follows the first layer's weights, where layers are passed together.

    These are so few that one thread does it; their partial gradients lie as the parameters do.
    """
    if part.others.size > 0:
        begin, size = layout.first_layer_size, layout.partial_size
        if settings.batch_size > layout.block:  # else those of the only block are the gradients
            sum_partials(buffers, 0, begin, size, blocks_of(count, layout), size, like)
        optimizer(buffers, settings, begin, layout.weights_end, rate, decay, step, like)
        optimizer(buffers, settings, layout.weights_end, layout.parameters_end, rate, 0.0, step, like)


@inlined_kernel
def bias_gradients(count, layout, buffers, like):
    """Gradients of all biases."""
    blocks = blocks_of(count, layout)
    for layer in range(layout.depth):
        begin, size = layout.partial_biases[layer], layout.units[layer + 1]
        sum_partials(buffers, begin, layout.biases[layer], size, blocks, layout.partial_size, like)


@inlined_kernel
def scale(ranges, buffers, factor, like):
    """Multiplies ranges of the parameters by a factor."""
    for i in range(ranges.size):
        optimizers.scale(buffers.parameters, ranges.numbers[2 * i], ranges.numbers[2 * i + 1], factor, like)


@inlined_kernel
def optimise(optimizer, ranges, buffers, settings, rate, decay, step, like):
    """One step of the optimiser on ranges of the parameters."""
    for i in range(ranges.size):
        begin, end = ranges.numbers[2 * i], ranges.numbers[2 * i + 1]
        optimizer(buffers, settings, begin, end, rate, decay, step, like)


@inlined_kernel
def groups_of(count, layout):
    """In how many groups of blocks a batch is divided among threads; more of them cost more additions."""
    blocks = blocks_of(count, layout)
    return min(blocks, max(2, blocks // 2), MOST_GROUPS) if layout.first_layer_by_groups else blocks


@inlined_kernel
def begin_group(part, group, layout, buffers, like):
    """Clears the gradient of a group, which is the thread's.

    A thread on its own leaves zeros when it adds the groups. In a team, others do, and every cache line that they would
    write to had to be fetched back from their cores.
    """
    if layout.first_layer_by_groups and part.threads > 1:
        size = layout.first_layer_size
        optimizers.clear(buffers.group_gradients, group * size, (group + 1) * size, like)


@inlined_kernel
def forget_groups(part, count, layout, buffers, like):
    """The gradients of all groups become zeros, which they are without a team when a step begins."""
    if layout.first_layer_by_groups and part.threads == 1:
        behind = groups_of(count, layout) * layout.first_layer_size
        optimizers.clear(buffers.group_gradients, 0, behind, like)


@inlined_kernel
def first_layer_of_block(block, ahead, group, inputs, layout, buffers, first_row):
    """Adds one block's gradient of the first layer's weights to that of its group, while its rows are near."""
    first_layer.update(
        inputs,
        block.order,
        block.end,
        block.position,
        block.size,
        ahead,
        layout,
        buffers.group_gradients,
        group * layout.first_layer_size,
        buffers.workspace,
        first_row,
    )


@inlined_kernel
def add_groups(part, count, layout, buffers, target, like):
    """Adds the gradients of all groups to the target, for the part's weights of the first layer."""
    ranges, size, clears = part.first_layer, layout.first_layer_size, part.threads == 1
    for i in range(ranges.size):
        begin, end = ranges.numbers[2 * i], ranges.numbers[2 * i + 1]
        optimizers.add(target, buffers.group_gradients, size, groups_of(count, layout), begin, end, clears, like)


@inlined_kernel
def update_lazily(
    optimizer, part, inputs, order, end, position, count, layout, buffers, settings, rate, decay, step, like
):
    """`update_first_layer` with momentum that is lazy for the weights of listed features."""
    of_batch = (inputs, order, end, position, count)
    first_layer.update_dense(*of_batch, layout, buffers.gradients, 0, buffers.workspace, 0)
    optimise(optimizer, part.dense, buffers, settings, rate, decay, step, like)
    of_weight, of_velocity = lazy_momentum.advance(buffers.lazy, settings, rate, decay)
    distance = first_layer.distance_of_update(inputs, position, count, position + count, layout)
    of_listed = (buffers.workspace, 0)
    first_layer.update_listed(*of_batch, distance, layout, buffers.first_moment, 0, *of_listed, of_velocity)
    if of_weight != 0:
        first_layer.update_listed(*of_batch, 0, layout, buffers.parameters, 0, *of_listed, of_weight)
    if lazy_momentum.is_due(buffers.lazy):
        multiply_out(part, buffers, like)


@inlined_kernel
def multiply_out(part, buffers, like):
    """Whatever lazy momentum has left undone."""
    if lazy_momentum.is_pending(buffers.lazy):
        lazy_momentum.multiply_out(part.listed, buffers, like)
        lazy_momentum.forget(buffers.lazy)


@inlined_kernel
def update_first_layer(
    optimizer, part, inputs, order, end, position, count, layout, buffers, settings, rate, decay, step, like
):
    """One step of the optimiser on the first layer's weights.

    Plain SGD, whose rate is in the gradient of the outputs already, adds the gradient to the weights.
    """
    if settings.lazy:
        if lazy_momentum.is_possible(settings, rate, decay):
            update_lazily(
                optimizer, part, inputs, order, end, position, count, layout, buffers, settings, rate, decay, step, like
            )
            return
        multiply_out(part, buffers, like)
    plain = settings.optimizer == SGD
    target = buffers.parameters if plain else buffers.gradients
    if layout.first_layer_by_groups:
        add_groups(part, count, layout, buffers, target, like)
    else:
        ahead = position + count
        first_layer.update(inputs, order, end, position, count, ahead, layout, target, 0, buffers.workspace, 0)
    if not plain:
        optimise(optimizer, part.first_layer, buffers, settings, rate, decay, step, like)


@inlined_kernel
def update(
    optimizer, part, inputs, order, end, position, count, tiles, layout, buffers, settings, rate, decay, step, like
):
    """One step of an optimiser, a kernel of `optimizers`, once the gradients of all linear outputs are there."""
    if layout.layers_together:
        update_later_layers(optimizer, part, count, layout, buffers, settings, rate, decay, step, like)
    else:
        update_later_weights(optimizer, part, count, tiles, layout, buffers, settings, rate, decay, step, like)
        if part.others.size > 0:
            bias_gradients(count, layout, buffers, like)
        optimise(optimizer, part.others, buffers, settings, rate, 0.0, step, like)
    update_first_layer(
        optimizer, part, inputs, order, end, position, count, layout, buffers, settings, rate, decay, step, like
    )
