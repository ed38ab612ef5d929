"""Outputs of the first layer's dense features where these are bytes, by sums of products of bytes.

The weights of a unit become fixed-point numbers of three bytes, for the largest of them a little less than the largest
such number. Products of each of the three with the features are summed as integers, which is exact, and the three sums
are added as floats. A weight is so as precise as the largest of its unit is in float32, which is what sums of products
in float32 come to, and three instructions do what four multiply-adds would.

The fixed-point numbers are made by the first call after `first_layer.forget_weights`, for every thread in its own
memory.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastfnn.kernels.compilation import inlined_kernel, kernel
from fastfnn.kernels.dense_features import (
    from_feature,
    go_through_tiles,
    multiply_units,
    prefetch_coming_lines,
    prefetch_coming_records,
    write_features,
)
from fastfnn.kernels.simd import (
    LARGEST,
    PACKED,
    VECTOR_BYTES,
    add_multiples,
    as_words,
    at,
    bytes_together,
    dot_grid,
    first_lane,
    fixed_point,
    greater,
    largest,
    load,
    not_below,
    splat,
    store,
    where,
    zeros,
)
from fastfnn.kernels.structures import DIGITS, EXAMPLES_TOGETHER, FEATURES_OF_SUM, TILES_TOGETHER

BASE = 256
SIZE_BITS = 0x7FFFFFFF  # of a float32, without its sign; as integers they are in the order of sizes, NaN above all
SMALLEST = 1e-30  # largest weight of a unit, below which its weights are less precise, down to zero
WEIGHTS_KNOWN = EXAMPLES_TOGETHER  # where the fixed-point numbers are those of the weights, in the memory of starts


class Numbers(NamedTuple):
    """Where the fixed-point numbers are in scratch memory, which is seen as words too."""

    words: Any
    values: Any
    units: int
    width: int  # units with those that fill up
    vector_at: int
    factors_at: int  # (DIGITS, width) what sums of products with a digit are multiplied by
    digits_at: int
    digit_step: int  # from a digit of all weights to the next one, in words of those of four features
    vector_step: int  # from a vector of features to the next
    word_step: int  # from four features to the next
    unit_step: int


@inlined_kernel
def numbers_in(scratch, rows, weights, by_feature, lanes):
    """How scratch memory is divided: values of features first, which updates overwrite with theirs, then the numbers.

    Between them is a vector for what has to go through memory.
    """
    vectors = (rows.dense + lanes - 1) // lanes
    width = (weights.units + lanes - 1) // lanes * lanes | lanes  # an odd number of vectors, for the caches' sake
    vector_at = FEATURES_OF_SUM * lanes * TILES_TOGETHER
    factors_at = vector_at + lanes
    digits_at = factors_at + DIGITS * width
    if by_feature:
        steps = vectors * lanes // PACKED * width, lanes // PACKED * width, width, 1
    else:
        steps = 1, weights.units * lanes, PACKED, lanes
    return Numbers(as_words(scratch, 1), scratch, weights.units, width, vector_at, factors_at, digits_at, *steps)


@inlined_kernel
def sizes(weights, weights_at, word):
    """The sizes of a vector of weights, as words in the order of these."""
    return load(as_words(weights, 1), weights_at, word) & splat(SIZE_BITS, word)


@inlined_kernel
def larger(x, y):
    """The larger one of each lane."""
    return where(not_below(x, y), x, y)


@inlined_kernel
def not_too_small(size, like):
    """Sizes by which can be divided; what is not finite stays so, and makes all outputs of its unit NaN or infinite."""
    smallest = splat(SMALLEST, like)
    return where(greater(smallest, size), smallest, size)


@kernel
def numbers_by_unit(weights, vectors, numbers, like, word):
    """Makes the fixed-point numbers of weights that lie unit by unit."""
    lanes = len(like)
    for unit in range(weights.units):
        size, first = word, weights.at + unit * lanes
        for v in range(vectors):
            size = larger(size, sizes(weights.values, first + v * weights.stride, word))
        numbers.words[numbers.vector_at] = largest(size)
        largest_weight = not_too_small(splat(at(numbers.values, numbers.vector_at), like), like)
        factor = splat(LARGEST, like) / largest_weight
        for digit in range(DIGITS):
            of_digit = first_lane(largest_weight * splat(BASE**digit / LARGEST, like))
            numbers.values[numbers.factors_at + digit * numbers.width + unit] = of_digit
        for v in range(vectors):
            number = fixed_point(load(weights.values, first + v * weights.stride, like), factor, word)
            to = numbers.digits_at + v * numbers.vector_step + unit * numbers.unit_step
            store(bytes_together(number), numbers.words, to)


@inlined_kernel
def pairs_of_bytes(x, y, word):
    """Of each two words: one whose halves are their lowest bytes and their third ones, and one of their second ones."""
    outer, second = splat(0xFF00FF, word), splat(0xFF00, word)
    eight = splat(8, word)
    return (x & outer) + ((y & outer) << eight), ((x & second) >> eight) + (y & second)


@kernel
def numbers_by_feature(weights, vectors, numbers, like, word):
    """Makes the fixed-point numbers of weights that lie feature by feature."""
    lanes, sixteen, low = len(like), splat(16, word), splat(0xFFFF, word)
    for unit in range(0, weights.units, lanes):
        size, first = word, weights.at + unit
        for k in range(vectors * lanes):
            size = larger(size, sizes(weights.values, first + k * weights.stride, word))
        store(size, numbers.words, numbers.vector_at)
        largest_weight = not_too_small(load(numbers.values, numbers.vector_at, like), like)
        factor = splat(LARGEST, like) / largest_weight
        for digit in range(DIGITS):
            of_digit = largest_weight * splat(BASE**digit / LARGEST, like)
            store(of_digit, numbers.values, numbers.factors_at + digit * numbers.width + unit)
        to = numbers.digits_at + unit
        for k in range(0, vectors * lanes, PACKED):
            weights_at, step = first + k * weights.stride, weights.stride
            number_0 = fixed_point(load(weights.values, weights_at, like), factor, word)
            number_1 = fixed_point(load(weights.values, weights_at + step, like), factor, word)
            number_2 = fixed_point(load(weights.values, weights_at + 2 * step, like), factor, word)
            number_3 = fixed_point(load(weights.values, weights_at + 3 * step, like), factor, word)
            outer_01, middle_01 = pairs_of_bytes(number_0, number_1, word)
            outer_23, middle_23 = pairs_of_bytes(number_2, number_3, word)
            store((outer_01 & low) + (outer_23 << sixteen), numbers.words, to)
            store(middle_01 + (middle_23 << sixteen), numbers.words, to + numbers.digit_step)
            store((outer_01 >> sixteen) + (outer_23 & (low << sixteen)), numbers.words, to + 2 * numbers.digit_step)
            to += numbers.word_step


class Product(NamedTuple):
    """Some features of a few tiles, and their weights."""

    numbers: Numbers
    units: int
    first: int
    vectors: int
    x_tile: int  # from a tile to the next one


@kernel
def multiply_grid(product, unit, z, coming, asked, grid):
    """Adds a product to z, for as many tiles, and units from this one on, as the grid has.

    As `dense_features.multiply_grid`, it asks for rows that come later.
    """
    numbers, lanes = product.numbers, len(grid[0][0])
    behind = coming.tiles if unit + len(grid[0]) == product.units else min(asked + 1, coming.tiles)
    first_at = numbers.digits_at + product.first // lanes * numbers.vector_step + unit * numbers.unit_step
    for digit in range(DIGITS):
        x_at, digits_at, sums = 0, first_at + digit * numbers.digit_step, grid
        for v in range(product.vectors):
            if digit == 0:
                prefetch_coming_records(coming, v * lanes, asked, behind, lanes)
                prefetch_coming_lines(coming, product.first + v * lanes, 0, lanes, asked, behind, lanes)
            word_at = digits_at
            for _ in range(lanes // PACKED):
                of_digits = (numbers.words, word_at, numbers.unit_step)
                sums = dot_grid(numbers.words, x_at, product.x_tile, *of_digits, sums)
                x_at += PACKED * lanes
                word_at += numbers.word_step
            digits_at += numbers.vector_step
        factors_at = numbers.factors_at + digit * numbers.width + unit
        add_multiples(sums, numbers.values, factors_at, z.values, z.at + unit * lanes, z.stride)
    return behind


@kernel
def multiply_tiles(numbers, rows, starts, z, coming, grids):
    """`dense_features.multiply_tiles` by fixed-point numbers."""
    tiles, lanes, like = len(grids[0]), len(grids[0][0][0]), zeros(numbers.values, VECTOR_BYTES)
    for tile in range(tiles):
        for unit in range(numbers.units):
            store(like, z.values, z.at + tile * z.stride + unit * lanes)
    x_tile = FEATURES_OF_SUM * lanes
    for first in range(0, rows.dense, FEATURES_OF_SUM):
        last = min(first + FEATURES_OF_SUM, rows.dense)
        for tile in range(tiles):
            write_features(rows, starts, tile, first, last, numbers.words, tile * x_tile, like)
        product = Product(numbers, numbers.units, first, (last - first + lanes - 1) // lanes, x_tile)
        multiply_units(multiply_grid, product, z, from_feature(coming, first), grids)


@kernel
def forward(rows, examples, weights, by_feature, z, ahead, starts, scratch, like):
    """z = x @ weights for some tiles, as `dense_features.forward`; see `room_for_bytes` for scratch memory."""
    word = zeros(as_words(scratch, 1), VECTOR_BYTES)
    numbers = numbers_in(scratch, rows, weights, by_feature, len(like))
    if starts[WEIGHTS_KNOWN] == 0:
        vectors = (rows.dense + len(like) - 1) // len(like)
        if by_feature:
            numbers_by_feature(weights, vectors, numbers, like, word)
        else:
            numbers_by_unit(weights, vectors, numbers, like, word)
        starts[WEIGHTS_KNOWN] = 1
    go_through_tiles(multiply_tiles, numbers, rows, examples, z, ahead, starts, word)
