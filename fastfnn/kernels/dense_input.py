"""The first layer on dense rows: the lanes are units, and a block of sums stays in registers over the long loop.

Panels as in `sparse_input`: `main` and `tail` are examples of the wide and the narrow vectors of a panel, or None.
"""

from __future__ import annotations

from fastfnn.kernels.compilation import kernel
from fastfnn.kernels.simd import at, fma, load, splat, store

EXAMPLES_PER_PASS = 128  # rows that stay in the second-level cache while the weights pass by once


@kernel
def store_outputs(z, example, panel, biases_at, scale, main_sums, tail_sums, main, tail):
    """z = scale * sums + biases for one example and one panel."""
    to = z.at + example * z.stride
    if main is not None:
        store(fma(splat(scale, main), main_sums, load(panel.values, biases_at, main)), z.values, to)
        biases_at += len(main)
        to += len(main)
    if tail is not None:
        store(fma(splat(scale, tail), tail_sums, load(panel.values, biases_at, tail)), z.values, to)


@kernel
def forward_panel(rows, examples, panel, scale, biases_at, z, ahead, main, tail):
    """z = scale * x @ weights + biases for the examples and the units of one panel.

    Four examples at a time share each row of weights; past the last example, the last one is computed again. `ahead`
    is of use to compressed rows alone: the processor sees by itself where dense ones go on.
    """
    features, values, count = rows.features, rows.values, examples.size
    for i in range(0, count, 4):
        i1, i2, i3 = min(i + 1, count - 1), min(i + 2, count - 1), min(i + 3, count - 1)
        r0 = at(examples.order, examples.first + i) * features
        r1 = at(examples.order, examples.first + i1) * features
        r2 = at(examples.order, examples.first + i2) * features
        r3 = at(examples.order, examples.first + i3) * features
        a0, a1, a2, a3 = main, main, main, main
        b0, b1, b2, b3 = tail, tail, tail, tail
        for k in range(features):
            x0, x1, x2, x3 = at(values, r0 + k), at(values, r1 + k), at(values, r2 + k), at(values, r3 + k)
            if main is not None:
                w = load(panel.values, panel.main_at + k * panel.main_stride, main)
                a0, a1 = fma(splat(x0, main), w, a0), fma(splat(x1, main), w, a1)
                a2, a3 = fma(splat(x2, main), w, a2), fma(splat(x3, main), w, a3)
            if tail is not None:
                v = load(panel.values, panel.tail_at + k * len(tail), tail)
                b0, b1 = fma(splat(x0, tail), v, b0), fma(splat(x1, tail), v, b1)
                b2, b3 = fma(splat(x2, tail), v, b2), fma(splat(x3, tail), v, b3)
        store_outputs(z, i, panel, biases_at, scale, a0, b0, main, tail)
        store_outputs(z, i1, panel, biases_at, scale, a1, b1, main, tail)
        store_outputs(z, i2, panel, biases_at, scale, a2, b2, main, tail)
        store_outputs(z, i3, panel, biases_at, scale, a3, b3, main, tail)


@kernel
def add_to_feature(panel, feature, main_sums, tail_sums, main, tail):
    """Adds sums to the weights of one feature."""
    if main is not None:
        to = panel.main_at + feature * panel.main_stride
        store(load(panel.values, to, main) + main_sums, panel.values, to)
    if tail is not None:
        to = panel.tail_at + feature * len(tail)
        store(load(panel.values, to, tail) + tail_sums, panel.values, to)


@kernel
def update_features(rows, feature, examples, panel, dz, begin, end, main, tail):
    """panel += x.T @ dz over the examples begin..end-1, for four features; those past the last one are left out."""
    features, values = rows.features, rows.values
    f1, f2, f3 = min(feature + 1, features - 1), min(feature + 2, features - 1), min(feature + 3, features - 1)
    a0, a1, a2, a3 = main, main, main, main
    b0, b1, b2, b3 = tail, tail, tail, tail
    for i in range(begin, end):
        row = at(examples.order, examples.first + i) * features
        x0, x1, x2, x3 = at(values, row + feature), at(values, row + f1), at(values, row + f2), at(values, row + f3)
        d_at = dz.at + i * dz.stride
        if main is not None:
            d = load(dz.values, d_at, main)
            a0, a1 = fma(splat(x0, main), d, a0), fma(splat(x1, main), d, a1)
            a2, a3 = fma(splat(x2, main), d, a2), fma(splat(x3, main), d, a3)
            d_at += len(main)
        if tail is not None:
            e = load(dz.values, d_at, tail)
            b0, b1 = fma(splat(x0, tail), e, b0), fma(splat(x1, tail), e, b1)
            b2, b3 = fma(splat(x2, tail), e, b2), fma(splat(x3, tail), e, b3)
    add_to_feature(panel, feature, a0, b0, main, tail)
    if feature + 1 < features:
        add_to_feature(panel, f1, a1, b1, main, tail)
    if feature + 2 < features:
        add_to_feature(panel, f2, a2, b2, main, tail)
    if feature + 3 < features:
        add_to_feature(panel, f3, a3, b3, main, tail)


@kernel
def update_panel(rows, examples, panel, dz, main, tail):
    """panel += x.T @ dz, summed over the examples, for the units of one panel."""
    for begin in range(0, examples.size, EXAMPLES_PER_PASS):
        end = min(begin + EXAMPLES_PER_PASS, examples.size)
        for feature in range(0, rows.features, 4):
            update_features(rows, feature, examples, panel, dz, begin, end, main, tail)
