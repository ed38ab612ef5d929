"""Products of small dense matrices whose columns are examples: grids of sums that stay in registers.

Shapes: m examples, K features in, H units out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastfnn.kernels.compilation import kernel
from fastfnn.kernels.offsets import clamped, shifted
from fastfnn.kernels.simd import (
    at,
    fma_grid,
    outer_fma,
    rectify_grid,
    repeat,
    splat_grid,
    store_grid,
    store_totals,
    zeros_of,
)
from fastfnn.kernels.structures import TILES_TOGETHER


class Product(NamedTuple):
    """out[u, e] = biases[u] + the sum over t < terms of left[u, t] * right[t, e].

    A row of right, out and rectified is contiguous; a stride is from one number to the next one of its kind.
    """

    left: Any
    left_unit: int
    left_term: int
    right: Any
    right_term: int
    biases: Any
    biases_unit: int
    out: Any
    rectified: Any
    units: int
    terms: int
    examples: int
    biased: bool
    rectify: bool  # whether max(out, 0) is wanted too


@kernel
def product_grid(product, unit, example, sums):
    """The product for a grid of units and vectors of examples."""
    lanes = len(sums[0][0])
    left_at, right_at = unit * product.left_unit, example
    if product.biased:
        sums = splat_grid(product.biases, unit * product.biases_unit, product.biases_unit, sums)
    for _ in range(product.terms):
        sums = fma_grid(product.right, right_at, lanes, product.left, left_at, product.left_unit, sums)
        left_at += product.left_term
        right_at += product.right_term
    to = unit * product.examples + example
    store_grid(sums, product.out, to, lanes, product.examples)
    if product.rectify:
        store_grid(rectify_grid(sums), product.rectified, to, lanes, product.examples)


@kernel
def product_columns(product, example, five, one):
    """The product for all units and as many vectors of examples as a grid has rows."""
    unit = 0
    while product.units - unit >= len(five[0]):
        product_grid(product, unit, example, five)
        unit += len(five[0])
    while unit < product.units:
        product_grid(product, unit, example, one)
        unit += 1


@kernel
def multiply(product, like):
    """Computes a product; examples that do not fill a vector are computed one by one."""
    five, one = repeat(like, 5), repeat(like, 1)
    example, wide = 0, TILES_TOGETHER * len(like)
    while product.examples - example >= wide:
        product_columns(product, example, repeat(five, TILES_TOGETHER), repeat(one, TILES_TOGETHER))
        example += wide
    while product.examples - example >= len(like):
        product_columns(product, example, repeat(five, 1), repeat(one, 1))
        example += len(like)
    single = zeros_of(like, 1)
    while example < product.examples:
        product_columns(product, example, repeat(repeat(single, 5), 1), repeat(repeat(single, 1), 1))
        example += 1


class WeightGradient(NamedTuple):
    """out[u, k] = scale * the sum over examples of dz[u, e] * a[k, e]; rows of dz and a are contiguous."""

    dz: Any
    dz_unit: int
    a: Any
    a_feature: int
    out: Any
    units: int
    features: int
    examples: int
    scale: float


@kernel
def gradient_block(product, unit, feature, scratch, like):
    """The gradient of four units and four features, or those that there are."""
    dz = clamped(0, unit, product.units, product.dz_unit)
    a = clamped(0, feature, product.features, product.a_feature)
    sums = repeat(like, 16)
    whole = product.examples - product.examples % len(like)
    for _ in range(0, whole, len(like)):
        sums = outer_fma(product.dz, dz, product.a, a, sums)
        dz, a = shifted(dz, len(like)), shifted(a, len(like))
    store_totals(sums, scratch, 0)
    for u in range(unit, min(unit + 4, product.units)):
        for k in range(feature, min(feature + 4, product.features)):
            total = at(scratch, (u - unit) * 4 + k - feature)
            for e in range(whole, product.examples):
                total += at(product.dz, u * product.dz_unit + e) * at(product.a, k * product.a_feature + e)
            product.out[u * product.features + k] = total * product.scale


@kernel
def weight_gradient(product, scratch, like):
    """Computes the gradient of a layer's weights."""
    for unit in range(0, product.units, 4):
        for feature in range(0, product.features, 4):
            gradient_block(product, unit, feature, scratch, like)
