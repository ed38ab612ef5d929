"""Contiguous rows of matrices: sums, and batch norm over the examples of a row.

Shapes: m examples, H units.
"""

from __future__ import annotations

import math

from numba import types

from fastfnn.kernels.columns.access import MATRIX, RESULT, compiled_for, flat, row_stride
from fastfnn.kernels.compilation import kernel
from fastfnn.kernels.simd import fma, load, splat, store, total, zeros


@kernel
def sum_of_row(x, start, count, like):
    """x[start] + ... + x[start + count - 1]."""
    sums = like
    whole = count - count % len(like)
    for i in range(start, start + whole, len(like)):
        sums = sums + load(x, i, like)
    result = total(sums)
    for i in range(start + whole, start + count):
        result += x[i]
    return result


@kernel
def product_of_rows(x, x_start, y, y_start, count, like):
    """x[x_start] * y[y_start] + ..., over so many numbers."""
    sums = like
    whole = count - count % len(like)
    for i in range(0, whole, len(like)):
        sums = fma(load(x, x_start + i, like), load(y, y_start + i, like), sums)
    result = total(sums)
    for i in range(whole, count):
        result += x[x_start + i] * y[y_start + i]
    return result


@kernel
def affine_row(x, start, count, factor, offset, out, to, like):
    """out = (x - offset) * factor, for a row; may be in place."""
    whole = count - count % len(like)
    for i in range(0, whole, len(like)):
        store((load(x, start + i, like) - splat(offset, like)) * splat(factor, like), out, to + i)
    for i in range(whole, count):
        out[to + i] = (x[start + i] - offset) * factor


@compiled_for(types.void, MATRIX, RESULT, RESULT, types.float64, types.boolean, types.boolean)
def normalise(A, out, deviations, eps, eps_on_deviation, unbiased):
    """out = each row of A (H, m), centred and divided by its deviation.

    deviations (H, 2) gets what the row was divided by, and its standard deviation alone.
    """
    units, examples = A.shape
    like, values, target = zeros(out, 64), flat(A), flat(out)
    for u in range(units):
        start, to = u * row_stride(A), u * examples
        affine_row(values, start, examples, 1.0, sum_of_row(values, start, examples, like) / examples, target, to, like)
        squares = product_of_rows(target, to, target, to, examples, like)
        variance = squares / (examples - 1 if unbiased else examples)
        deviation = math.sqrt(variance)
        divisor = deviation + eps if eps_on_deviation else math.sqrt(variance + eps)
        deviations[u, 0], deviations[u, 1] = divisor, deviation
        affine_row(target, to, examples, 1.0 / divisor, 0.0, target, to, like)


@compiled_for(types.void, MATRIX, MATRIX, MATRIX, RESULT, types.boolean, types.boolean)
def normalise_backward(dY, Y, deviations, dA, eps_on_deviation, unbiased):
    """dA from dY, for Y and the deviations as `normalise` left them.

    With Y = (A - mean) / s the gradient is (dY - mean(dY) - Y * slope) / s, where slope is the sum of dY * Y over the
    divisor of the variance; where eps is added to the deviation, it is smaller or larger by s over the deviation alone.
    """
    units, examples = dY.shape
    like, gradient, values = zeros(dA, 64), flat(dY), flat(Y)
    degrees = examples - 1 if unbiased else examples
    for u in range(units):
        start, y_start = u * row_stride(dY), u * row_stride(Y)
        divisor, deviation = deviations[u, 0], deviations[u, 1]
        slope = product_of_rows(gradient, start, values, y_start, examples, like) / degrees
        if eps_on_deviation:
            slope = slope * divisor / deviation if deviation > 0 else 0.0
        mean = sum_of_row(gradient, start, examples, like) / examples
        for e in range(examples):
            dA[u, e] = (dY[u, e] - mean - Y[u, e] * slope) / divisor
