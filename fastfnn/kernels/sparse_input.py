"""The first layer on compressed rows: only features that are not zero are touched.

A panel is a range of units whose sums fit the registers: `main` is an example of its wide vectors and `tail` of its
narrow ones, None where it has none. One loop over a row's non-zeros serves the whole panel.
"""

from __future__ import annotations

import numpy as np

from fastfnn.kernels.compilation import kernel
from fastfnn.kernels.simd import at, fma, load, narrow, prefetch, splat, store

ROWS_AHEAD = 6  # far enough for DRAM, near enough to be in the first-level cache still
BYTES_PER_LINE = 64


@kernel
def prefetch_row(rows, order, position, end):
    """Asks for the row of an example that will be needed soon, if there is one at this position."""
    if position < end:
        example = at(order, position)
        first, last = at(rows.offsets, example), at(rows.offsets, example + 1)
        for k in range(first, last, BYTES_PER_LINE // rows.columns.itemsize):
            prefetch(rows.columns, k)
        for k in range(first, last, BYTES_PER_LINE // rows.values.itemsize):
            prefetch(rows.values, k)


@kernel
def forward_panel(
    rows,
    order,
    position,
    count,
    weights,
    main_at,
    stride,
    tail_at,
    scale,
    biases_at,
    z,
    z_at,
    z_stride,
    ahead,
    main,
    tail,
):
    """z[i] = scale * x[order[position + i]] @ weights + biases, for i < count and the units of one panel.

    Rows that will be needed soon are prefetched if `ahead`. Four rows of weights at a time, each into sums of its own,
    so that no multiply-add waits for the one before it.
    """
    for i in range(count):
        if ahead:
            prefetch_row(rows, order, position + i + ROWS_AHEAD, len(order))
        example = at(order, position + i)
        first, last = at(rows.offsets, example), at(rows.offsets, example + 1)
        a0, a1, a2, a3 = main, main, main, main
        b0, b1, b2, b3 = tail, tail, tail, tail
        fours = first + (last - first) // 4 * 4
        for k in range(first, fours, 4):
            j0, j1 = np.intp(at(rows.columns, k)), np.intp(at(rows.columns, k + 1))
            j2, j3 = np.intp(at(rows.columns, k + 2)), np.intp(at(rows.columns, k + 3))
            if main is not None:
                x0, x1 = splat(at(rows.values, k), main), splat(at(rows.values, k + 1), main)
                x2, x3 = splat(at(rows.values, k + 2), main), splat(at(rows.values, k + 3), main)
                a0 = fma(x0, load(weights, main_at + j0 * stride, main), a0)
                a1 = fma(x1, load(weights, main_at + j1 * stride, main), a1)
                a2 = fma(x2, load(weights, main_at + j2 * stride, main), a2)
                a3 = fma(x3, load(weights, main_at + j3 * stride, main), a3)
                if tail is not None:
                    b0 = fma(narrow(x0, tail), load(weights, tail_at + j0 * len(tail), tail), b0)
                    b1 = fma(narrow(x1, tail), load(weights, tail_at + j1 * len(tail), tail), b1)
                    b2 = fma(narrow(x2, tail), load(weights, tail_at + j2 * len(tail), tail), b2)
                    b3 = fma(narrow(x3, tail), load(weights, tail_at + j3 * len(tail), tail), b3)
            elif tail is not None:
                b0 = fma(splat(at(rows.values, k), tail), load(weights, tail_at + j0 * len(tail), tail), b0)
                b1 = fma(splat(at(rows.values, k + 1), tail), load(weights, tail_at + j1 * len(tail), tail), b1)
                b2 = fma(splat(at(rows.values, k + 2), tail), load(weights, tail_at + j2 * len(tail), tail), b2)
                b3 = fma(splat(at(rows.values, k + 3), tail), load(weights, tail_at + j3 * len(tail), tail), b3)
        for k in range(fours, last):
            j = np.intp(at(rows.columns, k))
            if main is not None:
                a0 = fma(splat(at(rows.values, k), main), load(weights, main_at + j * stride, main), a0)
            if tail is not None:
                b0 = fma(splat(at(rows.values, k), tail), load(weights, tail_at + j * len(tail), tail), b0)
        unit = 0
        if main is not None:
            sums = (a0 + a1) + (a2 + a3)
            store(fma(splat(scale, main), sums, load(weights, biases_at, main)), z, z_at + i * z_stride)
            unit = len(main)
        if tail is not None:
            tail_sums = (b0 + b1) + (b2 + b3)
            tail_biases = load(weights, biases_at + unit, tail)
            store(fma(splat(scale, tail), tail_sums, tail_biases), z, z_at + i * z_stride + unit)


@kernel
def update_panel(rows, order, position, count, target, main_at, stride, tail_at, dz, dz_at, dz_stride, main, tail):
    """target += x[order[position + i]].T @ dz[i], summed over i < count, for the units of one panel."""
    for i in range(count):
        prefetch_row(rows, order, position + i + ROWS_AHEAD, position + count)
        example = at(order, position + i)
        first, last = at(rows.offsets, example), at(rows.offsets, example + 1)
        row = dz_at + i * dz_stride
        if main is not None:
            d = load(dz, row, main)
            if tail is not None:
                e = load(dz, row + len(main), tail)
                for k in range(first, last):
                    j = np.intp(at(rows.columns, k))
                    x = splat(at(rows.values, k), main)
                    store(fma(x, d, load(target, main_at + j * stride, main)), target, main_at + j * stride)
                    to = tail_at + j * len(tail)
                    store(fma(narrow(x, tail), e, load(target, to, tail)), target, to)
            else:
                for k in range(first, last):
                    to = main_at + np.intp(at(rows.columns, k)) * stride
                    store(fma(splat(at(rows.values, k), main), d, load(target, to, main)), target, to)
        elif tail is not None:
            e = load(dz, row, tail)
            for k in range(first, last):
                to = tail_at + np.intp(at(rows.columns, k)) * len(tail)
                store(fma(splat(at(rows.values, k), tail), e, load(target, to, tail)), target, to)
