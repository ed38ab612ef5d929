"""The calls that Python makes: many steps of training, the evaluation of a split, the logits of rows."""

from __future__ import annotations

import math

from fastfnn.kernels import batchnorm, first_layer, hidden, optimizers
from fastfnn.kernels.compilation import entry_point, kernel
from fastfnn.kernels.dropout import dropout
from fastfnn.kernels.loss import softmax_cross_entropy
from fastfnn.kernels.simd import splat, store, zeros
from fastfnn.kernels.structures import BATCHNORM_AFTER, BATCHNORM_BEFORE, BATCHNORM_OFF, SGD

EVALUATION_BLOCK = 128  # examples; fixed, so that a result does not depend on the batch size of the run
SMALLEST_FACTOR = 1e-3  # the first layer's common factor is multiplied in before it costs precision


@kernel
def set_lane_mask(layout, buffers, count, like):
    """Ones for the `count` examples of a block, zeros behind them, to whole tiles."""
    for i in range(0, count, len(like)):
        store(splat(1, like), buffers.workspace, layout.lane_mask + i)
    for i in range(count, (count + len(like) - 1) // len(like) * len(like)):
        buffers.workspace[layout.lane_mask + i] = 0


@kernel
def linear_outputs(inputs, order, position, count, layout, buffers, settings, layer, z_at, like):
    """The outputs of a layer's linear map for all tiles of a block, through the ReLU if nothing comes between."""
    lanes = len(like)
    rectify = settings.batchnorm == BATCHNORM_OFF and layer < len(layout.units) - 1
    parameters, workspace = buffers.parameters, buffers.workspace
    n_in, n_out = layout.units[layer - 1], layout.units[layer]
    tile_in, tile_out = layout.allocated_units[layer - 1] * lanes, layout.allocated_units[layer] * lanes
    for t in range((count + lanes - 1) // lanes):
        to = z_at + t * tile_out
        if layer == 1:
            n = min(lanes, count - t * lanes)
            scale = settings.feature_scale * buffers.factor[0]
            first_layer.forward(inputs, order, position + t * lanes, n, layout, buffers, scale, to, like)
            if rectify:
                hidden.relu(workspace, to, n_out, like)
        else:
            x_at = layout.activations[layer - 1] + t * tile_in
            weights_at, biases_at = layout.weights[layer - 1], layout.biases[layer - 1]
            hidden.linear(workspace, x_at, n_in, parameters, weights_at, biases_at, to, n_out, rectify, like)


@kernel
def forward_block(inputs, order, position, count, layout, buffers, settings, keys, like):
    """Logits of the examples order[position : position + count]; leaves what the backward pass needs."""
    lanes = len(like)
    tiles = (count + lanes - 1) // lanes
    depth = len(layout.units) - 1
    if settings.batchnorm != BATCHNORM_OFF:
        set_lane_mask(layout, buffers, count, like)
    for layer in range(1, depth):
        plain = settings.batchnorm == BATCHNORM_OFF
        z_at = layout.activations[layer] if plain else layout.rectified[layer]
        linear_outputs(inputs, order, position, count, layout, buffers, settings, layer, z_at, like)
        if not plain:
            normalise(layout, buffers, settings, layer, tiles, count, like)
        if settings.training and settings.dropout_thresholds[layer - 1] > 0:
            drop(layout.activations[layer], order, position, count, layout, buffers, settings, keys, layer, like)
    linear_outputs(inputs, order, position, count, layout, buffers, settings, depth, layout.activations[depth], like)


@kernel
def normalise(layout, buffers, settings, layer, tiles, count, like):
    """Batch norm and ReLU, in the order that the settings say, from `rectified` to `activations`."""
    z_at, a_at = layout.rectified[layer], layout.activations[layer]
    vectors = tiles * layout.allocated_units[layer]
    if settings.batchnorm == BATCHNORM_AFTER:
        hidden.relu(buffers.workspace, z_at, vectors, like)
    if settings.training:
        batchnorm.forward(layout, buffers, layer, z_at, a_at, tiles, count, like)
    else:
        batchnorm.inference(layout, buffers, layer, z_at, a_at, tiles, like)
    if settings.batchnorm == BATCHNORM_BEFORE:
        hidden.relu(buffers.workspace, a_at, vectors, like)


@kernel
def drop(a_at, order, position, count, layout, buffers, settings, keys, layer, like):
    """Dropout on a layer of all tiles of a block: of its activations, or of their gradient."""
    lanes = len(like)
    for t in range((count + lanes - 1) // lanes):
        dropout(
            buffers.workspace,
            a_at + t * layout.allocated_units[layer] * lanes,
            layout.units[layer],
            order,
            position + t * lanes,
            min(lanes, count - t * lanes),
            keys[layer - 1],
            settings.dropout_thresholds[layer - 1],
            settings.dropout_scales[layer - 1],
            buffers.counters,
            like,
        )


@kernel
def loss_of_block(labels, order, position, count, layout, buffers, weight, like):
    """Sum of losses and number of correct answers; the logits become the gradient of weight * loss."""
    lanes = len(like)
    depth = len(layout.units) - 1
    classes = layout.units[depth]
    loss, correct = 0.0, 0
    for t in range((count + lanes - 1) // lanes):
        logits_at = layout.activations[depth] + t * layout.allocated_units[depth] * lanes
        n = min(lanes, count - t * lanes)
        tile_loss, tile_correct = softmax_cross_entropy(
            buffers.workspace, logits_at, classes, labels, order, position + t * lanes, n, weight, buffers.scratch, like
        )
        loss += tile_loss
        correct += tile_correct
    return loss, correct


@kernel
def layer_gradients(layout, buffers, layer, dz_at, tiles, accumulate, like):
    """Gradients of the weights and biases of one layer from that of its outputs."""
    lanes = len(like)
    dz_tile = layout.allocated_units[layer] * lanes
    n_in, n_out = layout.units[layer - 1], layout.units[layer]
    workspace, gradients = buffers.workspace, buffers.gradients
    hidden.bias_gradient(workspace, dz_at, dz_tile, n_out, tiles, gradients, layout.biases[layer - 1], accumulate, like)
    if layer > 1:
        hidden.weight_gradient(
            workspace,
            layout.activations[layer - 1],
            layout.allocated_units[layer - 1] * lanes,
            n_in,
            dz_at,
            dz_tile,
            n_out,
            tiles,
            gradients,
            layout.weights[layer - 1],
            accumulate,
            buffers.scratch,
            like,
        )


@kernel
def backward_block(order, position, count, layout, buffers, settings, keys, accumulate, like):
    """Gradients of all layers but the first one's weights, and the gradient of the first layer's outputs."""
    lanes = len(like)
    tiles = (count + lanes - 1) // lanes
    depth = len(layout.units) - 1
    dz_at = layout.activations[depth]  # the loss left its gradient in place of the logits
    layer_gradients(layout, buffers, depth, dz_at, tiles, accumulate, like)
    for layer in range(depth - 1, 0, -1):
        da_at = layout.gradients[layer]
        for t in range(tiles):
            hidden.linear_backward(
                buffers.workspace,
                dz_at + t * layout.allocated_units[layer + 1] * lanes,
                layout.units[layer + 1],
                buffers.parameters,
                layout.weights[layer],
                da_at + t * layout.allocated_units[layer] * lanes,
                layout.units[layer],
                like,
            )
        backward_activation(order, position, count, layout, buffers, settings, keys, layer, tiles, accumulate, like)
        layer_gradients(layout, buffers, layer, da_at, tiles, accumulate, like)
        dz_at = da_at


@kernel
def backward_activation(order, position, count, layout, buffers, settings, keys, layer, tiles, accumulate, like):
    """The gradient of a layer's activations becomes that of its linear outputs."""
    workspace, da_at = buffers.workspace, layout.gradients[layer]
    vectors = tiles * layout.allocated_units[layer]
    dropping = settings.dropout_thresholds[layer - 1] > 0
    scale = settings.dropout_scales[layer - 1]
    if settings.batchnorm == BATCHNORM_AFTER:
        if dropping:
            drop(da_at, order, position, count, layout, buffers, settings, keys, layer, like)
        batchnorm.backward(layout, buffers, layer, da_at, tiles, count, accumulate, like)
        hidden.relu_backward(workspace, da_at, layout.rectified[layer], vectors, 1.0, like)
    else:
        hidden.relu_backward(workspace, da_at, layout.activations[layer], vectors, scale, like)
        if settings.batchnorm == BATCHNORM_BEFORE:
            batchnorm.backward(layout, buffers, layer, da_at, tiles, count, accumulate, like)


@kernel
def gradients_of_batch(inputs, labels, order, position, count, layout, buffers, settings, keys, factor, like):
    """Forward and backward of a batch, block by block.

    The first layer's weight gradient is left undone, as `factor` times the gradient of its outputs, an example a row.
    Returns the sum of losses and the number of correct answers.
    """
    depth = len(layout.units) - 1
    loss, correct = 0.0, 0
    for begin in range(0, count, layout.block):
        n = min(layout.block, count - begin)
        first = position + begin
        forward_block(inputs, order, first, n, layout, buffers, settings, keys, like)
        block_loss, block_correct = loss_of_block(labels, order, first, n, layout, buffers, 1.0 / count, like)
        loss += block_loss
        correct += block_correct
        backward_block(order, first, n, layout, buffers, settings, keys, begin > 0, like)
        dz_at = layout.activations[depth] if depth == 1 else layout.gradients[1]
        tile = layout.allocated_units[1] * len(like)
        for t in range((n + len(like) - 1) // len(like)):
            row = begin + t * len(like)
            first_layer.rows_of_gradient(layout, buffers, dz_at + t * tile, row, factor, like)
    return loss, correct


@kernel
def first_layer_end(layout):
    """Where the first layer's weights end in the parameters."""
    return layout.weights[1] if len(layout.weights) > 1 else layout.weights_end


@kernel
def multiply_factor_in(layout, buffers, like):
    """Makes the first layer's stored weights the weights themselves."""
    optimizers.scale(buffers.parameters, 0, first_layer_end(layout), buffers.factor[0], like)
    buffers.factor[0] = 1.0


@kernel
def update_parameters(inputs, order, position, count, layout, buffers, settings, rate, decay, step, like):
    """One step of the optimiser, once the gradients of the batch are there."""
    begin = first_layer_end(layout)
    if settings.optimizer == SGD:
        first_layer.update(inputs, order, position, count, layout, buffers.parameters, buffers.first_layer_rows)
    else:
        optimizers.scale(buffers.gradients, 0, begin, 0.0, like)
        first_layer.update(inputs, order, position, count, layout, buffers.gradients, buffers.first_layer_rows)
        optimizers.update(buffers, settings, 0, begin, rate, decay, step, like)
    optimizers.update(buffers, settings, begin, layout.weights_end, rate, decay, step, like)
    optimizers.update(buffers, settings, layout.weights_end, layout.parameters_end, rate, 0.0, step, like)


@kernel
def factor_after(layout, buffers, shrinkage, like):
    """The first layer's common factor after a step of plain SGD that multiplies the weights by `shrinkage`.

    Keeping the factor apart makes the penalty free of a pass over all weights (Bottou 2010, section 5.1). 1 where the
    shrinkage is too strong for that.
    """
    if buffers.factor[0] * shrinkage < SMALLEST_FACTOR:
        multiply_factor_in(layout, buffers, like)
    return buffers.factor[0] * shrinkage if shrinkage >= SMALLEST_FACTOR else 1.0


@kernel
def shrink_first_layer(layout, buffers, shrinkage, new_factor, like):
    """Multiplies the first layer by `shrinkage`: through its factor, or its weights where that is too strong."""
    if shrinkage < SMALLEST_FACTOR:
        optimizers.scale(buffers.parameters, 0, first_layer_end(layout), shrinkage, like)
    buffers.factor[0] = new_factor


@entry_point
def run_steps(inputs, labels, steps, layout, buffers, settings):
    """Does `steps`; returns the sum of losses, correct answers, examples, steps done and whether the last diverged.

    Stops before the update of a step whose loss is not finite; that step counts as done.
    """
    like = zeros(buffers.parameters, 64)
    order, keys = steps.order, steps.dropout_keys
    loss, correct, examples = 0.0, 0, 0
    for s in range(steps.first, steps.last):
        position = s * settings.batch_size
        count = min(settings.batch_size, len(order) - position)
        rate = steps.learning_rates[s - steps.first]
        decay = settings.decay / count if settings.decay_per_batch else settings.decay
        shrinkage = 1.0 - rate * decay
        new_factor = 1.0
        factor = settings.feature_scale
        if settings.optimizer == SGD:
            new_factor = factor_after(layout, buffers, shrinkage, like)
            factor *= -rate / new_factor
        batch_loss, batch_correct = gradients_of_batch(
            inputs, labels, order, position, count, layout, buffers, settings, keys, factor, like
        )
        loss += batch_loss
        correct += batch_correct
        examples += count
        if not math.isfinite(batch_loss):
            return loss, correct, examples, s - steps.first + 1, True
        if settings.optimizer == SGD:
            shrink_first_layer(layout, buffers, shrinkage, new_factor, like)
        step = steps.step + s - steps.first + 1
        update_parameters(inputs, order, position, count, layout, buffers, settings, rate, decay, step, like)
    return loss, correct, examples, steps.last - steps.first, False


@entry_point
def evaluate(inputs, labels, order, layout, buffers, settings, keys):
    """Sum of losses and number of correct answers over the examples `order`, in blocks of a fixed size."""
    like = zeros(buffers.parameters, 64)
    loss, correct = 0.0, 0
    for position in range(0, len(order), EVALUATION_BLOCK):
        count = min(EVALUATION_BLOCK, len(order) - position)
        forward_block(inputs, order, position, count, layout, buffers, settings, keys, like)
        block_loss, block_correct = loss_of_block(labels, order, position, count, layout, buffers, 1.0, like)
        loss += block_loss
        correct += block_correct
    return loss, correct


@entry_point
def logits(inputs, order, layout, buffers, settings, keys, out):
    """Writes the logits (N, C) of the examples `order`."""
    like = zeros(buffers.parameters, 64)
    lanes = len(like)
    depth = len(layout.units) - 1
    for position in range(0, len(order), EVALUATION_BLOCK):
        count = min(EVALUATION_BLOCK, len(order) - position)
        forward_block(inputs, order, position, count, layout, buffers, settings, keys, like)
        for i in range(count):
            tile_at = layout.activations[depth] + i // lanes * layout.allocated_units[depth] * lanes
            for c in range(layout.units[depth]):
                out[position + i, c] = buffers.workspace[tile_at + c * lanes + i % lanes]
