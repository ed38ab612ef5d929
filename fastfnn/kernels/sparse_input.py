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
def add_feature(rows, k, panel, main_sums, tail_sums, main, tail):
    """Adds the k-th non-zero times its feature's weights to the sums of a panel."""
    j = np.intp(at(rows.columns, k))
    if main is not None:
        x = splat(at(rows.values, k), main)
        main_sums = fma(x, load(panel.values, panel.main_at + j * panel.main_stride, main), main_sums)
        if tail is not None:
            v = load(panel.values, panel.tail_at + j * len(tail), tail)
            tail_sums = fma(narrow(x, tail), v, tail_sums)
    elif tail is not None:
        v = load(panel.values, panel.tail_at + j * len(tail), tail)
        tail_sums = fma(splat(at(rows.values, k), tail), v, tail_sums)
    return main_sums, tail_sums


@kernel
def forward_panel(rows, examples, panel, scale, biases_at, z, ahead, main, tail):
    """z = scale * x @ weights + biases for the examples and the units of one panel.

    Rows that will be needed soon are prefetched if `ahead`. Four rows of weights at a time, each into sums of its own,
    so that no multiply-add waits for the one before it.
    """
    order = examples.order
    for i in range(examples.size):
        position = examples.first + i
        if ahead:
            prefetch_row(rows, order, position + ROWS_AHEAD, len(order))
        example = at(order, position)
        first, last = at(rows.offsets, example), at(rows.offsets, example + 1)
        a0, a1, a2, a3 = main, main, main, main
        b0, b1, b2, b3 = tail, tail, tail, tail
        fours = first + (last - first) // 4 * 4
        for k in range(first, fours, 4):
            a0, b0 = add_feature(rows, k, panel, a0, b0, main, tail)
            a1, b1 = add_feature(rows, k + 1, panel, a1, b1, main, tail)
            a2, b2 = add_feature(rows, k + 2, panel, a2, b2, main, tail)
            a3, b3 = add_feature(rows, k + 3, panel, a3, b3, main, tail)
        for k in range(fours, last):
            a0, b0 = add_feature(rows, k, panel, a0, b0, main, tail)
        unit = 0
        to = z.at + i * z.stride
        if main is not None:
            sums = (a0 + a1) + (a2 + a3)
            store(fma(splat(scale, main), sums, load(panel.values, biases_at, main)), z.values, to)
            unit = len(main)
        if tail is not None:
            tail_sums = (b0 + b1) + (b2 + b3)
            tail_biases = load(panel.values, biases_at + unit, tail)
            store(fma(splat(scale, tail), tail_sums, tail_biases), z.values, to + unit)


@kernel
def update_panel(rows, examples, panel, dz, main, tail):
    """panel += x.T @ dz, summed over the examples, for the units of one panel."""
    target = panel.values
    for i in range(examples.size):
        position = examples.first + i
        prefetch_row(rows, examples.order, position + ROWS_AHEAD, examples.first + examples.size)
        example = at(examples.order, position)
        first, last = at(rows.offsets, example), at(rows.offsets, example + 1)
        row = dz.at + i * dz.stride
        if main is not None:
            d = load(dz.values, row, main)
            if tail is not None:
                e = load(dz.values, row + len(main), tail)
                for k in range(first, last):
                    j = np.intp(at(rows.columns, k))
                    x = splat(at(rows.values, k), main)
                    to = panel.main_at + j * panel.main_stride
                    store(fma(x, d, load(target, to, main)), target, to)
                    to = panel.tail_at + j * len(tail)
                    store(fma(narrow(x, tail), e, load(target, to, tail)), target, to)
            else:
                for k in range(first, last):
                    to = panel.main_at + np.intp(at(rows.columns, k)) * panel.main_stride
                    store(fma(splat(at(rows.values, k), main), d, load(target, to, main)), target, to)
        elif tail is not None:
            e = load(dz.values, row, tail)
            for k in range(first, last):
                to = panel.tail_at + np.intp(at(rows.columns, k)) * len(tail)
                store(fma(splat(at(rows.values, k), tail), e, load(target, to, tail)), target, to)
