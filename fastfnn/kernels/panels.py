"""The first layer's features that are listed where they are not zero, for a range of units.

A panel is a range of units whose sums fit the registers: `main` is an example of its wide vectors and `tail` of its
narrow ones, None where it has none. Weights lie feature by feature, and only those of listed features are touched.
"""

from __future__ import annotations

import numpy as np

from fastfnn.kernels.compilation import kernel
from fastfnn.kernels.rows import ROWS_AHEAD, columns_start, convert_listed, prefetch_row, row_count, row_start
from fastfnn.kernels.simd import at, fma, load, narrow, prefetch, splat, store


@kernel
def add_feature(x_array, x_at, feature, panel, main_sums, tail_sums, main, tail):
    """Adds a value times its feature's weights to the sums of a panel."""
    j = np.intp(feature)
    if main is not None:
        x = splat(at(x_array, x_at), main)
        main_sums = fma(x, load(panel.values, panel.main_at + j * panel.main_stride, main), main_sums)
        if tail is not None:
            v = load(panel.values, panel.tail_at + j * len(tail), tail)
            tail_sums = fma(narrow(x, tail), v, tail_sums)
    elif tail is not None:
        v = load(panel.values, panel.tail_at + j * len(tail), tail)
        tail_sums = fma(splat(at(x_array, x_at), tail), v, tail_sums)
    return main_sums, tail_sums


@kernel
def sum_products(rows, example, panel, scratch, main, tail, like):
    """The sums of a panel: the products of an example's listed features.

    Four features at a time, each into sums of its own, so that no multiply-add waits for the one before it.
    """
    start, count = row_start(rows, example) + rows.dense, row_count(rows, example)
    columns, c = rows.columns, columns_start(rows, start, count)
    convert_listed(rows, start, count, scratch, 0, like)
    a0, a1, a2, a3 = main, main, main, main
    b0, b1, b2, b3 = tail, tail, tail, tail
    for k in range(0, count, 4):
        a0, b0 = add_feature(scratch, k, at(columns, c + k), panel, a0, b0, main, tail)
        a1, b1 = add_feature(scratch, k + 1, at(columns, c + k + 1), panel, a1, b1, main, tail)
        a2, b2 = add_feature(scratch, k + 2, at(columns, c + k + 2), panel, a2, b2, main, tail)
        a3, b3 = add_feature(scratch, k + 3, at(columns, c + k + 3), panel, a3, b3, main, tail)
    if main is not None:
        a0 = (a0 + a1) + (a2 + a3)
    if tail is not None:
        b0 = (b0 + b1) + (b2 + b3)
    return a0, b0


@kernel
def forward_panel(rows, examples, panel, z, scratch, ahead, main, tail, like):
    """z = the products of the listed features, for the examples, as rows, and the units of one panel.

    Rows that will be needed soon are prefetched if `ahead`.
    """
    for i in range(examples.size):
        position, z_at = examples.first + i, z.at + i * z.stride
        if ahead:
            prefetch_row(rows, examples.order, position + ROWS_AHEAD, examples.end)
        main_sums, tail_sums = sum_products(rows, at(examples.order, position), panel, scratch, main, tail, like)
        if main is not None:
            store(main_sums, z.values, z_at)
            z_at += len(main)
        if tail is not None:
            store(tail_sums, z.values, z_at)


@kernel
def update_example(x, columns, columns_at, count, panel, dz, dz_at, main, tail):
    """panel[columns] += outer(x, dz), for one example."""
    target = panel.values
    if main is not None:
        d = load(dz, dz_at, main)
        if tail is not None:
            e = load(dz, dz_at + len(main), tail)
            for k in range(count):
                j = np.intp(at(columns, columns_at + k))
                value = splat(at(x, k), main)
                to = panel.main_at + j * panel.main_stride
                store(fma(value, d, load(target, to, main)), target, to)
                to = panel.tail_at + j * len(tail)
                store(fma(narrow(value, tail), e, load(target, to, tail)), target, to)
        else:
            for k in range(count):
                to = panel.main_at + np.intp(at(columns, columns_at + k)) * panel.main_stride
                store(fma(splat(at(x, k), main), d, load(target, to, main)), target, to)
    elif tail is not None:
        e = load(dz, dz_at, tail)
        for k in range(count):
            to = panel.tail_at + np.intp(at(columns, columns_at + k)) * len(tail)
            store(fma(splat(at(x, k), tail), e, load(target, to, tail)), target, to)


@kernel
def update_panel(rows, examples, share, panel, dz, scratch, main, tail, like):
    """panel += x.T @ dz, summed over the examples in their order, for a panel's units and a share of features."""
    end = examples.first + examples.size
    for i in range(examples.size):
        position = examples.first + i
        prefetch_row(rows, examples.order, position + ROWS_AHEAD, end)
        if share.cuts_stride > 0 and position + ROWS_AHEAD < end:
            prefetch(share.cuts, at(examples.order, position + ROWS_AHEAD) * share.cuts_stride)
        example = at(examples.order, position)
        start, count = row_start(rows, example) + rows.dense, row_count(rows, example)
        cut_at = example * share.cuts_stride
        first = np.intp(at(share.cuts, cut_at)) if share.cuts_stride > 0 else 0
        last = np.intp(at(share.cuts, cut_at + 1)) if share.cuts_stride > 0 else count
        convert_listed(rows, start + first, last - first, scratch, 0, like)
        columns_at = columns_start(rows, start, count) + first
        dz_at = dz.at + i * dz.stride
        update_example(scratch, rows.columns, columns_at, last - first, panel, dz.values, dz_at, main, tail)
