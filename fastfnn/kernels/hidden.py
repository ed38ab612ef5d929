"""Layers behind the first: linear and ReLU, forward and backward, on tiles.

A unit of a tile is one vector, whose lanes are examples: nothing is horizontal until a weight gradient is complete.
"""

from __future__ import annotations

from fastfnn.kernels.compilation import kernel
from fastfnn.kernels.simd import (
    fma_each,
    greater,
    load,
    outer_fma,
    rectify_each,
    repeat,
    splat,
    splat_each,
    store,
    store_each,
    store_totals,
    total,
    where,
)


@kernel
def product_block(x, x_at, n_in, weights, weights_at, in_stride, out_stride, sums):
    """Adds x[k] * weights[k * in_stride + j * out_stride], summed over k < n_in, to vector j of the block."""
    lanes = len(sums[0])
    for k in range(n_in):
        sums = fma_each(load(x, x_at + k * lanes, sums[0]), weights, weights_at, out_stride, sums)
        weights_at += in_stride
    return sums


@kernel
def linear_block(x, x_at, n_in, weights, weights_at, n_out, biases_at, out, out_at, rectify, like):
    """A few units of `linear`: as many as `like` has vectors."""
    sums = splat_each(weights, biases_at, 1, like)
    sums = product_block(x, x_at, n_in, weights, weights_at, n_out, 1, sums)
    if rectify:
        sums = rectify_each(sums)
    store_each(sums, out, out_at)


@kernel
def linear(workspace, x_at, n_in, weights, weights_at, biases_at, out_at, n_out, rectify, like):
    """One tile: out (H, V) = weights.T (H, K) @ x (K, V) + biases, through the ReLU if `rectify`."""
    lanes = len(like)
    j = 0
    while n_out - j >= 5:
        to = out_at + j * lanes
        five = repeat(like, 5)
        linear_block(workspace, x_at, n_in, weights, weights_at + j, n_out, biases_at + j, workspace, to, rectify, five)
        j += 5
    to = out_at + j * lanes
    if n_out - j == 4:
        four = repeat(like, 4)
        linear_block(workspace, x_at, n_in, weights, weights_at + j, n_out, biases_at + j, workspace, to, rectify, four)
    elif n_out - j == 3:
        three = repeat(like, 3)
        linear_block(
            workspace, x_at, n_in, weights, weights_at + j, n_out, biases_at + j, workspace, to, rectify, three
        )
    elif n_out - j == 2:
        two = repeat(like, 2)
        linear_block(workspace, x_at, n_in, weights, weights_at + j, n_out, biases_at + j, workspace, to, rectify, two)
    elif n_out - j == 1:
        one = repeat(like, 1)
        linear_block(workspace, x_at, n_in, weights, weights_at + j, n_out, biases_at + j, workspace, to, rectify, one)


@kernel
def linear_backward(workspace, dz_at, n_out, weights, weights_at, dx_at, n_in, like):
    """One tile: dx (K, V) = weights (K, H) @ dz (H, V)."""
    lanes = len(like)
    k = 0
    while n_in - k >= 5:
        row = weights_at + k * n_out
        dx = product_block(workspace, dz_at, n_out, weights, row, 1, n_out, repeat(like, 5))
        store_each(dx, workspace, dx_at + k * lanes)
        k += 5
    while k < n_in:
        row = weights_at + k * n_out
        dx = product_block(workspace, dz_at, n_out, weights, row, 1, n_out, repeat(like, 1))
        store_each(dx, workspace, dx_at + k * lanes)
        k += 1


@kernel
def relu(workspace, x_at, count, like):
    """x becomes max(x, 0), for `count` vectors; NaN stays NaN."""
    zero = splat(0, like)
    lanes = len(like)
    for i in range(count):
        x = load(workspace, x_at + i * lanes, like)
        store(where(greater(zero, x), zero, x), workspace, x_at + i * lanes)


@kernel
def relu_backward(workspace, da_at, a_at, count, scale, like):
    """da becomes scale * da where a > 0 and 0 elsewhere, for `count` vectors.

    With inverted dropout after the ReLU, a > 0 says both that the ReLU was open and that the unit was kept.
    """
    zero = splat(0, like)
    factor = splat(scale, like)
    lanes = len(like)
    for i in range(count):
        da = load(workspace, da_at + i * lanes, like)
        a = load(workspace, a_at + i * lanes, like)
        store(where(greater(a, zero), da * factor, zero), workspace, da_at + i * lanes)


@kernel
def put(gradients, position, value, accumulate):
    """Sets a gradient, or adds to it: the first block of a batch sets, later ones add."""
    if accumulate:
        gradients[position] += value
    else:
        gradients[position] = value


@kernel
def clamped(base, first, count, lanes):
    """Offsets of the vectors first..first+3, those past `count` replaced by the last one."""
    last = count - 1
    return (
        base + min(first, last) * lanes,
        base + min(first + 1, last) * lanes,
        base + min(first + 2, last) * lanes,
        base + min(first + 3, last) * lanes,
    )


@kernel
def shifted(offsets, distance):
    """Four offsets further on."""
    a, b, c, d = offsets
    return a + distance, b + distance, c + distance, d + distance


@kernel
def weight_gradient(
    workspace, x_at, x_tile, n_in, dz_at, dz_tile, n_out, tiles, gradients, gradients_at, accumulate, scratch, like
):
    """gradients (K, H) = x.T @ dz, summed over the lanes of all tiles of a block; added to if `accumulate`.

    4 x 4 products stay in registers over all tiles and are summed over their lanes once.
    """
    lanes = len(like)
    for k in range(0, n_in, 4):
        for j in range(0, n_out, 4):
            x, dz = clamped(x_at, k, n_in, lanes), clamped(dz_at, j, n_out, lanes)
            products = repeat(like, 16)
            for _ in range(tiles):
                products = outer_fma(workspace, x, workspace, dz, products)
                x, dz = shifted(x, x_tile), shifted(dz, dz_tile)
            store_totals(products, scratch, 0)
            for p in range(min(4, n_in - k)):
                for q in range(min(4, n_out - j)):
                    to = gradients_at + (k + p) * n_out + j + q
                    put(gradients, to, scratch[4 * p + q], accumulate)


@kernel
def bias_gradient(workspace, dz_at, dz_tile, n_out, tiles, gradients, gradients_at, accumulate, like):
    """gradients (H,) = dz summed over the examples of all tiles of a block; added to if `accumulate`."""
    for j in range(n_out):
        sums = like
        for t in range(tiles):
            sums = sums + load(workspace, dz_at + t * dz_tile + j * len(like), like)
        put(gradients, gradients_at + j, total(sums), accumulate)
