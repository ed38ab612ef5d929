"""Narrow layers behind the first: a block goes through all of them, and back.

The compiler knows how wide they are, and that ReLU comes between them where it does; see `simd.tiles`. To find out
what there is to do takes `passes`, which does the same for layers of any width, several times as many instructions as
to do it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from fastfnn.kernels import passes
from fastfnn.kernels.compilation import inlined_kernel
from fastfnn.kernels.simd import backward_tile, call_kernel, forward_tile, gradient_tile, rows_of_tile, store
from fastfnn.kernels.structures import BATCHNORM_AFTER, BATCHNORM_BEFORE, BATCHNORM_OFF


class Narrow(NamedTuple):
    """What the compiler knows of the layers."""

    units: Sequence[int]  # of the first layer, and of all that follow
    widths: Sequence[int]  # of rows of values of their units
    rectified: bool  # whether the activation is ReLU
    batchnorm: int
    dropped: bool  # whether there is dropout


def layer_passes(layer: int, narrow: Narrow) -> Any:
    """What takes a block from the activations of a layer through all that follow, and back to their gradient."""
    if layer == len(narrow.units):
        return loss_of(narrow.units[-1])
    n_in, n_out, width = narrow.units[layer - 1], narrow.units[layer], narrow.widths[layer]
    is_last = layer + 1 == len(narrow.units)
    # The ReLU of the outputs, and the gradient of that of the inputs, are the products' last step where they come next.
    rectified = int(narrow.rectified and narrow.batchnorm == BATCHNORM_OFF and not is_last)
    gated = int(narrow.rectified and narrow.batchnorm != BATCHNORM_AFTER)
    normalised, dropped = narrow.batchnorm == BATCHNORM_BEFORE, narrow.dropped
    following = layer_passes(layer + 1, narrow)

    @inlined_kernel
    def there_and_back(words, block, targets, layout, buffers, settings, keys, start, factor, like):
        tiles, workspace, weights = passes.tiles_of(block, like), buffers.workspace, buffers.parameters
        size, next_size = passes.tile_size(layout, layer, like), passes.tile_size(layout, layer + 1, like)
        x_at, dx_at = layout.activations[layer] + block.tile * size, layout.gradients[layer] + block.tile * size
        z_at = passes.outputs_at(layout, settings, layer + 1, block.tile, like)
        dz_at = passes.gradient_at(layout, layer + 1) + block.tile * next_size
        weights_at, biases_at = layout.weights[layer], layout.biases[layer]
        for t in range(tiles):
            x, z = x_at + t * size, z_at + t * next_size
            forward_tile(workspace, x, weights, weights_at, biases_at, z, n_in, n_out, width, rectified, like)
        if not is_last:
            if not rectified:
                passes.activate_and_normalise(words, block, layout, buffers, settings, layer + 1, like)
            if dropped:
                passes.drop_if_asked(words, block, layout.activations[layer + 1], settings, keys, layer + 1)
        following(words, block, targets, layout, buffers, settings, keys, start, factor, like)
        scale = settings.dropout_scales[layer - 1] if dropped else 1.0
        for t in range(tiles):
            x, dx, dz = x_at + t * size, dx_at + t * size, dz_at + t * next_size
            backward_tile(workspace, dz, weights, weights_at, x, dx, scale, n_in, n_out, width, gated, like)
        if gated and normalised:
            call_kernel(settings.normalisation[1], (*passes.block_and_layer(words, block, layer), dx_at))
        if not gated:
            passes.backward_activation(words, block, layout, buffers, settings, keys, layer, dx_at, like)
        to, biases_to = start + layout.partial_weights[layer], start + layout.partial_biases[layer]
        for t in range(tiles):
            x, dz = x_at + t * size, dz_at + t * next_size
            gradient_tile(workspace, x, dz, buffers.partials, to, biases_to, n_in, n_out, width, like)

    return there_and_back


def loss_of(classes: int) -> Any:
    """`passes.loss` for so many classes."""

    @inlined_kernel
    def loss(words, block, targets, layout, buffers, settings, keys, start, factor, like):
        passes.loss(block, classes, targets, layout, buffers, factor, like)

    return loss


def block_passes(narrow: Narrow) -> Any:
    """What takes a block from the first layer's linear outputs, activated if that comes first, to all gradients.

    These are partial gradients, and rows of the first layer's outputs, for the block of this number; `factor` is what
    the latter are multiplied by.
    """
    there_and_back, n_units, width = layer_passes(1, narrow), narrow.units[0], narrow.widths[0]
    normalised, dropped = narrow.batchnorm != BATCHNORM_OFF, narrow.dropped

    @inlined_kernel
    def go(words, block, number, targets, layout, buffers, settings, keys, loss_factor, factor, like):
        start, size, lanes = number * layout.partial_size, passes.tile_size(layout, 1, like), len(like)
        for at in range(start, start + layout.partial_size, lanes):
            store(like, buffers.partials, at)
        if normalised:
            call_kernel(settings.normalisation[0], passes.block_and_layer(words, block, 1))
        if dropped:
            passes.drop_if_asked(words, block, layout.activations[1], settings, keys, 1)
        there_and_back(words, block, targets, layout, buffers, settings, keys, start, loss_factor, like)
        biases_to = start + layout.partial_biases[0]
        for t in range(passes.tiles_of(block, like)):
            dz_at = layout.gradients[1] + (block.tile + t) * size
            to = layout.rows[1] + (number * layout.block + t * lanes) * width
            rows_of_tile(buffers.workspace, dz_at, to, factor, buffers.partials, biases_to, n_units, width, like)

    return go
