"""The first layer's features that are listed where they are not zero, for a range of units.

A panel is a range of units whose sums fit the registers: `main` is an example of its wide vectors and `tail` of its
narrow ones, None where it has none; `wide` is the widest of them, `four` a vector of four lanes. Weights lie feature by
feature, and only those of listed features are touched.
"""

from __future__ import annotations

import numpy as np

from fastfnn.kernels.compilation import inlined_kernel, kernel
from fastfnn.kernels.rows import (
    coming_columns,
    find_listed,
    found_values,
    prefetch_cuts,
    prefetch_first_lines,
    prefetch_row,
)
from fastfnn.kernels.simd import (
    at,
    fma,
    itemsize,
    load,
    load_converted,
    narrow,
    not_unrolled,
    prefetch,
    splat,
    splat_lane,
    store,
)
from fastfnn.kernels.structures import BYTES_PER_LINE, RECORDS_BY_KIND, ROWS_AT_ONCE


@kernel
def splat_four(x, like):
    """Four numbers, each in all lanes of a vector of its own."""
    return splat_lane(x, 0, like), splat_lane(x, 1, like), splat_lane(x, 2, like), splat_lane(x, 3, like)


@kernel
def prefetch_weights(columns, coming, k, panel, main, tail):
    """Asks for the weights of four of the listed features of an example that comes later, from its number k on."""
    if coming is not None:
        columns_at, count = coming
        if k < count:
            line = BYTES_PER_LINE // itemsize(panel.values)
            for c in range(k, k + 4):
                j = np.intp(at(columns, columns_at + min(c, count - 1)))
                if main is not None:
                    for unit in range(0, len(main), line):
                        prefetch(panel.values, panel.main_at + j * panel.main_stride + unit)
                if tail is not None:
                    prefetch(panel.values, panel.tail_at + j * len(tail))


@kernel
def prefetch_more_weights(columns, coming, k, panel, main, tail):
    """`prefetch_weights` for all features from number k on, where more of them come than there are now."""
    if coming is not None:
        _, count = coming
        for more in range(k, count, 4):
            prefetch_weights(columns, coming, more, panel, main, tail)


@kernel
def add_feature(x, feature, panel, main_sums, tail_sums, main, tail):
    """Adds a value, which is in all lanes of x, times its feature's weights to the sums of a panel."""
    j = np.intp(feature)
    if main is not None:
        main_sums = fma(x, load(panel.values, panel.main_at + j * panel.main_stride, main), main_sums)
    if tail is not None:
        v = load(panel.values, panel.tail_at + j * len(tail), tail)
        tail_sums = fma(narrow(x, tail), v, tail_sums)
    return main_sums, tail_sums


@kernel
def sum_products(rows, start, columns_at, count, coming, panel, main, tail, wide, four):
    """The sums of a panel: the products of so many listed features of an example.

    Four features at a time, each into sums of its own, so that no multiply-add waits for the one before it. Meanwhile
    the weights of an example that comes later are asked for.
    """
    columns, c = rows.columns, columns_at
    a0, a1, a2, a3 = main, main, main, main
    b0, b1, b2, b3 = tail, tail, tail, tail
    for k in range(0, count, 4):
        not_unrolled()
        prefetch_weights(columns, coming, k, panel, main, tail)
        x0, x1, x2, x3 = splat_four(load_converted(rows.values, start + k, four), wide)
        a0, b0 = add_feature(x0, at(columns, c + k), panel, a0, b0, main, tail)
        a1, b1 = add_feature(x1, at(columns, c + k + 1), panel, a1, b1, main, tail)
        a2, b2 = add_feature(x2, at(columns, c + k + 2), panel, a2, b2, main, tail)
        a3, b3 = add_feature(x3, at(columns, c + k + 3), panel, a3, b3, main, tail)
    prefetch_more_weights(columns, coming, count, panel, main, tail)
    if main is not None:
        a0 = (a0 + a1) + (a2 + a3)
    if tail is not None:
        b0 = (b0 + b1) + (b2 + b3)
    return a0, b0


@inlined_kernel
def asks(rows):
    """Whether the rows of the next block are prefetched here; those of floats are by the dense features, if any."""
    return rows.dense == 0 or rows.records == RECORDS_BY_KIND or itemsize(rows.values) == 1


@kernel
def forward_panel(rows, examples, cuts, panel, z, distance, every, found, ahead, main, tail, wide, four):
    """z = the products of all listed features, for the examples, as rows, and the units of one panel.

    Of the rows that come `distance` examples later, every one or every second one is prefetched, or none for 0, and the
    weights of those that come `ahead` examples later, or of none for 0 or None. `found` has room for what is looked up
    of a few rows.
    """
    asked = distance > 0 and asks(rows)
    for begin in range(0, examples.size, ROWS_AT_ONCE):
        first, count = examples.first + begin, min(ROWS_AT_ONCE, examples.size - begin)
        if asked:
            prefetch_first_lines(rows, examples.order, first + distance, examples.end, every)
        find_listed(rows, cuts, examples, first, count, found)
        for i in range(count):
            if asked and i & (every - 1) == 0:
                prefetch_row(rows, examples.order, first + i + distance, examples.end)
            z_at = z.at + (begin + i) * z.stride
            coming = coming_columns(rows, cuts, examples, first + i, ahead)
            main_sums, tail_sums = sum_products(rows, *found_values(found, i), coming, panel, main, tail, wide, four)
            if main is not None:
                store(main_sums, z.values, z_at)
                z_at += len(main)
            if tail is not None:
                store(tail_sums, z.values, z_at)


@kernel
def update_feature(x, feature, panel, d, e, main, tail):
    """Adds a value, which is in all lanes of x, times the gradient of the outputs to its feature's weights."""
    j, target = np.intp(feature), panel.values
    if main is not None:
        to = panel.main_at + j * panel.main_stride
        store(fma(x, d, load(target, to, main)), target, to)
    if tail is not None:
        to = panel.tail_at + j * len(tail)
        store(fma(narrow(x, tail), e, load(target, to, tail)), target, to)


@kernel
def update_example(rows, start, columns_at, count, coming, panel, dz, dz_at, scale, main, tail, wide, four):
    """panel[columns] += scale * outer(x, dz), for one example; meanwhile the weights of a later one are asked for."""
    columns, d, e, whole = rows.columns, main, tail, count // 4 * 4
    if main is not None:
        d = load(dz, dz_at, main) * splat(scale, main)
        dz_at += len(main)
    if tail is not None:
        e = load(dz, dz_at, tail) * splat(scale, tail)
    for k in range(0, whole, 4):
        prefetch_weights(columns, coming, k, panel, main, tail)
        x0, x1, x2, x3 = splat_four(load_converted(rows.values, start + k, four), wide)
        update_feature(x0, at(columns, columns_at + k), panel, d, e, main, tail)
        update_feature(x1, at(columns, columns_at + k + 1), panel, d, e, main, tail)
        update_feature(x2, at(columns, columns_at + k + 2), panel, d, e, main, tail)
        update_feature(x3, at(columns, columns_at + k + 3), panel, d, e, main, tail)
    prefetch_more_weights(columns, coming, whole, panel, main, tail)
    for k in range(whole, count):  # where another thread has the others of these four
        x = splat(at(rows.values, start + k), wide)
        update_feature(x, at(columns, columns_at + k), panel, d, e, main, tail)


@kernel
def update_panel(rows, examples, cuts, panel, dz, scale, distance, every, found, finds, ahead, main, tail, wide, four):
    """panel += scale * x.T @ dz, summed over the examples in their order, for a panel's units and a share of features.

    Rows that come later are prefetched as in `forward_panel`, and weights; of two rows, the other one. What it has
    looked up of a few examples is still there unless `finds`.
    """
    asked = distance > 0 and (every == 1 or asks(rows))
    for begin in range(0, examples.size, ROWS_AT_ONCE):
        first, count = examples.first + begin, min(ROWS_AT_ONCE, examples.size - begin)
        if asked:
            prefetch_first_lines(rows, examples.order, first + distance + every - 1, examples.end, every)
        prefetch_cuts(cuts, examples, first, count)
        if finds:
            find_listed(rows, cuts, examples, first, count, found)
        for i in range(count):
            if asked and (i + 1) & (every - 1) == 0:
                prefetch_row(rows, examples.order, first + i + distance, examples.end)
            dz_at = dz.at + (begin + i) * dz.stride
            values, coming = found_values(found, i), coming_columns(rows, cuts, examples, first + i, ahead)
            update_example(rows, *values, coming, panel, dz.values, dz_at, scale, main, tail, wide, four)
