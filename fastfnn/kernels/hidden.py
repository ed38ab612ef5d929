"""Layers behind the first: the linear map, forward and backward, on tiles.

A unit of a tile is one vector, whose lanes are examples. The matrices of weights and of their gradients have rows of
whole vectors, `stride` apart. Every product is computed as grids of sums that stay in registers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastfnn.kernels.compilation import kernel
from fastfnn.kernels.offsets import clamped, shifted
from fastfnn.kernels.simd import (
    ROOMY,
    add_loads,
    fma_grid,
    lane_numbers,
    load,
    load_grid,
    not_below,
    outer_fma,
    rectify_grid,
    repeat,
    splat,
    splat_grid,
    store,
    store_grid,
    store_totals,
    transpose,
    where,
)
from fastfnn.kernels.structures import TILES_TOGETHER

GRID_VECTORS = 4 if ROOMY else 1
COLUMNS = 10 if ROOMY else 5  # of a grid of one vector: so many multiply-adds that none waits for the one before it
TERMS_PER_PASS = 128  # of a product, so that what it reads of a few tiles stays in the nearest cache


class Product(NamedTuple):
    """out[j] = biases[j] + the sum over k < n_in of x[k] * weights[k * step + j * stride], for tiles of x and out."""

    workspace: Any
    x_at: int
    x_tile: int  # from a tile to the next one
    n_in: int
    weights: Any
    weights_at: int
    step: int
    stride: int
    biases_at: int  # in the array of the weights; negative for none
    out_at: int
    out_tile: int
    n_out: int
    rectify: bool  # whether the result goes through the ReLU


@kernel
def multiply_grid(product, tile, first, unit, like):
    """Adds the terms from `first` on, as many as there are in a pass, to a grid of tiles and units."""
    lanes = len(like[0][0])
    workspace, weights = product.workspace, product.weights
    last = min(first + TERMS_PER_PASS, product.n_in)
    out_at = product.out_at + tile * product.out_tile + unit * lanes
    sums = like
    if first > 0:
        sums = load_grid(workspace, out_at, product.out_tile, lanes, like)
    elif product.biases_at >= 0:
        sums = splat_grid(weights, product.biases_at + unit, 1, like)
    x_at = product.x_at + tile * product.x_tile + first * lanes
    weights_at = product.weights_at + first * product.step + unit * product.stride
    for _ in range(first, last):
        sums = fma_grid(workspace, x_at, product.x_tile, weights, weights_at, product.stride, sums)
        x_at += lanes
        weights_at += product.step
    if product.rectify and last == product.n_in:
        sums = rectify_grid(sums)
    store_grid(sums, workspace, out_at, product.out_tile, lanes)


@kernel
def multiply_tiles(product, tile, first, five, one):
    """Adds the terms of a pass, for the tiles from `tile` on that a grid has rows."""
    unit = 0
    while product.n_out - unit >= len(five[0]):
        multiply_grid(product, tile, first, unit, five)
        unit += len(five[0])
    while unit < product.n_out:
        multiply_grid(product, tile, first, unit, one)
        unit += 1


@kernel
def multiply(product, tiles, like):
    """Computes a product for consecutive tiles; a pass at a time, whose weights stay near from tile to tile."""
    five, one = repeat(like, 5), repeat(like, 1)
    for first in range(0, product.n_in, TERMS_PER_PASS):
        tile = 0
        while tiles - tile >= TILES_TOGETHER:
            multiply_tiles(product, tile, first, repeat(five, TILES_TOGETHER), repeat(one, TILES_TOGETHER))
            tile += TILES_TOGETHER
        while tile < tiles:
            multiply_tiles(product, tile, first, repeat(five, 1), repeat(one, 1))
            tile += 1


@kernel
def rows_of_tile(workspace, x_at, n, target, to, stride, like):
    """Writes the units (n, V) of a tile as V rows of n values, filled up with zeros to whole vectors."""
    for unit in range(0, n, len(like)):
        transpose(workspace, x_at + unit * len(like), len(like), n - unit, target, to + unit, stride, like)


class WeightGradient(NamedTuple):
    """gradients (K, H) = x.T @ dz over examples of a batch, for the rows first_row..last_row-1."""

    workspace: Any
    x_at: int
    x_tile: int
    dz_at: int
    dz_tile: int
    n_out: int
    first_row: int
    last_row: int
    gradients: Any
    gradients_at: int
    stride: int


@kernel
def gradient_by_tiles(product, tiles, scratch, like, four):
    """A weight gradient from x and dz as tiles: 4 x 4 products, which are summed over their lanes in the end.

    `four` is an example of a vector of four lanes.
    """
    lanes = len(like)
    for k in range(product.first_row, product.last_row, 4):
        for j in range(0, product.n_out, 4):
            x = clamped(product.x_at, k, product.last_row, lanes)
            dz = clamped(product.dz_at, j, product.n_out, lanes)
            products = repeat(like, 16)
            for _ in range(tiles):
                products = outer_fma(product.workspace, x, product.workspace, dz, products)
                x, dz = shifted(x, product.x_tile), shifted(dz, product.dz_tile)
            store_totals(products, scratch, 0)
            to = product.gradients_at + k * product.stride + j
            for p in range(min(4, product.last_row - k)):
                store(load(scratch, 4 * p, four), product.gradients, to + p * product.stride)


@kernel
def rows_grid(product, begin, end, k, unit, grid):
    """Adds the examples begin..end-1 to a grid of a weight gradient: its rows are vectors of units, its columns k."""
    lanes = len(grid[0][0])
    workspace, gradients = product.workspace, product.gradients
    at = product.gradients_at + k * product.stride + unit
    if begin > 0:
        grid = load_grid(gradients, at, lanes, product.stride, grid)
    dz_at = product.dz_at + begin * product.dz_tile + unit
    for tile in range(begin, end, lanes):
        x_at = product.x_at + tile // lanes * product.x_tile + k * lanes
        for _ in range(min(lanes, end - tile)):
            grid = fma_grid(workspace, dz_at, lanes, workspace, x_at, lanes, grid)
            dz_at += product.dz_tile
            x_at += 1
    store_grid(grid, gradients, at, lanes, product.stride)


@kernel
def rows_panel(product, begin, end, unit, many, few, one):
    """Adds the examples begin..end-1 to a weight gradient, for a few vectors of units, in grids of so many columns."""
    k = product.first_row
    while product.last_row - k >= len(many[0]):
        rows_grid(product, begin, end, k, unit, many)
        k += len(many[0])
    while product.last_row - k >= len(few[0]):
        rows_grid(product, begin, end, k, unit, few)
        k += len(few[0])
    while k < product.last_row:
        rows_grid(product, begin, end, k, unit, one)
        k += 1


@kernel
def gradient_by_rows(product, examples, like):
    """A weight gradient from x as tiles and dz as rows, `dz_tile` apart: nothing is summed over lanes.

    A pass at a time, so that the rows of dz stay in the nearest cache while x and the gradient go by.
    """
    five, one, lanes = repeat(like, 5), repeat(like, 1), len(like)
    for begin in range(0, examples, TERMS_PER_PASS):
        end, unit = min(begin + TERMS_PER_PASS, examples), 0
        while product.n_out - unit > (GRID_VECTORS - 1) * lanes:
            grid = repeat(five, GRID_VECTORS)
            rows_panel(product, begin, end, unit, grid, grid, repeat(one, GRID_VECTORS))
            unit += GRID_VECTORS * lanes
        while unit < product.n_out:
            rows_panel(product, begin, end, unit, repeat(repeat(like, COLUMNS), 1), repeat(five, 1), repeat(one, 1))
            unit += lanes


@kernel
def bias_gradient_by_rows(workspace, rows_at, width, n_out, examples, gradients, gradients_at, like):
    """gradients (H,) = dz summed over its rows, a multiple of four, which are zeros behind the last unit."""
    for unit in range(0, n_out, len(like)):
        sums = repeat(like, 4)
        for row_at in range(rows_at + unit, rows_at + unit + examples * width, 4 * width):
            sums = add_loads(workspace, row_at, width, sums)
        store((sums[0] + sums[1]) + (sums[2] + sums[3]), gradients, gradients_at + unit)


@kernel
def bias_gradient(workspace, dz_at, dz_tile, n_out, tiles, gradients, gradients_at, scratch, like):
    """gradients (H,) = dz summed over the examples of consecutive tiles; zeros behind them, to sixteen."""
    lanes = len(like)
    numbers = lane_numbers(like)
    for unit in range(0, n_out, 16):
        sums = repeat(like, 16)
        for tile in range(tiles):
            sums = add_loads(workspace, dz_at + tile * dz_tile + unit * lanes, lanes, sums)
        store_totals(sums, scratch, 0)
        for i in range(0, 16, lanes):
            behind = not_below(numbers, splat(max(0, n_out - unit - i), numbers))
            store(where(behind, like, load(scratch, i, like)), gradients, gradients_at + unit + i)
