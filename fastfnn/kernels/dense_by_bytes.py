"""The first layer's dense features where these are bytes, by sums of products of bytes, forward and in the update.

What they are multiplied with becomes fixed-point numbers of three bytes: forward the weights, in the update the
gradient of the outputs for the examples of a pass, for the largest ones of a unit a little less than the largest such
number. Products of each of the three with the features are summed as integers, which is exact, and the three sums are
added as floats. A weight, or a gradient, is so as precise as the largest of its unit is in float32, which is what sums
of products in float32 come to, and three instructions do what four multiply-adds would.

The weights' numbers are made by the first call after `first_layer.forget_weights`, for every thread in its own memory.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastfnn.kernels.compilation import inlined_kernel, kernel
from fastfnn.kernels.dense_features import (
    find_rows,
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
    add_sums,
    as_words,
    at,
    bytes_together,
    dot_grid,
    fixed_point,
    four_rows,
    greater,
    largest,
    load,
    not_below,
    put_in_column,
    repeat,
    size_of_columns,
    splat,
    store,
    store_four_rows,
    where,
    zeros,
)
from fastfnn.kernels.structures import (
    EXAMPLES_TOGETHER,
    FEATURES_OF_SUM,
    FEATURES_TOGETHER,
    TILES_OF_BYTES,
    WORDS_OF_FEATURES,
    DenseWeights,
    Outputs,
)

SIZE_BITS = 0x7FFFFFFF  # of a float32, without its sign; as integers they are in the order of sizes, NaN above all
SMALLEST = 1e-30  # largest weight of a unit, below which its weights are less precise, down to zero
WEIGHTS_KNOWN = EXAMPLES_TOGETHER  # where the fixed-point numbers are those of the weights, in the memory of starts
UNITS_OF_TILES = 4  # whose sums for each digit stay in registers
UNITS_OF_TILE = 8


class Numbers(NamedTuple):
    """Where fixed-point numbers are in scratch memory, which is seen as words too: those of weights or of gradients.

    A gradient has examples in place of features.
    """

    words: Any
    values: Any
    units: int
    scales_at: int  # of each unit: what its weights are multiplied by
    factors_at: int  # what sums of products with its numbers are multiplied by
    digits_at: int
    end: int
    digit_step: int  # from a digit to the next one of the same number, in words of those of four features
    vector_step: int  # from a vector of features to the next
    word_step: int  # from four features to the next
    unit_step: int


@inlined_kernel
def numbers_at(scratch, begin, features, units, by_feature, lanes):
    """Where the numbers of so many features, in whole vectors, lie from an offset of scratch memory on."""
    width = (units + lanes - 1) // lanes * lanes | lanes  # an odd number of vectors, for the caches' sake
    digits_at = begin + 2 * width
    if by_feature:
        steps = features // PACKED * width, lanes // PACKED * width, width, 1
    else:
        steps = 1, units * lanes, PACKED, lanes
    end = digits_at + features * width
    return Numbers(as_words(scratch, 1), scratch, units, begin, begin + width, digits_at, end, *steps)


@inlined_kernel
def numbers_of_weights(scratch, rows, weights, by_feature, lanes):
    """Those of the weights, behind what features are written to, which updates overwrite."""
    features = (rows.dense + lanes - 1) // lanes * lanes
    return numbers_at(scratch, WORDS_OF_FEATURES, features, weights.units, by_feature, lanes)


@inlined_kernel
def sizes(weights, weights_at, word):
    """The sizes of a vector of weights, as words in the order of these."""
    return load(as_words(weights, 1), weights_at, word) & splat(SIZE_BITS, word)


@inlined_kernel
def larger(x, y):
    """The larger one of each lane."""
    return where(not_below(x, y), x, y)


@inlined_kernel
def write_factors(numbers, like):
    """Scales and factors of all units, of which the sizes of the largest weights are where factors will be.

    None is too small to be divided by; what is not finite stays so, and makes all sums of its unit NaN or infinite.
    """
    smallest, most = splat(SMALLEST, like), splat(LARGEST, like)
    for unit in range(0, numbers.units, len(like)):
        size = load(numbers.values, numbers.factors_at + unit, like)
        size = where(greater(smallest, size), smallest, size)
        store(most / size, numbers.values, numbers.scales_at + unit)
        store(size * splat(1 / LARGEST, like), numbers.values, numbers.factors_at + unit)


@kernel
def write_numbers_by_unit(weights, vectors, numbers, like, word):
    """Makes the fixed-point numbers of weights that lie unit by unit."""
    lanes = len(like)
    for unit in range(weights.units):
        size, weights_at = word, weights.at + unit * lanes
        for _ in range(vectors):
            size = larger(size, sizes(weights.values, weights_at, word))
            weights_at += weights.stride
        numbers.words[numbers.factors_at + unit] = largest(size)
    write_factors(numbers, like)
    for v in range(vectors):
        weights_at, to = weights.at + v * weights.stride, numbers.digits_at + v * numbers.vector_step
        for unit in range(weights.units):
            scale = splat(at(numbers.values, numbers.scales_at + unit), like)
            number = fixed_point(load(weights.values, weights_at + unit * lanes, like), scale, word)
            store(bytes_together(number), numbers.words, to + unit * lanes)


@inlined_kernel
def pairs_of_bytes(x, y, word):
    """Of each two words: one whose halves are their lowest bytes and their third ones, and one of their second ones."""
    outer, second = splat(0xFF00FF, word), splat(0xFF00, word)
    eight = splat(8, word)
    return (x & outer) + ((y & outer) << eight), ((x & second) >> eight) + (y & second)


@inlined_kernel
def number_of_feature(weights, feature, count, unit, scale, word):
    """The numbers of a feature's weights for a vector of units, zeros behind the last feature."""
    if feature < count:
        return fixed_point(load(weights.values, weights.at + feature * weights.stride + unit, scale), scale, word)
    return word


@kernel
def write_numbers_by_feature(weights, count, numbers, like, word):
    """Makes the fixed-point numbers of so many weights of each unit that lie feature by feature."""
    lanes, sixteen, low = len(like), splat(16, word), splat(0xFFFF, word)
    for unit in range(0, weights.units, lanes):
        size, weights_at = word, weights.at + unit
        for _ in range(count):
            size = larger(size, sizes(weights.values, weights_at, word))
            weights_at += weights.stride
        store(size, numbers.words, numbers.factors_at + unit)
    write_factors(numbers, like)
    for unit in range(0, weights.units, lanes):
        scale, to = load(numbers.values, numbers.scales_at + unit, like), numbers.digits_at + unit
        for k in range(0, count, PACKED):
            number_0 = number_of_feature(weights, k, count, unit, scale, word)
            number_1 = number_of_feature(weights, k + 1, count, unit, scale, word)
            number_2 = number_of_feature(weights, k + 2, count, unit, scale, word)
            number_3 = number_of_feature(weights, k + 3, count, unit, scale, word)
            outer_01, middle_01 = pairs_of_bytes(number_0, number_1, word)
            outer_23, middle_23 = pairs_of_bytes(number_2, number_3, word)
            store((outer_01 & low) + (outer_23 << sixteen), numbers.words, to)
            store(middle_01 + (middle_23 << sixteen), numbers.words, to + numbers.digit_step)
            store((outer_01 >> sixteen) + (outer_23 & (low << sixteen)), numbers.words, to + 2 * numbers.digit_step)
            to += numbers.word_step


@kernel
def grids_of_tiles(word):
    """Grids of sums for several tiles, and many units, few and one."""
    many, few, one = repeat(word, UNITS_OF_TILES), repeat(word, 2), repeat(word, 1)
    return repeat(many, TILES_OF_BYTES), repeat(few, TILES_OF_BYTES), repeat(one, TILES_OF_BYTES)


@kernel
def grids_of_tile(word):
    """The same for one tile."""
    many, few, one = repeat(word, UNITS_OF_TILE), repeat(word, 4), repeat(word, 1)
    return repeat(many, 1), repeat(few, 1), repeat(one, 1)


class Product(NamedTuple):
    """Some features of a few tiles and their weights, or of some examples and their gradient."""

    numbers: Numbers
    units: int
    vectors: int  # of features, or of words of examples
    digits_at: int
    x_at: int
    x_tile: int  # from a tile to the next one, or from a vector of features


@inlined_kernel
def from_vector(product, vector):
    """The same product from a vector of features on."""
    x_at = product.x_at + vector * product.x_tile
    return Product(product.numbers, product.units, product.vectors, product.digits_at, x_at, product.x_tile)


@inlined_kernel
def add_products(product, x_at, digits_at, lowest, middle, highest):
    """Adds the products of a vector of words with the digits of as many units as the grids have."""
    numbers, words = product.numbers, product.numbers.words
    second_at, third_at = digits_at + numbers.digit_step, digits_at + 2 * numbers.digit_step
    lowest = dot_grid(words, x_at, product.x_tile, words, digits_at, numbers.unit_step, lowest)
    middle = dot_grid(words, x_at, product.x_tile, words, second_at, numbers.unit_step, middle)
    highest = dot_grid(words, x_at, product.x_tile, words, third_at, numbers.unit_step, highest)
    return lowest, middle, highest


@kernel
def multiply_grid(product, unit, z, coming, asked, grid):
    """Adds a product to z, for as many tiles, and units from this one on, as the grid has.

    As `dense_features.multiply_grid`, it asks for rows that come later.
    """
    numbers, lanes, x_at = product.numbers, len(grid[0][0]), product.x_at
    behind = coming.tiles if unit + len(grid[0]) == product.units else min(asked + 1, coming.tiles)
    vector_at = product.digits_at + unit * numbers.unit_step
    lowest, middle, highest = grid, grid, grid
    for v in range(product.vectors):
        prefetch_coming_records(coming, v * lanes, asked, behind, lanes)
        prefetch_coming_lines(coming, coming.feature + v * lanes, 0, lanes, asked, behind, lanes)
        digits_at = vector_at
        for _ in range(lanes // PACKED):
            lowest, middle, highest = add_products(product, x_at, digits_at, lowest, middle, highest)
            x_at += lanes
            digits_at += numbers.word_step
        vector_at += numbers.vector_step
    z_at = z.at + unit * lanes
    add_sums(lowest, middle, highest, numbers.values, numbers.factors_at + unit, z.values, z_at, z.stride)
    return behind


@kernel
def multiply_tiles(numbers, rows, starts, z, coming, grids):
    """`dense_features.multiply_tiles` by fixed-point numbers."""
    tiles, lanes, like = len(grids[0]), len(grids[0][0][0]), zeros(numbers.values, VECTOR_BYTES)
    for tile in range(tiles):
        for unit in range(numbers.units):
            store(like, z.values, z.at + tile * z.stride + unit * lanes)
    x_tile = size_of_columns(numbers.words, FEATURES_OF_SUM, like)
    for first in range(0, rows.dense, FEATURES_OF_SUM):
        last = min(first + FEATURES_OF_SUM, rows.dense)
        for tile in range(tiles):
            write_features(rows, starts, tile, first, last, numbers.words, tile * x_tile, like)
        digits_at = numbers.digits_at + first // lanes * numbers.vector_step
        product = Product(numbers, numbers.units, (last - first + lanes - 1) // lanes, digits_at, 0, x_tile)
        multiply_units(multiply_grid, product, z, from_feature(coming, first), grids)


@kernel
def forward(rows, examples, weights, by_feature, z, ahead, starts, scratch, like):
    """z = x @ weights for some tiles, as `dense_features.forward`; see `room_for_bytes` for scratch memory."""
    lanes, word = len(like), zeros(as_words(scratch, 1), VECTOR_BYTES)
    numbers = numbers_of_weights(scratch, rows, weights, by_feature, lanes)
    if starts[WEIGHTS_KNOWN] == 0:
        vectors = (rows.dense + lanes - 1) // lanes
        if by_feature:
            write_numbers_by_feature(weights, vectors * lanes, numbers, like, word)
        else:
            write_numbers_by_unit(weights, vectors, numbers, like, word)
        starts[WEIGHTS_KNOWN] = 1
    of_tiles, of_tile = grids_of_tiles(word), grids_of_tile(word)
    go_through_tiles(multiply_tiles, numbers, rows, examples, z, ahead, starts, of_tiles, of_tile)


@kernel
def write_last_examples(rows, starts, words, feature, x, to, like):
    """`write_examples` for a vector that is not full, with zeros behind the last feature."""
    for i in range(words * PACKED):
        for k in range(len(like)):
            value = at(rows.values, at(starts, i) + min(feature + k, rows.dense - 1))
            put_in_column(value if feature + k < rows.dense else 0, x, to, i, k, like)


@kernel
def write_examples(rows, starts, words, first, last, x, word):
    """Writes some features of examples with four of these in a word: (vectors of features, words, V)."""
    lanes, feature, x_vector = len(word), first, words * len(word)
    while min(last, rows.dense) - feature >= PACKED * lanes:
        to = (feature - first) // lanes * x_vector
        for i in range(words):
            store_four_rows(rows.values, starts, i * PACKED, feature, x, to + i * lanes, x_vector, word)
        feature += PACKED * lanes
    for feature_of_vector in range(feature, last, lanes):
        to = (feature_of_vector - first) // lanes * x_vector
        if feature_of_vector + lanes <= rows.dense:
            for i in range(words):
                store(four_rows(rows.values, starts, i * PACKED, feature_of_vector, word), x, to + i * lanes)
        else:
            write_last_examples(rows, starts, words, feature_of_vector, x, to, word)


@kernel
def add_gradient(product, unit, weights, coming, asked, grid):
    """Adds a product to the weights of as many vectors of features, and units from this one on, as the grid has."""
    numbers, lanes, x_at = product.numbers, len(grid[0][0]), product.x_at
    digits_at = product.digits_at + unit * numbers.unit_step
    lowest, middle, highest = grid, grid, grid
    for _ in range(product.vectors):
        lowest, middle, highest = add_products(product, x_at, digits_at, lowest, middle, highest)
        x_at += lanes
        digits_at += numbers.word_step
    factors_at, weights_at = numbers.factors_at + unit, weights.at + unit * lanes
    add_sums(lowest, middle, highest, numbers.values, factors_at, weights.values, weights_at, weights.stride)
    return asked


@kernel
def update_vectors(product, vector, weights, grids):
    """Adds the gradient of as many vectors of features, from this one on, as the grids have."""
    of_vectors = Outputs(weights.values, weights.at + vector * weights.stride, weights.stride)
    multiply_units(add_gradient, product, of_vectors, None, grids)


@kernel
def update_features(product, first, last, weights, like, word):
    """Adds the gradient of some features, which scratch memory begins with, to their weights."""
    lanes, feature, of_tiles, of_tile = len(like), first, grids_of_tiles(word), grids_of_tile(word)
    while last - feature >= TILES_OF_BYTES * lanes:
        update_vectors(from_vector(product, (feature - first) // lanes), feature // lanes, weights, of_tiles)
        feature += TILES_OF_BYTES * lanes
    while feature < last:
        update_vectors(from_vector(product, (feature - first) // lanes), feature // lanes, weights, of_tile)
        feature += lanes


@kernel
def update(rows, examples, share, weights, dz, scratch, starts, like):
    """weights += x.T @ dz for a share of the features, where weights lie unit by unit.

    Of the examples, a pass after the other is multiplied, so many that their numbers stay near.
    """
    lanes, word = len(like), zeros(as_words(scratch, 1), VECTOR_BYTES)
    begin = numbers_of_weights(scratch, rows, weights, 0, lanes).end
    numbers = numbers_at(scratch, begin, EXAMPLES_TOGETHER, weights.units, 1, lanes)
    for done in range(0, examples.size, EXAMPLES_TOGETHER):
        count = min(EXAMPLES_TOGETHER, examples.size - done)
        words = (count + PACKED - 1) // PACKED
        find_rows(rows, examples, done, words * PACKED, starts)
        of_pass = DenseWeights(dz.values, dz.at + done * dz.stride, dz.stride, weights.units)
        write_numbers_by_feature(of_pass, count, numbers, like, word)
        product = Product(numbers, weights.units, words, numbers.digits_at, 0, words * lanes)
        for first in range(share.feature_begin, share.feature_end, FEATURES_TOGETHER):
            last = min(first + FEATURES_TOGETHER, share.feature_end)
            write_examples(rows, starts, words, first, last, numbers.words, word)
            update_features(product, first, last, weights, like, word)
