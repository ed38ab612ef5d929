"""Batch norm over the examples of a block (Ioffe and Szegedy 2015), on tiles, layer by layer."""

from __future__ import annotations

from fastfnn.kernels.activations import at_least
from fastfnn.kernels.compilation import inlined_kernel, kernel
from fastfnn.kernels.simd import at, first_lane, fma, load, splat, sqrt, store, total
from fastfnn.kernels.structures import EPSILON

MOMENTUM = 0.9


@kernel
def update_running(running, position, values):
    """Moves the running statistics of a vector of units towards the block's."""
    kept = splat(MOMENTUM, values)
    blended = kept * load(running, position, values) + (splat(1, values) - kept) * values
    store(blended, running, position)


@kernel
def reciprocal(number, like):
    """1 / number, in the precision of the vector."""
    return first_lane(splat(1, like) / splat(number, like))


@kernel
def reciprocal_freedom(count, statistics, like):
    """What the sum of squares is multiplied by to give the variance: one over the degrees of freedom."""
    return reciprocal(count - 1 if statistics.unbiased else count, like)


@kernel
def inverse_deviations(variances, statistics):
    """One over what values are divided by, for a vector of units."""
    epsilon, one = splat(statistics.epsilon, variances), splat(1, variances)
    if statistics.on_deviation:
        return one / (sqrt(variances) + epsilon)
    return one / sqrt(variances + epsilon)


@inlined_kernel
def centre(workspace, z_at, centred_at, tile, tiles, share, mask_at, like):
    """Subtracts one unit's mean over the examples of a block, of which each has the `share` in it.

    Returns the mean and the sum of the squares of the differences. Only the last tile may have lanes without examples.
    """
    sums, squares, mask, last = like, like, load(workspace, mask_at, like), (tiles - 1) * tile
    for at_tile in range(0, last, tile):
        sums = sums + load(workspace, z_at + at_tile, like)
    sums = fma(load(workspace, z_at + last, like), mask, sums)
    mean = total(sums) * share
    for at_tile in range(0, last, tile):
        centred = load(workspace, z_at + at_tile, like) - splat(mean, like)
        squares = fma(centred, centred, squares)
        store(centred, workspace, centred_at + at_tile)
    centred = (load(workspace, z_at + last, like) - splat(mean, like)) * mask
    store(centred, workspace, centred_at + last)
    return mean, total(fma(centred, centred, squares))


@inlined_kernel
def statistics_of_units(layout, buffers, statistics, layer, count, like):
    """From the sums of squares of a layer's units to one over their deviations; updates the running statistics."""
    units, workspace, running = layout.units[layer], buffers.workspace, buffers.running
    means_at, deviations_at = layout.means[layer], layout.deviations[layer]
    of_freedom = splat(reciprocal_freedom(count, statistics, like), like)
    for i in range(0, units, len(like)):
        for unit in range(units, i + len(like)):  # of the last vector, behind the last unit
            workspace[means_at + unit] = 0
            workspace[deviations_at + unit] = 0
        variances = load(workspace, deviations_at + i, like) * of_freedom
        update_running(running, layout.running_mean[layer - 1] + i, load(workspace, means_at + i, like))
        update_running(running, layout.running_variance[layer - 1] + i, variances)
        store(inverse_deviations(variances, statistics), workspace, deviations_at + i)


@inlined_kernel
def normalise(workspace, normalised_at, y_at, tile, tiles, inverse, scale, shift, lowest, like):
    """Divides one unit's centred values by their deviation, in place, and scales and shifts them to y >= `lowest`."""
    factor, offset, floor = splat(scale, like), splat(shift, like), splat(lowest, like)
    for at_tile in range(0, tiles * tile, tile):
        normalised = load(workspace, normalised_at + at_tile, like) * splat(inverse, like)
        store(normalised, workspace, normalised_at + at_tile)
        store(at_least(fma(normalised, factor, offset), floor), workspace, y_at + at_tile)


@inlined_kernel
def forward_units(block, layout, buffers, statistics, layer, z_at, y_at, tiles, lowest, like):
    """`forward` for so many tiles.

    Units one after the other would wait for divisions and roots; those of a vector of units are taken at once.
    """
    workspace, parameters = buffers.workspace, buffers.parameters
    lanes, units, share = len(like), layout.units[layer], reciprocal(block.size, like)
    tile = layout.allocated_units[layer] * lanes
    mask_at, normalised_at = layout.lane_mask, layout.normalised[layer] + block.tile * tile
    means_at, deviations_at = layout.means[layer], layout.deviations[layer]
    for unit in range(units):
        shifted = unit * lanes
        workspace[means_at + unit], workspace[deviations_at + unit] = centre(
            workspace, z_at + shifted, normalised_at + shifted, tile, tiles, share, mask_at, like
        )
    statistics_of_units(layout, buffers, statistics, layer, block.size, like)
    for unit in range(units):
        shifted = unit * lanes
        normalise(
            workspace,
            normalised_at + shifted,
            y_at + shifted,
            tile,
            tiles,
            at(workspace, deviations_at + unit),
            at(parameters, layout.scale[layer - 1] + unit),
            at(parameters, layout.shift[layer - 1] + unit),
            lowest,
            like,
        )


@kernel
def forward(block, layout, buffers, statistics, layer, z_at, y_at, tiles, lowest, like):
    """Normalises a layer (1..L-1) over the examples of a block, from z to y, and updates its running statistics.

    What is below `lowest` becomes that: 0 where the ReLU comes next, and NaN stays NaN.

    One tile has code of its own: most of a loop over tiles is what comes before its first round.
    """
    if tiles == 1:
        forward_units(block, layout, buffers, statistics, layer, z_at, y_at, 1, lowest, like)
    else:
        forward_units(block, layout, buffers, statistics, layer, z_at, y_at, tiles, lowest, like)


@inlined_kernel
def slope_of(dscale, inverse, of_freedom, statistics):
    """How much of the gradient is along the normalised values.

    Where epsilon is added to the deviation, the divisor of the values moves as the deviation does, and not as itself.
    """
    slope = dscale * of_freedom
    if statistics.on_deviation:
        divisor = 1 / inverse
        deviation = divisor - statistics.epsilon
        return slope * divisor / deviation if deviation > 0 else slope * 0
    return slope


@inlined_kernel
def linear_gradient(workspace, dy_at, normalised_at, mean, slope, factor, like):
    """dz for one unit of a tile."""
    along = load(workspace, normalised_at, like) * slope
    return (load(workspace, dy_at, like) - mean - along) * factor


@inlined_kernel
def backward_unit(
    workspace, dy_at, normalised_at, tile, tiles, share, of_freedom, mask_at, scale, inverse, statistics, like
):
    """dy becomes dz for one unit; returns the gradients of scale and shift."""
    products, sums, mask, last = like, like, load(workspace, mask_at, like), (tiles - 1) * tile
    for at_tile in range(0, last + tile, tile):
        dy = load(workspace, dy_at + at_tile, like)
        products = fma(dy, load(workspace, normalised_at + at_tile, like), products)
        sums = sums + dy
    dscale, dshift = total(products), total(sums)
    slope, mean = splat(slope_of(dscale, inverse, of_freedom, statistics), like), splat(dshift * share, like)
    factor = splat(scale * inverse, like)
    for at_tile in range(0, last, tile):
        dz = linear_gradient(workspace, dy_at + at_tile, normalised_at + at_tile, mean, slope, factor, like)
        store(dz, workspace, dy_at + at_tile)
    dz = linear_gradient(workspace, dy_at + last, normalised_at + last, mean, slope, factor, like)
    store(dz * mask, workspace, dy_at + last)
    return dscale, dshift


@inlined_kernel
def backward_units(block, layout, buffers, statistics, layer, dy_at, tiles, like):
    """`backward` for so many tiles."""
    workspace, gradients = buffers.workspace, buffers.gradients
    lanes = len(like)
    share, of_freedom = reciprocal(block.size, like), reciprocal_freedom(block.size, statistics, like)
    for unit in range(layout.units[layer]):
        dscale, dshift = backward_unit(
            workspace,
            dy_at + unit * lanes,
            layout.normalised[layer] + (block.tile * layout.allocated_units[layer] + unit) * lanes,
            layout.allocated_units[layer] * lanes,
            tiles,
            share,
            of_freedom,
            layout.lane_mask,
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
def backward(block, layout, buffers, statistics, layer, dy_at, tiles, like):
    """The gradient through the normalisation of a layer, in place; gradients of scale and shift."""
    if tiles == 1:
        backward_units(block, layout, buffers, statistics, layer, dy_at, 1, like)
    else:
        backward_units(block, layout, buffers, statistics, layer, dy_at, tiles, like)


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
