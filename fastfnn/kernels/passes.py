"""Forward and backward passes of a block: consecutive examples of a batch, as tiles of the workspace."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fastfnn.kernels import activations, batchnorm, first_layer, hidden
from fastfnn.kernels.compilation import inlined_kernel, kernel
from fastfnn.kernels.dropout import dropout
from fastfnn.kernels.hidden import Product
from fastfnn.kernels.loss import softmax_cross_entropy
from fastfnn.kernels.simd import address, call_kernel, splat, store
from fastfnn.kernels.structures import BATCHNORM_AFTER, BATCHNORM_BEFORE, BATCHNORM_OFF, EXAMPLES_TOGETHER


class Block(NamedTuple):
    """The examples order[position : position + size], in the workspace from tile number `tile` on.

    `end` is how many examples `order` has; those that come soon are prefetched.
    """

    order: Any
    end: int
    position: int
    size: int
    tile: int


@inlined_kernel
def tiles_of(block, like):
    """How many tiles hold the examples of a block."""
    return (block.size + len(like) - 1) // len(like)


@inlined_kernel
def tile_size(layout, layer, like):
    """From a tile of a layer to the next one."""
    return layout.allocated_units[layer] * len(like)


@inlined_kernel
def set_lane_mask(block, layout, buffers, like):
    """Ones for the examples of a block's last tile, zeros in the lanes behind them."""
    store(splat(1, like), buffers.workspace, layout.lane_mask)
    of_last = block.size - (tiles_of(block, like) - 1) * len(like)
    for lane in range(of_last, len(like)):
        buffers.workspace[layout.lane_mask + lane] = 0


@inlined_kernel
def outputs_at(layout, settings, layer, tile, like):
    """Where the outputs of a layer's linear map go."""
    normalised = settings.batchnorm != BATCHNORM_OFF and layer < layout.depth
    offsets = layout.unnormalised if normalised else layout.activations
    return offsets[layer] + tile * tile_size(layout, layer, like)


@inlined_kernel
def is_activated(layout, settings, layer):
    """Whether the activation comes directly after a layer's linear map."""
    return settings.batchnorm == BATCHNORM_OFF and layer < layout.depth


@inlined_kernel
def activate(workspace, at, vectors, settings, like):
    """The activation of so many vectors of a layer."""
    if settings.rectified:
        activations.rectify(workspace, at, vectors, like)
    else:
        call_kernel(settings.activation[0], (address(workspace), at, vectors))


@inlined_kernel
def first_outputs(block, ahead, inputs, layout, buffers, settings, feature_scale, first_row, like):
    """The outputs of the first layer's linear map, through the activation if nothing comes between.

    The examples from the position `ahead` on come next; the first one of the block is number `first_row` of a batch.
    """
    z_at, size = outputs_at(layout, settings, 1, block.tile, like), tile_size(layout, 1, like)
    order, end, position, count = block.order, block.end, block.position, block.size
    first_layer.forward(
        inputs, order, end, position, count, ahead, layout, buffers, feature_scale, first_row, z_at, size, like
    )
    if is_activated(layout, settings, 1):
        for t in range(tiles_of(block, like)):
            activate(buffers.workspace, z_at + t * size, layout.units[1], settings, like)


@inlined_kernel
def is_by_matrix(layer, layout, settings):
    """Whether the weights before a layer are multiplied in matrix registers: in evaluation, whatever the batch size."""
    return layout.by_matrix[layer] and (layout.trains_by_matrix or not settings.training)


@inlined_kernel
def multiply(product, tiles, layer, layout, buffers, settings, like):
    """`hidden.multiply` with the weights before a layer, in matrix registers where these pay."""
    if not is_by_matrix(layer, layout, settings):
        hidden.multiply(product, tiles, like)
        return
    together = EXAMPLES_TOGETHER // len(like)
    of_weights = (address(product.weights), product.weights_at, product.step, product.stride, product.biases_at)
    for tile in range(0, tiles, together):
        of_x = (address(product.workspace), product.x_at + tile * product.x_tile, product.x_tile, product.n_in)
        of_out = (product.out_at + tile * product.out_tile, product.out_tile, product.n_out)
        count = min(together, tiles - tile)
        call_kernel(settings.matrix[0], (*of_x, *of_weights, *of_out, count, address(buffers.squares)))
    if product.rectify:
        for tile in range(tiles):
            activations.rectify(product.workspace, product.out_at + tile * product.out_tile, product.n_out, like)


@inlined_kernel
def linear(block, layout, buffers, settings, layer, like):
    """The outputs of the linear map of a layer behind the first, through the activation if nothing comes between."""
    in_tile, out_tile = tile_size(layout, layer - 1, like), tile_size(layout, layer, like)
    out_at, tiles = outputs_at(layout, settings, layer, block.tile, like), tiles_of(block, like)
    activated = is_activated(layout, settings, layer)
    product = Product(
        buffers.workspace,
        layout.activations[layer - 1] + block.tile * in_tile,
        in_tile,
        layout.units[layer - 1],
        buffers.parameters,
        layout.weights[layer - 1],
        layout.row_widths[layer],
        1,
        layout.biases[layer - 1],
        out_at,
        out_tile,
        layout.units[layer],
        activated and settings.rectified,
    )
    multiply(product, tiles, layer, layout, buffers, settings, like)
    if activated and not settings.rectified:
        activate(buffers.workspace, out_at, tiles * layout.allocated_units[layer], settings, like)


@inlined_kernel
def linear_backward(block, layout, buffers, settings, layer, dz_at, like):
    """The gradient of a layer's activations from that of the next layer's linear outputs."""
    tile = tile_size(layout, layer, like)
    product = Product(
        buffers.workspace,
        dz_at,
        tile_size(layout, layer + 1, like),
        layout.units[layer + 1],
        buffers.parameters,
        layout.weights[layer],
        1,
        layout.row_widths[layer + 1],
        -1,
        layout.gradients[layer] + block.tile * tile,
        tile,
        layout.units[layer],
        False,
    )
    multiply(product, tiles_of(block, like), layer + 1, layout, buffers, settings, like)


@inlined_kernel
def block_and_layer(words, block, layer):
    """What every function on a layer of a block that is called by its address is given first."""
    return words, address(block.order), block.end, block.position, block.size, block.tile, layer


@inlined_kernel
def drop_if_asked(words, block, offset, settings, keys, layer):
    """Dropout on a layer of all tiles of a block, where the settings ask for it: see `drop`."""
    if settings.dropout_thresholds[layer - 1] > 0:
        call_kernel(settings.dropout[0], (*block_and_layer(words, block, layer), offset, address(keys)))


@inlined_kernel
def activate_and_normalise(words, block, layout, buffers, settings, layer, like):
    """The activation of a layer's outputs, and batch norm before or after it, on all tiles of a block."""
    if is_activated(layout, settings, layer):
        vectors = tiles_of(block, like) * layout.allocated_units[layer]
        activate(buffers.workspace, outputs_at(layout, settings, layer, block.tile, like), vectors, settings, like)
    elif settings.batchnorm != BATCHNORM_OFF:
        call_kernel(settings.normalisation[0], block_and_layer(words, block, layer))


@inlined_kernel
def later_layers(words, block, layout, buffers, settings, keys, like):
    """From the first layer's linear outputs to the logits; leaves what the backward pass needs."""
    depth = layout.depth
    for layer in range(1, depth + 1):
        if layer > 1:
            linear(block, layout, buffers, settings, layer, like)
        if layer < depth:
            if settings.batchnorm != BATCHNORM_OFF:
                call_kernel(settings.normalisation[0], block_and_layer(words, block, layer))
            if settings.training:
                drop_if_asked(words, block, layout.activations[layer], settings, keys, layer)


@inlined_kernel
def forward(words, block, inputs, layout, buffers, settings, feature_scale, keys, like):
    """Logits of the examples of a block."""
    ahead = block.position + block.size
    first_outputs(block, ahead, inputs, layout, buffers, settings, feature_scale, 0, like)
    later_layers(words, block, layout, buffers, settings, keys, like)


@kernel
def normalise(block, layout, buffers, settings, layer, like):
    """Batch norm and activation, in the order that the settings say, from `unnormalised` to `activations`."""
    size, tiles = tile_size(layout, layer, like), tiles_of(block, like)
    z_at, a_at = layout.unnormalised[layer] + block.tile * size, layout.activations[layer] + block.tile * size
    vectors = tiles * layout.allocated_units[layer]
    if settings.batchnorm == BATCHNORM_AFTER:
        activate(buffers.workspace, z_at, vectors, settings, like)
    is_rectified = settings.training and settings.batchnorm == BATCHNORM_BEFORE and settings.rectified
    if settings.training:
        set_lane_mask(block, layout, buffers, like)
        lowest = 0.0 if is_rectified else -math.inf
        batchnorm.forward(block, layout, buffers, settings.statistics, layer, z_at, a_at, tiles, lowest, like)
    else:
        batchnorm.inference(layout, buffers, layer, z_at, a_at, tiles, like)
    if settings.batchnorm == BATCHNORM_BEFORE and not is_rectified:
        activate(buffers.workspace, a_at, vectors, settings, like)


@kernel
def drop(block, offset, layout, buffers, settings, keys, layer, like):
    """Dropout on a layer of all tiles of a block: of its activations, or of their gradient, from `offset` on."""
    lanes, size = len(like), tile_size(layout, layer, like)
    for t in range(tiles_of(block, like)):
        dropout(
            buffers.workspace,
            offset + (block.tile + t) * size,
            layout.units[layer],
            block.order,
            block.position + t * lanes,
            min(lanes, block.size - t * lanes),
            keys[layer - 1],
            settings.dropout_thresholds[layer - 1],
            settings.dropout_scales[layer - 1],
            buffers.counters,
            like,
        )


@inlined_kernel
def loss(block, classes, targets, layout, buffers, factor, like):
    """Weighted losses and correct answers of each tile; the logits become the gradient of factor * loss."""
    lanes, depth = len(like), layout.depth
    for t in range(tiles_of(block, like)):
        tile = block.tile + t
        logits_at = layout.activations[depth] + tile * tile_size(layout, depth, like)
        position, n = block.position + t * lanes, min(lanes, block.size - t * lanes)
        buffers.losses[tile], buffers.correct[tile] = softmax_cross_entropy(
            buffers.workspace,
            logits_at,
            classes,
            targets,
            block.order,
            block.end,
            position,
            n,
            factor,
            buffers.scratch,
            like,
        )


@inlined_kernel
def total_weight(targets, order, position, count):
    """The sum of the weights of the examples of a batch."""
    if not targets.weighted:
        return np.float64(count)
    total = 0.0
    for i in range(position, position + count):
        total += targets.weights[order[i]]
    return total


@inlined_kernel
def sum_over_tiles(buffers, tiles):
    """Sum of losses and number of correct answers."""
    total, correct = 0.0, 0
    for tile in range(tiles):
        total += buffers.losses[tile]
        correct += buffers.correct[tile]
    return total, correct


@inlined_kernel
def gradient_at(layout, layer):
    """Where the gradient of a layer's linear outputs is; the loss leaves its own in place of the logits."""
    return layout.gradients[layer] if layer < layout.depth else layout.activations[layer]


@inlined_kernel
def backward(words, block, layout, buffers, settings, keys, like):
    """Gradients of the linear outputs of all layers, from that of the last one's."""
    for layer in range(layout.depth - 1, 0, -1):
        dz_at = gradient_at(layout, layer) + block.tile * tile_size(layout, layer, like)
        next_at = gradient_at(layout, layer + 1) + block.tile * tile_size(layout, layer + 1, like)
        linear_backward(block, layout, buffers, settings, layer, next_at, like)
        backward_activation(words, block, layout, buffers, settings, keys, layer, dz_at, like)


@inlined_kernel
def gradients_as_rows(block, layout, buffers, first_row, factor, like):
    """The gradients of the linear outputs become rows: those whose weight gradients are computed from rows.

    That of the first layer does so times `factor`, the block's first row being `first_row`.
    """
    for layer in range(1, layout.depth + 1):
        if layout.rows[layer] >= 0:
            first = first_row if layer == 1 else block.tile * len(like)
            gradient_as_rows(block, layout, buffers, layer, first, like)
    first_layer.scale_rows(block.size, layout, buffers, first_row, factor, like)


@inlined_kernel
def gradient_as_rows(block, layout, buffers, layer, first_row, like):
    """Writes the gradient of a layer's linear outputs as rows too."""
    lanes, width, size = len(like), layout.row_widths[layer], tile_size(layout, layer, like)
    dz_at = gradient_at(layout, layer) + block.tile * size
    for t in range(tiles_of(block, like)):
        to, x_at = layout.rows[layer] + (first_row + t * lanes) * width, dz_at + t * size
        hidden.rows_of_tile(buffers.workspace, x_at, layout.units[layer], buffers.workspace, to, width, like)


@inlined_kernel
def backward_activation(words, block, layout, buffers, settings, keys, layer, da_at, like):
    """The gradient of a layer's activations becomes that of its linear outputs."""
    workspace, shift = buffers.workspace, block.tile * tile_size(layout, layer, like)
    tiles = tiles_of(block, like)
    vectors = tiles * layout.allocated_units[layer]
    a_at, scale = layout.activations[layer] + shift, settings.dropout_scales[layer - 1]
    after = settings.batchnorm == BATCHNORM_AFTER
    if after or not settings.rectified:
        drop_if_asked(words, block, layout.gradients[layer], settings, keys, layer)
    if after:
        if not settings.statistics.unchanged:
            call_kernel(settings.normalisation[1], (*block_and_layer(words, block, layer), da_at))
        a_at, scale = layout.unnormalised[layer] + shift, 1.0
    if settings.rectified:
        activations.relu_backward(workspace, da_at, a_at, vectors, scale, like)
    else:
        call_kernel(settings.activation[1], (address(workspace), da_at, a_at, vectors, np.float64(scale)))
    if settings.batchnorm == BATCHNORM_BEFORE:
        call_kernel(settings.normalisation[1], (*block_and_layer(words, block, layer), da_at))
