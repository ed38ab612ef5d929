"""Functions of which there is one for every kind of rows, width of a panel or activation; see `binding`.

What begins with make_ makes the function for some numbers, of which the compiler knows what they are. Those of the
first layer begin with the fields of `Rows` and `Examples`.
"""

from __future__ import annotations

from collections.abc import Callable

from fastfnn.kernels import (
    activations,
    batchnorm,
    dense_by_bytes,
    dense_by_matrix,
    dense_by_unit,
    dense_features,
    hidden_by_matrix,
    narrow_by_matrix,
    narrow_layers,
    optimizers,
    panels,
    passes,
    updates,
)
from fastfnn.kernels.compilation import inlined_kernel
from fastfnn.kernels.hidden import Product, WeightGradient
from fastfnn.kernels.passes import Block
from fastfnn.kernels.processor import VECTOR_BYTES
from fastfnn.kernels.simd import as_words, by_pointers, zeros, zeros_of
from fastfnn.kernels.structures import (
    ADAM,
    ADAMW,
    MOMENTUM,
    NESTEROV,
    SGD,
    Cuts,
    DenseWeights,
    Examples,
    Outputs,
    Panel,
    Rows,
    Share,
)

Function = Callable[..., None]
OPTIMIZERS = {
    SGD: optimizers.sgd,
    MOMENTUM: optimizers.momentum,
    NESTEROV: optimizers.momentum,
    ADAM: optimizers.adam,
    ADAMW: optimizers.adam,
}


def make_dense_forward(by_feature: int, packed: int) -> Function:
    """`dense_features.forward` for either layout of the weights, and for bytes that are packed or for any values."""

    # fmt: off
    def dense_forward(
        entries, columns, values, dense, records, order, n, first, count,
        weights, weights_at, weights_stride, units, z, z_at, z_tile, ahead, scratch, starts,
    ):
        # fmt: on
        rows = Rows(entries, columns, values, dense, records)
        examples = Examples(order, n, first, count)
        matrix = DenseWeights(weights, weights_at, weights_stride, units)
        outputs, x, like = Outputs(z, z_at, z_tile), as_words(scratch, packed), zeros(scratch, VECTOR_BYTES)
        dense_features.forward(rows, examples, matrix, by_feature, outputs, ahead, starts, x, like)

    return dense_forward


def make_bytes_forward(by_feature: int) -> Function:
    """`dense_by_bytes.forward` for either layout of the weights."""

    # fmt: off
    def bytes_forward(
        entries, columns, values, dense, records, order, n, first, count,
        weights, weights_at, weights_stride, units, z, z_at, z_tile, ahead, scratch, starts,
    ):
        # fmt: on
        rows = Rows(entries, columns, values, dense, records)
        examples = Examples(order, n, first, count)
        matrix = DenseWeights(weights, weights_at, weights_stride, units)
        outputs, like = Outputs(z, z_at, z_tile), zeros(scratch, VECTOR_BYTES)
        dense_by_bytes.forward(rows, examples, matrix, by_feature, outputs, ahead, starts, scratch, like)

    return bytes_forward


def make_dense_update(features_bytes: int, units_bytes: int, in_place: int) -> Function:
    """`dense_features.update`; a size is 0 where it is given None, and in_place says of what values grids are."""
    grids_in_place = dense_by_unit.GRIDS_IN_PLACE[in_place]

    # fmt: off
    def dense_update(
        entries, columns, values, dense, records, order, n, first, count,
        feature_begin, feature_end, cuts, cuts_stride,
        target, target_at, target_stride, units, dz, dz_at, dz_stride, scratch, starts,
    ):
        # fmt: on
        rows = Rows(entries, columns, values, dense, records)
        examples = Examples(order, n, first, count)
        share = Share(feature_begin, feature_end, cuts, cuts_stride, 0)
        matrix = DenseWeights(target, target_at, target_stride, units)
        gradient = Outputs(dz, dz_at, dz_stride)
        of_features, of_units = zeros(scratch, features_bytes), zeros(scratch, units_bytes)
        direct = grids_in_place(of_features)
        dense_features.update(rows, examples, share, matrix, gradient, scratch, of_features, of_units, direct)

    return dense_update


def make_bytes_update() -> Function:
    """`dense_by_bytes.update`."""

    # fmt: off
    def bytes_update(
        entries, columns, values, dense, records, order, n, first, count,
        feature_begin, feature_end, cuts, cuts_stride,
        target, target_at, target_stride, units, dz, dz_at, dz_stride, scratch, starts,
    ):
        # fmt: on
        rows = Rows(entries, columns, values, dense, records)
        examples = Examples(order, n, first, count)
        share = Share(feature_begin, feature_end, cuts, cuts_stride, 0)
        matrix = DenseWeights(target, target_at, target_stride, units)
        gradient, like = Outputs(dz, dz_at, dz_stride), zeros(scratch, VECTOR_BYTES)
        dense_by_bytes.update(rows, examples, share, matrix, gradient, scratch, starts, like)

    return bytes_update


def make_matrix_forward(bytes_of_vector: int, narrow: bool) -> Function:
    """`dense_by_matrix.forward`, or `narrow_by_matrix.forward`; the size is 0 where values are not bytes."""
    multiply = narrow_by_matrix.forward if narrow else dense_by_matrix.forward

    # fmt: off
    def matrix_forward(
        entries, columns, values, dense, records, order, n, first, count,
        weights, weights_at, weights_stride, units, z, z_at, z_tile, ahead, scratch, starts,
    ):
        # fmt: on
        rows = Rows(entries, columns, values, dense, records)
        examples = Examples(order, n, first, count)
        matrix = DenseWeights(weights, weights_at, weights_stride, units)
        outputs, like = Outputs(z, z_at, z_tile), zeros(scratch, VECTOR_BYTES)
        of_bytes = zeros(scratch, bytes_of_vector)
        multiply(rows, examples, matrix, outputs, ahead, starts, scratch, of_bytes, like)

    return matrix_forward


def make_matrix_update(bytes_of_vector: int, narrow: bool) -> Function:
    """`dense_by_matrix.update` or `narrow_by_matrix.update`, likewise."""
    add_gradient = narrow_by_matrix.update if narrow else dense_by_matrix.update

    # fmt: off
    def matrix_update(
        entries, columns, values, dense, records, order, n, first, count,
        feature_begin, feature_end, cuts, cuts_stride,
        target, target_at, target_stride, units, dz, dz_at, dz_stride, scratch, starts,
    ):
        # fmt: on
        rows = Rows(entries, columns, values, dense, records)
        examples = Examples(order, n, first, count)
        share = Share(feature_begin, feature_end, cuts, cuts_stride, 0)
        matrix = DenseWeights(target, target_at, target_stride, units)
        gradient, like = Outputs(dz, dz_at, dz_stride), zeros(scratch, VECTOR_BYTES)
        of_bytes = zeros(scratch, bytes_of_vector)
        add_gradient(rows, examples, share, matrix, gradient, starts, scratch, of_bytes, like)

    return matrix_update


def make_matrix_product() -> Function:
    """`hidden_by_matrix.multiply`."""

    # fmt: off
    def matrix_product(
        workspace, x_at, x_tile, n_in, weights, weights_at, step, stride, biases_at, out_at, out_tile, n_out,
        tiles, squares,
    ):
        # fmt: on
        product = Product(
            workspace, x_at, x_tile, n_in, weights, weights_at, step, stride, biases_at, out_at, out_tile, n_out, False
        )
        hidden_by_matrix.multiply(product, tiles, squares, zeros(workspace, VECTOR_BYTES))

    return matrix_product


def make_matrix_gradient() -> Function:
    """`hidden_by_matrix.gradient`."""

    # fmt: off
    def matrix_gradient(
        workspace, x_at, x_tile, dz_at, dz_tile, n_out, first_row, last_row, gradients, gradients_at, stride,
        examples, squares,
    ):
        # fmt: on
        product = WeightGradient(
            workspace, x_at, x_tile, dz_at, dz_tile, n_out, first_row, last_row, gradients, gradients_at, stride
        )
        hidden_by_matrix.gradient(product, examples, squares, zeros(workspace, VECTOR_BYTES))

    return matrix_gradient


def make_forward(main_bytes: int, tail_bytes: int, asks: int) -> Function:
    """`panels.forward_panel` for a panel; `asks` says whether weights are asked for before they are needed."""
    wide_bytes = main_bytes or tail_bytes

    # fmt: off
    def forward(
        entries, columns, values, dense, records, order, n, first, count, cuts, cuts_stride, weights_ahead,
        weights, main_at, main_stride, tail_at, z, z_at, z_stride, distance, every, found,
    ):
        # fmt: on
        rows = Rows(entries, columns, values, dense, records)
        examples = Examples(order, n, first, count)
        own = Cuts(cuts, cuts_stride)
        panel = Panel(weights, main_at, main_stride, tail_at)
        outputs = Outputs(z, z_at, z_stride)
        main, tail, wide = zeros(z, main_bytes), zeros(z, tail_bytes), zeros(z, wide_bytes)
        four = zeros_of(wide, 4)
        asking = (distance, every, found, weights_ahead if asks else None)
        panels.forward_panel(rows, examples, own, panel, outputs, *asking, main, tail, wide, four)

    return forward


def make_update(main_bytes: int, tail_bytes: int, finds: int, asks: int) -> Function:
    """`panels.update_panel` for a panel, likewise."""
    wide_bytes = main_bytes or tail_bytes

    # fmt: off
    def update(
        entries, columns, values, dense, records, order, n, first, count, cuts, cuts_stride, weights_ahead,
        target, main_at, main_stride, tail_at, dz, dz_at, dz_stride, scale, distance, every, found,
    ):
        # fmt: on
        rows = Rows(entries, columns, values, dense, records)
        examples = Examples(order, n, first, count)
        own = Cuts(cuts, cuts_stride)
        panel = Panel(target, main_at, main_stride, tail_at)
        gradient = Outputs(dz, dz_at, dz_stride)
        main, tail, wide = zeros(dz, main_bytes), zeros(dz, tail_bytes), zeros(dz, wide_bytes)
        four = zeros_of(wide, 4)
        asking = (distance, every, found, finds, weights_ahead if asks else None)
        panels.update_panel(rows, examples, own, panel, gradient, scale, *asking, main, tail, wide, four)

    return update


def make_forward_at_once(by_feature: int, packed: int, main_bytes: int, tail_bytes: int) -> Function:
    """`make_forward` and then `make_dense_forward`, for the same examples."""
    of_listed = inlined_kernel(make_forward(main_bytes, tail_bytes, 0))
    of_dense = inlined_kernel(make_dense_forward(by_feature, packed))

    # fmt: off
    def forward_at_once(
        entries, columns, values, dense, records, order, n, first, count,
        cuts, cuts_stride, weights_ahead, listed, main_at, main_stride, tail_at, z, z_at, z_stride,
        distance, every, found,
        weights, weights_at, weights_stride, units, tiles, tiles_at, z_tile, ahead, scratch, starts,
    ):
        of_listed(
            entries, columns, values, dense, records, order, n, first, count, cuts, cuts_stride, weights_ahead,
            listed, main_at, main_stride, tail_at, z, z_at, z_stride, distance, every, found,
        )
        of_dense(
            entries, columns, values, dense, records, order, n, first, count,
            weights, weights_at, weights_stride, units, tiles, tiles_at, z_tile, ahead, scratch, starts,
        )
        # fmt: on

    return forward_at_once


def make_update_at_once(
    features_bytes: int, units_bytes: int, in_place: int, main_bytes: int, tail_bytes: int
) -> Function:
    """`make_dense_update` and then `make_update`, for the examples that were looked up forward."""
    of_dense = inlined_kernel(make_dense_update(features_bytes, units_bytes, in_place))
    of_listed = inlined_kernel(make_update(main_bytes, tail_bytes, 0, 0))

    # fmt: off
    def update_at_once(
        entries, columns, values, dense, records, order, n, first, count,
        feature_begin, feature_end, cuts, cuts_stride, target, target_at, target_stride, units, dz, dz_at, dz_stride,
        scratch, starts,
        listed_cuts, listed_stride, weights_ahead, listed, main_at, main_stride, tail_at, rows, rows_at, rows_stride,
        found,
    ):
        of_dense(
            entries, columns, values, dense, records, order, n, first, count,
            feature_begin, feature_end, cuts, cuts_stride,
            target, target_at, target_stride, units, dz, dz_at, dz_stride, scratch, starts,
        )
        of_listed(
            entries, columns, values, dense, records, order, n, first, count, listed_cuts, listed_stride, weights_ahead,
            listed, main_at, main_stride, tail_at, rows, rows_at, rows_stride, 1.0, 0, 1, found,
        )
        # fmt: on

    return update_at_once


def make_activate(activation: int) -> Function:
    """`activations.forward` for an activation."""

    def activate(workspace, at, count):
        activations.forward(workspace, at, count, activation, zeros(workspace, VECTOR_BYTES))

    return activate


def make_activate_backward(activation: int) -> Function:
    """`activations.backward` for an activation."""

    def activate_backward(workspace, da_at, a_at, count, scale):
        activations.backward(workspace, da_at, a_at, count, scale, activation, zeros(workspace, VECTOR_BYTES))

    return activate_backward


def make_normalise() -> Function:
    """`passes.normalise`."""

    def normalise(layout, buffers, settings, order, end, position, size, tile, layer):
        layout, buffers, settings = by_pointers(layout), by_pointers(buffers), by_pointers(settings)
        block = Block(order, end, position, size, tile)
        passes.normalise(block, layout, buffers, settings, layer, zeros(buffers.parameters, VECTOR_BYTES))

    return normalise


def make_normalise_backward() -> Function:
    """`batchnorm.backward`."""

    def normalise_backward(layout, buffers, settings, order, end, position, size, tile, layer, dy_at):
        layout, buffers, settings = by_pointers(layout), by_pointers(buffers), by_pointers(settings)
        block, like = Block(order, end, position, size, tile), zeros(buffers.parameters, VECTOR_BYTES)
        tiles = passes.tiles_of(block, like)
        batchnorm.backward(block, layout, buffers, settings.statistics, layer, dy_at, tiles, like)

    return normalise_backward


def make_drop() -> Function:
    """`passes.drop`."""

    def drop(layout, buffers, settings, order, end, position, size, tile, layer, offset, keys):
        layout, buffers, settings = by_pointers(layout), by_pointers(buffers), by_pointers(settings)
        block = Block(order, end, position, size, tile)
        like = zeros(buffers.parameters, VECTOR_BYTES)
        passes.drop(block, offset, layout, buffers, settings, keys, layer, like)

    return drop


def make_layers(rectified: int, batchnorm: int, dropped: int, *sizes: int) -> Function:
    """`narrow_layers.block_passes` for layers of so many units and, behind these, of rows so wide."""
    units, widths = sizes[: len(sizes) // 2], sizes[len(sizes) // 2 :]
    narrow = narrow_layers.Narrow(units, widths, bool(rectified), batchnorm, bool(dropped))
    pass_block = narrow_layers.block_passes(narrow)

    # fmt: off
    def layers_together(
        layout, buffers, settings, inputs, part, targets, words,
        order, end, position, size, tile, number, keys, loss_factor, factor,
    ):
        # fmt: on
        layout, buffers, settings = by_pointers(layout), by_pointers(buffers), by_pointers(settings)
        targets, block = by_pointers(targets), Block(order, end, position, size, tile)
        like = zeros(buffers.parameters, VECTOR_BYTES)
        pass_block(words, block, number, targets, layout, buffers, settings, keys, loss_factor, factor, like)

    return layers_together


def make_update_step(number: int) -> Function:
    """`updates.update` with an optimiser."""
    optimizer = OPTIMIZERS[number]

    # fmt: off
    def update_step(
        layout, buffers, settings, inputs, part, order, end, position, count, tiles, rate, decay, step,
    ):
        # fmt: on
        layout, buffers, settings = by_pointers(layout), by_pointers(buffers), by_pointers(settings)
        inputs, part, like = by_pointers(inputs), by_pointers(part), zeros(buffers.parameters, VECTOR_BYTES)
        updates.update(
            optimizer, part, inputs, order, end, position, count, tiles,
            layout, buffers, settings, rate, decay, step, like,
        )

    return update_step
