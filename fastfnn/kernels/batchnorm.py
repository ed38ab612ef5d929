"""Batch norm over the examples of a block (Ioffe and Szegedy 2015), on tiles, layer by layer."""

from __future__ import annotations

from fastfnn.kernels.compilation import kernel
from fastfnn.kernels.simd import at, first_lane, fma, load, splat, sqrt, store, total

EPSILON = 1e-5  # added to the variance, unless the settings say otherwise
MOMENTUM = 0.9


@kernel
def update_running(running, position, value):
    """Moves a running statistic towards the block's."""
    kept = splat(MOMENTUM, value)
    blended = kept * splat(running[position], value) + (splat(1, value) - kept) * value
    running[position] = first_lane(blended)


@kernel
def degrees_of_freedom(count, statistics):
    """What the sum of squares is divided by to give the variance."""
    return count - 1 if statistics.unbiased else count


@kernel
def inverse_deviation(variance, statistics, like):
    """One over what values are divided by."""
    epsilon = splat(statistics.epsilon, like)
    if statistics.on_deviation:
        return splat(1, like) / (sqrt(variance) + epsilon)
    return splat(1, like) / sqrt(variance + epsilon)


@kernel
def forward_unit(
    workspace,
    z_at,
    y_at,
    normalised_at,
    tile,
    tiles,
    count,
    mask_at,
    scale,
    shift,
    running,
    mean_at,
    variance_at,
    statistics,
    like,
):
    """Normalises one unit over the `count` examples of a block and returns one over its standard deviation."""
    lanes = len(like)
    n = splat(count, like)
    sums = like
    for t in range(tiles):
        sums = fma(load(workspace, z_at + t * tile, like), load(workspace, mask_at + t * lanes, like), sums)
    mean = splat(total(sums), like) / n
    squares = like
    for t in range(tiles):
        centred = (load(workspace, z_at + t * tile, like) - mean) * load(workspace, mask_at + t * lanes, like)
        squares = fma(centred, centred, squares)
        store(centred, workspace, normalised_at + t * tile)
    variance = splat(total(squares), like) / splat(degrees_of_freedom(count, statistics), like)
    inverse = inverse_deviation(variance, statistics, like)
    factor, offset = splat(scale, like), splat(shift, like)
    for t in range(tiles):
        normalised = load(workspace, normalised_at + t * tile, like) * inverse
        store(normalised, workspace, normalised_at + t * tile)
        store(fma(normalised, factor, offset), workspace, y_at + t * tile)
    update_running(running, mean_at, mean)
    update_running(running, variance_at, variance)
    return first_lane(inverse)


@kernel
def forward(block, layout, buffers, statistics, layer, z_at, y_at, tiles, like):
    """Normalises a layer (1..L-1) over the examples of a block, from z to y, and updates its running statistics."""
    workspace, parameters = buffers.workspace, buffers.parameters
    lanes = len(like)
    tile, first = layout.allocated_units[layer] * lanes, block.tile * layout.allocated_units[layer] * lanes
    for unit in range(layout.units[layer]):
        at_unit = unit * lanes
        workspace[layout.deviations[layer] + unit] = forward_unit(
            workspace,
            z_at + at_unit,
            y_at + at_unit,
            layout.normalised[layer] + first + at_unit,
            tile,
            tiles,
            block.size,
            layout.lane_mask + block.tile * lanes,
            at(parameters, layout.scale[layer - 1] + unit),
            at(parameters, layout.shift[layer - 1] + unit),
            buffers.running,
            layout.running_mean[layer - 1] + unit,
            layout.running_variance[layer - 1] + unit,
            statistics,
            like,
        )


@kernel
def slope_of(dscale, inverse, count, statistics):
    """How much of the gradient is along the normalised values.

    Where epsilon is added to the deviation, the divisor of the values moves as the deviation does, and not as itself.
    """
    slope = dscale / degrees_of_freedom(count, statistics)
    if statistics.on_deviation:
        divisor = 1 / inverse
        deviation = divisor - statistics.epsilon
        return slope * divisor / deviation if deviation > 0 else slope * 0
    return slope


@kernel
def backward_unit(workspace, dy_at, normalised_at, tile, tiles, count, mask_at, scale, inverse, statistics, like):
    """dy becomes dz for one unit; returns the gradients of scale and shift."""
    lanes = len(like)
    n = splat(count, like)
    products, sums = like, like
    for t in range(tiles):
        dy = load(workspace, dy_at + t * tile, like)
        products = fma(dy, load(workspace, normalised_at + t * tile, like), products)
        sums = sums + dy
    dscale, dshift = total(products), total(sums)
    slope, mean = splat(slope_of(dscale, inverse, count, statistics), like), splat(dshift, like) / n
    factor = splat(scale, like) * splat(inverse, like)
    for t in range(tiles):
        normalised = load(workspace, normalised_at + t * tile, like)
        centred = load(workspace, dy_at + t * tile, like) - mean - normalised * slope
        store(centred * factor * load(workspace, mask_at + t * lanes, like), workspace, dy_at + t * tile)
    return dscale, dshift


@kernel
def backward(block, layout, buffers, statistics, layer, dy_at, tiles, like):
    """The gradient through the normalisation of a layer, in place; gradients of scale and shift."""
    workspace, gradients = buffers.workspace, buffers.gradients
    lanes = len(like)
    for unit in range(layout.units[layer]):
        dscale, dshift = backward_unit(
            workspace,
            dy_at + unit * lanes,
            layout.normalised[layer] + (block.tile * layout.allocated_units[layer] + unit) * lanes,
            layout.allocated_units[layer] * lanes,
            tiles,
            block.size,
            layout.lane_mask + block.tile * lanes,
            at(buffers.parameters, layout.scale[layer - 1] + unit),
            at(workspace, layout.deviations[layer] + unit),
            statistics,
            like,
        )
        if not statistics.affine:
            continue
        scale_at, shift_at = layout.scale[layer - 1] + unit, layout.shift[layer - 1] + unit
        if block.tile > 0:  # the first block of a batch sets the gradients, later ones add
            dscale += gradients[scale_at]
            dshift += gradients[shift_at]
        gradients[scale_at] = dscale
        gradients[shift_at] = dshift


@kernel
def inference(layout, buffers, layer, z_at, y_at, tiles, like):
    """Normalises with the running statistics, from z to y."""
    workspace, parameters, running = buffers.workspace, buffers.parameters, buffers.running
    lanes = len(like)
    tile = layout.allocated_units[layer] * lanes
    for unit in range(layout.units[layer]):
        mean = splat(at(running, layout.running_mean[layer - 1] + unit), like)
        variance = splat(at(running, layout.running_variance[layer - 1] + unit), like)
        scale = splat(at(parameters, layout.scale[layer - 1] + unit), like)
        shift = splat(at(parameters, layout.shift[layer - 1] + unit), like)
        factor = scale / sqrt(variance + splat(EPSILON, like))
        for t in range(tiles):
            z = load(workspace, z_at + t * tile + unit * lanes, like)
            store(fma(z - mean, factor, shift), workspace, y_at + t * tile + unit * lanes)
