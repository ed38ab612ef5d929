"""Matrices whose numbers are pixels, k / levels for k in 0..255, as bytes: an eighth of the memory to read."""

from __future__ import annotations

import numpy as np
from numba import types

from fastfnn.kernels.columns.access import MATRIX, compiled_for
from fastfnn.kernels.compilation import kernel

BYTES = types.Array(types.uint8, 2, "C")
TOGETHER = 64  # examples, so that what is written of them stays in the nearest cache
TOLERANCE = 1e-13  # of k: what rounding k / levels and multiplying by levels leaves, at k = 255


@kernel
def convert(X, out, levels, begin, end, feature):
    """Writes a feature of some examples; returns whether all of them are pixels."""
    fits = True
    for e in range(begin, end):
        scaled = X[feature, e] * levels
        nearest = np.rint(scaled)
        fits &= (abs(scaled - nearest) <= TOLERANCE) & (nearest >= 0.0) & (nearest <= 255.0)
        out[e, feature] = np.uint8(np.int64(nearest)) if fits else 0
    return fits


@compiled_for(types.boolean, MATRIX, BYTES, types.float64)
def to_pixels(X, out, levels):
    """out (m, K) = X.T * levels as bytes; False, and out is of no use, where these are not whole numbers 0..255."""
    features, examples = X.shape
    for begin in range(0, examples, TOGETHER):
        end = min(begin + TOGETHER, examples)
        if X.strides[0] < X.strides[1]:
            for e in range(begin, end):
                fits = True
                for feature in range(features):
                    fits &= convert(X, out, levels, e, e + 1, feature)
                if not fits:
                    return False
        else:
            for feature in range(features):
                if not convert(X, out, levels, begin, end, feature):
                    return False
    return True
