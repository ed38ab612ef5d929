"""The first layer on dense rows: the lanes are units, and a block of sums stays in registers over the long loop.

Panels as in `sparse_input`: `main` and `tail` are examples of the wide and the narrow vectors of a panel, or None.
"""

from __future__ import annotations

from fastfnn.kernels.compilation import kernel
from fastfnn.kernels.simd import at, fma, load, splat, store

EXAMPLES_PER_PASS = 128  # rows that stay in the second-level cache while the weights pass by once


@kernel
def store_outputs(z, z_at, weights, biases_at, scale, main_sums, tail_sums, main, tail):
    """z = scale * sums + biases for one example and one panel."""
    unit = 0
    if main is not None:
        store(fma(splat(scale, main), main_sums, load(weights, biases_at, main)), z, z_at)
        unit = len(main)
    if tail is not None:
        biases = load(weights, biases_at + unit, tail)
        store(fma(splat(scale, tail), tail_sums, biases), z, z_at + unit)


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

    Four examples at a time share each row of weights; past the last example, the last one is computed again.
    """
    features, values = rows.features, rows.values
    for i in range(0, count, 4):
        i1, i2, i3 = min(i + 1, count - 1), min(i + 2, count - 1), min(i + 3, count - 1)
        r0, r1 = at(order, position + i) * features, at(order, position + i1) * features
        r2, r3 = at(order, position + i2) * features, at(order, position + i3) * features
        a0, a1, a2, a3 = main, main, main, main
        b0, b1, b2, b3 = tail, tail, tail, tail
        for k in range(features):
            x0, x1, x2, x3 = at(values, r0 + k), at(values, r1 + k), at(values, r2 + k), at(values, r3 + k)
            if main is not None:
                w = load(weights, main_at + k * stride, main)
                a0, a1 = fma(splat(x0, main), w, a0), fma(splat(x1, main), w, a1)
                a2, a3 = fma(splat(x2, main), w, a2), fma(splat(x3, main), w, a3)
            if tail is not None:
                v = load(weights, tail_at + k * len(tail), tail)
                b0, b1 = fma(splat(x0, tail), v, b0), fma(splat(x1, tail), v, b1)
                b2, b3 = fma(splat(x2, tail), v, b2), fma(splat(x3, tail), v, b3)
        store_outputs(z, z_at + i * z_stride, weights, biases_at, scale, a0, b0, main, tail)
        store_outputs(z, z_at + i1 * z_stride, weights, biases_at, scale, a1, b1, main, tail)
        store_outputs(z, z_at + i2 * z_stride, weights, biases_at, scale, a2, b2, main, tail)
        store_outputs(z, z_at + i3 * z_stride, weights, biases_at, scale, a3, b3, main, tail)


@kernel
def add_to_row(target, main_at, stride, tail_at, feature, main_sums, tail_sums, main, tail):
    """Adds the sums of one feature and one panel to the target."""
    if main is not None:
        to = main_at + feature * stride
        store(load(target, to, main) + main_sums, target, to)
    if tail is not None:
        to = tail_at + feature * len(tail)
        store(load(target, to, tail) + tail_sums, target, to)


@kernel
def update_features(
    values,
    features,
    feature,
    order,
    position,
    count,
    target,
    main_at,
    stride,
    tail_at,
    dz,
    dz_at,
    dz_stride,
    main,
    tail,
):
    """target += x.T @ dz for four features from `feature`, those past the last left out."""
    f1, f2, f3 = min(feature + 1, features - 1), min(feature + 2, features - 1), min(feature + 3, features - 1)
    a0, a1, a2, a3 = main, main, main, main
    b0, b1, b2, b3 = tail, tail, tail, tail
    for i in range(count):
        row = at(order, position + i) * features
        x0, x1, x2, x3 = at(values, row + feature), at(values, row + f1), at(values, row + f2), at(values, row + f3)
        d_at = dz_at + i * dz_stride
        if main is not None:
            d = load(dz, d_at, main)
            a0, a1 = fma(splat(x0, main), d, a0), fma(splat(x1, main), d, a1)
            a2, a3 = fma(splat(x2, main), d, a2), fma(splat(x3, main), d, a3)
            d_at += len(main)
        if tail is not None:
            e = load(dz, d_at, tail)
            b0, b1 = fma(splat(x0, tail), e, b0), fma(splat(x1, tail), e, b1)
            b2, b3 = fma(splat(x2, tail), e, b2), fma(splat(x3, tail), e, b3)
    add_to_row(target, main_at, stride, tail_at, feature, a0, b0, main, tail)
    if feature + 1 < features:
        add_to_row(target, main_at, stride, tail_at, f1, a1, b1, main, tail)
    if feature + 2 < features:
        add_to_row(target, main_at, stride, tail_at, f2, a2, b2, main, tail)
    if feature + 3 < features:
        add_to_row(target, main_at, stride, tail_at, f3, a3, b3, main, tail)


@kernel
def update_panel(rows, order, position, count, target, main_at, stride, tail_at, dz, dz_at, dz_stride, main, tail):
    """target += x[order[position + i]].T @ dz[i], summed over i < count, for the units of one panel."""
    features, values = rows.features, rows.values
    for first in range(0, count, EXAMPLES_PER_PASS):
        n = min(EXAMPLES_PER_PASS, count - first)
        for feature in range(0, features, 4):
            update_features(
                values,
                features,
                feature,
                order,
                position + first,
                n,
                target,
                main_at,
                stride,
                tail_at,
                dz,
                dz_at + first * dz_stride,
                dz_stride,
                main,
                tail,
            )
