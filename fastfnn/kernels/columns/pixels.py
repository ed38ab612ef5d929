"""Matrices whose numbers are pixels, k / levels for k in 0..255, as bytes: an eighth of the memory to read."""

from __future__ import annotations

import numpy as np
from numba import types

from fastfnn.kernels.columns.access import MATRIX, NUMBER, compiled_for, flat, is_regular
from fastfnn.kernels.compilation import kernel

BYTES, LINE = types.Array(types.uint8, 2, "C"), types.Array(types.uint8, 1, "C")
TOGETHER = 512  # examples: whole pages are read, and what is written of them stays in the nearer caches
TOLERANCE = 1e-13  # of k: what rounding k / levels and multiplying by levels leaves, at k = 255
MAGIC = 1.5 * 2.0**52  # the next number is 1 larger: adding it rounds to an integer


@kernel
def convert(values, start, levels, out, to, count):
    """Writes contiguous numbers as bytes; returns how many of them are no pixels."""
    wrong = 0
    for i in range(count):
        scaled = values[start + i] * levels
        nearest = (scaled + MAGIC) - MAGIC
        fits = (abs(scaled - nearest) <= TOLERANCE) & (nearest >= 0.0) & (nearest <= 255.0)
        out[to + i] = np.uint8(np.int32(nearest if fits else 0.0))
        wrong += 0 if fits else 1
    return wrong


@compiled_for(types.boolean, MATRIX, BYTES, LINE, types.float64)
def to_pixels(X, out, line, levels):
    """out (m, K) = X.T * levels as bytes; False, and out is of no use, where these are not whole numbers 0..255.

    `line` has room for TOGETHER numbers.
    """
    features, examples = X.shape
    values, target, bytes_of_line = flat(X), flat(out), flat(line)
    across, along = X.strides[1] // NUMBER, X.strides[0] // NUMBER
    if not is_regular(X) or (along != 1 and across != 1):
        return False
    if along == 1:
        wrong = 0
        for e in range(examples):
            wrong += convert(values, e * across, levels, target, e * features, features)
            if wrong > 0:
                break
        return wrong == 0
    for begin in range(0, examples, TOGETHER):
        count = min(TOGETHER, examples - begin)
        for k in range(features):
            if convert(values, k * along + begin, levels, bytes_of_line, 0, count) > 0:
                return False
            for i in range(count):
                target[(begin + i) * features + k] = bytes_of_line[i]
    return True
