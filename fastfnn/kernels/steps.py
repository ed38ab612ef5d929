"""The calls that Python makes: many steps of training, the evaluation of a split, the logits of rows."""

from __future__ import annotations

import math

from fastfnn.kernels import first_layer, passes, updates
from fastfnn.kernels.compilation import inlined_kernel
from fastfnn.kernels.passes import Block
from fastfnn.kernels.simd import address, by_pointers, call_kernel, zeros
from fastfnn.kernels.structures import BATCHNORM_OFF, EVALUATION_BLOCK, ROWS_AHEAD, SGD
from fastfnn.kernels.subnormals import flush_subnormals, restore_subnormals
from fastfnn.kernels.team import wait_for_all

SMALLEST_FACTOR = 1e-3  # the first layer's common factor is multiplied in before it costs precision


@inlined_kernel
def tiles_of_batch(count, layout, like):
    """How many tiles the workspace has for a batch: every block begins with a new one."""
    whole, rest, lanes = count // layout.block, count % layout.block, len(like)
    return whole * ((layout.block + lanes - 1) // lanes) + (rest + lanes - 1) // lanes


@inlined_kernel
def own(thread, threads, count):
    """Which of so many things are a thread's: the first one, and the one behind the last."""
    return thread * count // threads, (thread + 1) * count // threads


@inlined_kernel
def own_tiles(block, thread, threads, like):
    """The tiles of a block that are a thread's, as a block."""
    begin, behind = own(thread, threads, passes.tiles_of(block, like))
    skipped = begin * len(like)
    n = min(behind * len(like), block.size) - skipped
    return Block(block.order, block.end, block.position + skipped, n, block.tile + begin)


@inlined_kernel
def first_outputs_of_blocks(part, inputs, order, end, position, count, layout, buffers, settings, feature_scale, like):
    """The first layer's outputs for the thread's part of each block of a batch."""
    tile = 0
    for first in range(0, count, layout.block):
        whole = Block(order, end, position + first, min(layout.block, count - first), tile)
        block = own_tiles(whole, part.thread, part.threads, like)
        if block.size > 0:
            row, ahead = block.position - position, block.position + whole.size
            passes.first_outputs(block, ahead, inputs, layout, buffers, settings, feature_scale, row, like)
        tile += passes.tiles_of(whole, like)


@inlined_kernel
def products_by_kind(part, inputs, order, end, position, count, layout, buffers, settings, like):
    """The products of the first layer for a batch: of the dense features by some threads, of the listed by the others.

    Weights stay with the thread that updates them, and so do rows; only outputs and their gradients are exchanged.
    """
    if part.thread < part.dense_threads:
        tile = 0
        for first in range(0, count, layout.block):
            whole = Block(order, end, position + first, min(layout.block, count - first), tile)
            block = own_tiles(whole, part.thread, part.dense_threads, like)
            ahead, z_at = block.position + count, passes.outputs_at(layout, settings, 1, block.tile, like)
            size = passes.tile_size(layout, 1, like)
            first_layer.dense_outputs(
                inputs, order, end, block.position, block.size, ahead, layout, buffers, z_at, size, like
            )
            tile += passes.tiles_of(whole, like)
    else:
        row, behind = own(part.thread - part.dense_threads, part.threads - part.dense_threads, count)
        first_layer.listed_outputs(
            inputs, order, end, position + row, behind - row, ROWS_AHEAD, layout, buffers, row, like
        )


@inlined_kernel
def gradients_of_outputs(
    words,
    part,
    inputs,
    targets,
    order,
    end,
    position,
    count,
    layout,
    buffers,
    settings,
    keys,
    feature_scale,
    loss_factor,
    factor,
    like,
):
    """Losses of a batch, and the gradients of loss_factor * their sum with respect to all linear outputs.

    The gradient of the first layer's outputs is multiplied by `factor`.

    Threads divide the groups of blocks of the batch, and the first layer's products either likewise or by kind. With
    batch norm they divide the first layer's outputs only, and the rest, which depends on all examples of a block, is
    left to one.
    """
    blocks, groups = updates.blocks_of(count, layout), updates.groups_of(count, layout)
    first_group, behind = own(part.thread, part.threads, groups)
    first_of_batch, last = first_group * blocks // groups * layout.block, behind * blocks // groups - 1
    normalised = settings.batchnorm != BATCHNORM_OFF
    first_layer.forget_weights(inputs)
    if part.dense_threads > 0:
        products_by_kind(part, inputs, order, end, position, count, layout, buffers, settings, like)
        wait_for_all(part)
    if normalised:
        first_outputs_of_blocks(
            part, inputs, order, end, position, count, layout, buffers, settings, feature_scale, like
        )
        wait_for_all(part)
        first_group, behind = 0, groups if part.thread == 0 else 0
    for group in range(first_group, behind):
        updates.begin_group(part, group, layout, buffers, like)
        for number in range(group * blocks // groups, (group + 1) * blocks // groups):
            first = number * layout.block
            tile = tiles_of_batch(first, layout, like)
            block = Block(order, end, position + first, min(layout.block, count - first), tile)
            ahead = block.position + block.size
            if number == last:  # the thread's examples of the next batch
                ahead = position + count + first_of_batch
            if not normalised:
                passes.first_outputs(block, ahead, inputs, layout, buffers, settings, feature_scale, first, like)
            if settings.layers[0] != 0:
                of_block = (address(order), end, block.position, block.size, block.tile)
                call_kernel(settings.layers[0], (words, words, *of_block, number, address(keys), loss_factor, factor))
            else:
                passes.later_layers(words, block, layout, buffers, settings, keys, like)
                passes.loss(block, layout.units[layout.depth], targets, layout, buffers, loss_factor, like)
                passes.backward(words, block, layout, buffers, settings, keys, like)
                passes.gradients_as_rows(block, layout, buffers, first, factor, like)
                updates.partial_gradients(block, number, layout, buffers, like)
            if layout.first_layer_by_groups:
                updates.first_layer_of_block(block, ahead, group, inputs, layout, buffers, first)


@inlined_kernel
def run_step(
    words, part, inputs, targets, order, end, position, count, layout, buffers, settings, keys, factor, rate, step, like
):
    """One step; returns loss, correct answers, weight of the examples and the new factor of the first layer.

    With plain SGD the first layer's weights are a factor times what is stored, which makes the penalty free of a pass
    over all weights (Bottou 2010, section 5.1). The update is left out where the loss is not finite.
    """
    weight = passes.total_weight(targets, order, position, count)
    share = 1.0 / weight if weight > 0 else 0.0
    decay = settings.decay * share if settings.decay_per_batch else settings.decay
    shrinkage = 1.0 - rate * decay
    new_factor, gradient_factor = 1.0, settings.feature_scale
    if settings.optimizer == SGD:
        if factor * shrinkage < SMALLEST_FACTOR:
            updates.scale(part.first_layer, buffers, factor, like)
            factor = 1.0
            wait_for_all(part)
        new_factor = factor * shrinkage if shrinkage >= SMALLEST_FACTOR else 1.0
        gradient_factor *= -rate / new_factor
    feature_scale = settings.feature_scale * factor
    tiles = tiles_of_batch(count, layout, like)
    gradients_of_outputs(
        words,
        part,
        inputs,
        targets,
        order,
        end,
        position,
        count,
        layout,
        buffers,
        settings,
        keys,
        feature_scale,
        share,
        gradient_factor,
        like,
    )
    wait_for_all(part)
    loss, correct = passes.sum_over_tiles(buffers, tiles)
    if not math.isfinite(loss):
        updates.forget_groups(part, count, layout, buffers, like)
        return loss, correct, weight, factor
    if settings.optimizer == SGD and shrinkage < SMALLEST_FACTOR:
        updates.scale(part.first_layer, buffers, shrinkage, like)
    call_kernel(settings.update[0], (words, address(order), end, position, count, tiles, rate, decay, step))
    wait_for_all(part)
    return loss, correct, weight, new_factor


def run_steps(words, layout, buffers, settings, inputs, part, targets, steps):
    """Does a thread's part of `steps`; all threads of its team must be called with the same ones.

    Returns the weighted sum of losses, correct answers, examples, their weight, steps done and whether the last one
    diverged: it stops before the update of a step whose loss is not finite, and that step counts as done. All threads
    return the same. Where a thread does not come, nothing is done.
    """
    end = len(steps.order)
    part, inputs, targets, steps = by_pointers(part), by_pointers(inputs), by_pointers(targets), by_pointers(steps)
    layout, buffers, settings = by_pointers(layout), by_pointers(buffers), by_pointers(settings)
    like = zeros(buffers.parameters, 64)
    order = steps.order
    factor = buffers.factor[0]
    loss, correct, examples, weight, done, diverged = 0.0, 0, 0, 0.0, 0, False
    subnormals = flush_subnormals()
    last = steps.last if wait_for_all(part) else steps.first
    for s in range(steps.first, last):
        position = s * settings.batch_size
        count = min(settings.batch_size, end - position)
        step_loss, step_correct, step_weight, factor = run_step(
            words,
            part,
            inputs,
            targets,
            order,
            end,
            position,
            count,
            layout,
            buffers,
            settings,
            steps.dropout_keys,
            factor,
            steps.learning_rates[s - steps.first],
            steps.step + s - steps.first + 1,
            like,
        )
        loss += step_loss
        correct += step_correct
        examples += count
        weight += step_weight
        done += 1
        if not math.isfinite(step_loss):
            diverged = True
            break
    updates.multiply_out(part, buffers, like)
    if part.thread == 0:
        buffers.factor[0] = factor
    restore_subnormals(subnormals)
    return loss, correct, examples, weight, done, diverged


def evaluate(words, layout, buffers, settings, inputs, targets, keys, order):
    """Weighted sum of losses and number of correct answers over the examples `order`, in blocks of a fixed size."""
    end = len(order)
    inputs, targets, order, layout = by_pointers(inputs), by_pointers(targets), by_pointers(order), by_pointers(layout)
    buffers, settings, keys = by_pointers(buffers), by_pointers(settings), by_pointers(keys)
    like = zeros(buffers.parameters, 64)
    feature_scale = settings.feature_scale * buffers.factor[0]
    subnormals = flush_subnormals()
    first_layer.forget_weights(inputs)
    loss, correct = 0.0, 0
    for position in range(0, end, EVALUATION_BLOCK):
        block = Block(order, end, position, min(EVALUATION_BLOCK, end - position), 0)
        passes.forward(words, block, inputs, layout, buffers, settings, feature_scale, keys, like)
        passes.loss(block, layout.units[layout.depth], targets, layout, buffers, 1.0, like)
        block_loss, block_correct = passes.sum_over_tiles(buffers, passes.tiles_of(block, like))
        loss += block_loss
        correct += block_correct
    restore_subnormals(subnormals)
    return loss, correct


def logits(words, layout, buffers, settings, inputs, order, keys, out):
    """Writes the logits (N, C) of the examples `order`."""
    end, depth = len(order), layout.depth
    inputs, order, layout = by_pointers(inputs), by_pointers(order), by_pointers(layout)
    buffers, settings, keys = by_pointers(buffers), by_pointers(settings), by_pointers(keys)
    like = zeros(buffers.parameters, 64)
    lanes = len(like)
    feature_scale = settings.feature_scale * buffers.factor[0]
    subnormals = flush_subnormals()
    first_layer.forget_weights(inputs)
    for position in range(0, end, EVALUATION_BLOCK):
        block = Block(order, end, position, min(EVALUATION_BLOCK, end - position), 0)
        passes.forward(words, block, inputs, layout, buffers, settings, feature_scale, keys, like)
        for i in range(block.size):
            tile_at = layout.activations[depth] + i // lanes * passes.tile_size(layout, depth, like)
            for c in range(layout.units[depth]):
                out[position + i, c] = buffers.workspace[tile_at + c * lanes + i % lanes]
    restore_subnormals(subnormals)
