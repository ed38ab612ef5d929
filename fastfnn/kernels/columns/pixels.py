"""Matrices whose numbers are pixels, k / levels for k in 0..255, as bytes: an eighth of the memory to read."""

from __future__ import annotations

import numpy as np
from numba import types

from fastfnn.kernels.columns.access import MATRIX, NUMBER, compiled_for, flat, is_regular
from fastfnn.kernels.compilation import kernel

BYTES = types.Array(types.uint8, 2, "C")
TOGETHER = 512  # examples: whole pages are read, and what is written of them stays in the nearer caches
TOLERANCE = 1e-13  # of k: what rounding k / levels and multiplying by levels leaves, at k = 255
MAGIC = 1.5 * 2.0**52  # the next number is 1 larger: adding it rounds to an integer


@kernel
def convert(values, start, stride, levels, out, to, out_stride, count):
    """Writes so many numbers as bytes; returns how many of them are no pixels."""
    wrong = 0
    for i in range(count):
        scaled = values[start + i * stride] * levels
        nearest = (scaled + MAGIC) - MAGIC
        fits = (abs(scaled - nearest) <= TOLERANCE) & (nearest >= 0.0) & (nearest <= 255.0)
        out[to + i * out_stride] = np.uint8(np.int32(nearest if fits else 0.0))
        wrong += 0 if fits else 1
    return wrong


@compiled_for(types.boolean, MATRIX, BYTES, types.float64)
def to_pixels(X, out, levels):
    """out (m, K) = X.T * levels as bytes; False, and out is of no use, where these are not whole numbers 0..255."""
    if not is_regular(X):
        return False
    features, examples = X.shape
    values, target = flat(X), flat(out)
    across, along = X.strides[1] // NUMBER, X.strides[0] // NUMBER
    if along == 1:  # constants, with which the loops are vectors
        for e in range(examples):
            if convert(values, e * across, 1, levels, target, e * features, 1, features) > 0:
                return False
        return True
    for begin in range(0, examples, TOGETHER):
        count = min(TOGETHER, examples - begin)
        for k in range(features):
            start, to = k * along + begin * across, begin * features + k
            if convert(values, start, across, levels, target, to, features, count) > 0:
                return False
    return True
