"""The first layer of a tile, panel by panel, by the compiled code for the kind of rows that the run has."""

from __future__ import annotations

from fastfnn.kernels.compilation import kernel
from fastfnn.kernels.optimizers import scale
from fastfnn.kernels.simd import address, call_address, store, transpose


@kernel
def forward(inputs, order, position, count, layout, buffers, feature_scale, z_at, like):
    """One tile: z (units, V) in the workspace from the rows of the examples order[position : position + count]."""
    scratch, width, rows = buffers.scratch, layout.row_width, inputs.rows
    weights = address(buffers.parameters)
    for p in range(len(inputs.forward)):
        unit = layout.panels[p, 2]
        main_at, biases_at = layout.weights[0] + unit, layout.biases[0] + unit
        call_address(
            inputs.forward[p],
            (
                rows[0],
                rows[1],
                rows[2],
                address(order),
                len(order),
                position,
                count,
                weights,
                main_at,
                layout.main_width,
                layout.tail_weights,
                address(scratch),
                unit,
                width,
                feature_scale,
                biases_at,
                p == 0,
            ),
        )
    for i in range(count * width, len(like) * width, len(like)):  # lanes without an example stay finite
        store(like, scratch, i)
    for unit in range(0, width, len(like)):
        transpose(scratch, unit, width, buffers.workspace, z_at + unit * len(like), len(like), like)


@kernel
def rows_of_gradient(layout, buffers, dz_at, row, factor, like):
    """One tile: writes factor * dz (units, V) as V rows, from row number `row` of the batch."""
    width, target = layout.row_width, buffers.first_layer_rows
    start = row * width
    for unit in range(0, width, len(like)):
        transpose(buffers.workspace, dz_at + unit * len(like), len(like), target, start + unit, width, like)
    scale(target, start, start + len(like) * width, factor, like)


@kernel
def update(inputs, order, position, count, layout, target, dz):
    """target += x.T @ dz for the whole batch: the weights themselves for plain SGD, else their gradient."""
    rows = inputs.rows
    for p in range(len(inputs.update)):
        unit = layout.panels[p, 2]
        call_address(
            inputs.update[p],
            (
                rows[0],
                rows[1],
                rows[2],
                address(order),
                len(order),
                position,
                count,
                address(target),
                layout.weights[0] + unit,
                layout.main_width,
                layout.tail_weights,
                address(dz),
                unit,
                layout.row_width,
            ),
        )
