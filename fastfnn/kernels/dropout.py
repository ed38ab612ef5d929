"""Inverted dropout whose mask is a function of counters: see `dropout_mask` in the reference."""

from __future__ import annotations

import numpy as np

from fastfnn.kernels.compilation import kernel
from fastfnn.kernels.simd import lane_numbers, load, not_below, splat, store, where

GOLDEN_RATIO = 0x9E3779B9


@kernel
def avalanche(x):
    """The finaliser of MurmurHash3, lane by lane."""
    x = x ^ (x >> splat(16, x))
    x = x * splat(np.uint32(0x85EBCA6B), x)
    x = x ^ (x >> splat(13, x))
    x = x * splat(np.uint32(0xC2B2AE35), x)
    return x ^ (x >> splat(16, x))


@kernel
def dropout(workspace, a_at, units, order, position, count, key, threshold, scale, counters, like):
    """Scales the units (H, V) of a tile that stay and zeroes the others; the backward pass is the same function."""
    lanes = len(like)
    numbers = lane_numbers(like)
    for lane in range(count):
        counters[lane] = np.uint32(order[position + lane])
    of_example = avalanche(load(counters, 0, numbers) + splat(key, numbers))
    limit = splat(threshold, numbers)
    zero, factor = splat(0, like), splat(scale, like)
    for unit in range(units):
        of_unit = splat(np.uint32((unit * GOLDEN_RATIO) & 0xFFFFFFFF), numbers)
        kept = not_below(avalanche(of_example + of_unit), limit)
        a = load(workspace, a_at + unit * lanes, like)
        store(where(kept, a * factor, zero), workspace, a_at + unit * lanes)
