"""Products of bytes with fixed-point numbers: the operations against NumPy, and the first layer's outputs."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
from first_layers import FirstLayer
from matrices import mixed_matrix
from numpy.typing import NDArray

from fastfnn.kernels.processor import HAS_BYTE_PRODUCTS, INTERPRETED
from fastfnn.kernels.simd import (
    LARGEST,
    add_sums,
    as_words,
    bytes_together,
    dot_grid,
    fixed_point,
    four_rows,
    largest,
    load,
    repeat,
    splat,
    store,
    store_four_rows,
    zeros,
)
from fastfnn.kernels.structures import EXAMPLES_TOGETHER
from fastfnn.rows import identity_order

Array = NDArray[Any]
pytestmark = pytest.mark.skipif(
    not (HAS_BYTE_PRODUCTS or INTERPRETED), reason="this processor has no products of bytes"
)
probe = numba.njit(nogil=True, error_model="numpy")
LANES = 16
DIGITS = 3
BASE_POWERS = 256 ** np.arange(4)


@probe
def digits_of(values, factor, out):
    like, words = zeros(values, 64), as_words(out, 1)
    word = zeros(words, 64)
    for i in range(0, len(values), len(like)):
        store(fixed_point(load(values, i, like), splat(factor, like), word), words, i)


@probe
def rearranged(source, together, most):
    x, out = as_words(source, 1), as_words(together, 1)
    word = zeros(x, 64)
    store(bytes_together(load(x, 0, word)), out, 0)
    most[0] = largest(load(x, 0, word))


@probe
def products(features, digits, factors, out):
    """Two tiles by three units, each of them two times."""
    x, y = as_words(features, 1), as_words(digits, 1)
    zero = repeat(repeat(zeros(x, 64), 3), 2)
    lowest, middle, highest = zero, zero, zero
    for _ in range(2):
        lowest = dot_grid(x, 0, 20, y, 1, 6, lowest)
        middle = dot_grid(x, 0, 20, y, 2, 6, middle)
        highest = dot_grid(x, 0, 20, y, 3, 6, highest)
    add_sums(lowest, middle, highest, factors, 1, out, 0, 50)


@probe
def of_four_rows(source, starts, one_by_one, together):
    """Columns 3 to 66 of rows 1 to 4, with a gap behind each sixteen."""
    x, y = as_words(one_by_one, 1), as_words(together, 1)
    word = zeros(x, 64)
    for i in range(4):
        store(four_rows(source, starts, 1, 3 + 16 * i, word), x, 5 + 20 * i)
    store_four_rows(source, starts, 1, 3, y, 5, 20, word)


def value_of(digits: Array) -> Array:
    """Numbers of which each row has the signed bytes."""
    return np.asarray(digits.astype(np.int64) @ BASE_POWERS)


def test_numbers_are_the_nearest_ones() -> None:
    values = np.concatenate([np.random.default_rng(0).uniform(-1, 1, 4093), [1, -1, 0]]).astype(np.float32)
    out = np.zeros(4096, np.float32)
    digits_of(values, float(LARGEST), out)
    digits = out.view(np.int8).reshape(-1, 4)
    np.testing.assert_array_equal(digits[:, DIGITS:], 0)
    np.testing.assert_array_equal(value_of(digits), np.rint(values * np.float32(LARGEST)).astype(np.int64))


def test_bytes_of_four_words() -> None:
    source = np.random.default_rng(1).integers(0, 256, (4, 4, 4)).astype(np.uint8)
    together, most = np.zeros(LANES, np.float32), np.zeros(1, np.int64)
    rearranged(source.reshape(-1).view(np.float32), together, most)
    np.testing.assert_array_equal(together.view(np.uint8).reshape(4, 4, 4), source.swapaxes(1, 2))
    assert most[0] == source.reshape(-1).view(np.uint32).max()


def test_products_are_summed_as_integers() -> None:
    generator = np.random.default_rng(2)
    features = generator.integers(0, 256, (36, 4)).astype(np.uint8)
    digits = generator.integers(-128, 128, (20, 4)).astype(np.int8)
    digits[1:4], features[0] = -128, 255
    factors, out = np.array([9, 0.5, -2, 3], np.float32), np.full(100, 7, np.float32)
    products(features.reshape(-1).view(np.float32), digits.reshape(-1).view(np.float32), factors, out)
    expected = np.full(100, 7, np.float64)
    for tile in range(2):
        for unit in range(3):
            of_tile, at = features[20 * tile : 20 * tile + LANES].astype(np.int64), 1 + 6 * unit
            sums = 2 * of_tile @ (digits[at : at + DIGITS].astype(np.int64).T @ BASE_POWERS[:DIGITS])
            expected[50 * tile + unit * LANES :][:LANES] += sums * np.float64(factors[1 + unit])
    np.testing.assert_allclose(out, expected, rtol=3e-7)


def test_columns_of_four_rows() -> None:
    source, starts = np.random.default_rng(3).integers(0, 256, 500).astype(np.uint8), np.array([400, 7, 150, 0, 301])
    one_by_one, together = np.zeros((2, 85), np.float32)
    of_four_rows(source, starts, one_by_one, together)
    np.testing.assert_array_equal(one_by_one.view(np.uint32), together.view(np.uint32))
    expected = np.stack([source[start + 3 : start + 67] for start in starts[1:]], axis=1)
    found = one_by_one.view(np.uint8)[20:].reshape(4, 20, 4)
    np.testing.assert_array_equal(found[:, :LANES].reshape(-1, 4), expected)
    np.testing.assert_array_equal(found[:, LANES:], 0)


@pytest.fixture
def layer(request: pytest.FixtureRequest) -> FirstLayer:
    """300 dense features, so that there is more than one sum of products, and so many units."""
    units, only_evaluated = request.param
    X, order = mixed_matrix(40, 300), identity_order(300, dense=True)
    result = FirstLayer(X, units, order, "float32", only_evaluated=only_evaluated)
    assert result.network.layout.dense_by_feature == (only_evaluated and units > 64)
    return result


def outputs(layer: FirstLayer, count: int = 40) -> Array:
    """As the first call after the weights have changed."""
    layer.inputs.starts[EXAMPLES_TOGETHER] = 0
    return layer.forward(np.arange(40), 0, count)[1][:count]


each_layout = pytest.mark.parametrize(
    "layer", [(1, False), (20, False), (144, False), (20, True), (144, True)], indirect=True
)
each_trained_layout = pytest.mark.parametrize("layer", [(1, False), (20, False), (144, False)], indirect=True)


@each_layout
@pytest.mark.parametrize("dtype", ["float32 in bytes"], indirect=True)
def test_a_weight_is_as_precise_as_the_largest_of_its_unit(dtype: str, layer: FirstLayer) -> None:
    """Half a unit in the last place of 24 bits, and two roundings of the sum, by a norm that is never exceeded."""
    weights, X = layer.start.weights[0].astype(np.float64), layer.X.astype(np.float64)
    error = np.abs(outputs(layer) - X @ weights)
    bound = X.sum(axis=1, keepdims=True) * np.abs(weights).max(axis=0) * 2.0**-22
    assert (error <= bound).all()


@each_layout
@pytest.mark.parametrize("dtype", ["float32 in bytes"], indirect=True)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_not_finite_spoils_its_unit_alone(dtype: str, layer: FirstLayer, value: float) -> None:
    before = outputs(layer)
    weights = layer.network.buffers.parameters
    layout = layer.network.layout
    weights[layout.dense_weights] = value  # of the first feature and unit, in either layout
    after = outputs(layer)
    assert not np.isfinite(after[:, 0]).any()
    np.testing.assert_array_equal(after[:, 1:], before[:, 1:])


@each_layout
@pytest.mark.parametrize("dtype", ["float32 in bytes"], indirect=True)
@pytest.mark.parametrize("size", [0.0, 1e-38, 1e-20, 1e30])
def test_weights_of_any_size(dtype: str, layer: FirstLayer, size: float) -> None:
    """Zeros, subnormal weights, which become zeros, small ones and large ones."""
    before, weights = outputs(layer), layer.network.buffers.parameters
    weights *= np.float32(size)
    after = outputs(layer)
    expected = before * (np.float64(size) if size > 1e-30 else 0)
    np.testing.assert_allclose(after, expected, rtol=1e-5, atol=float(np.abs(expected).max()) * 1e-6 + 1e-36)


@each_layout
@pytest.mark.parametrize("dtype", ["float32 in bytes"], indirect=True)
def test_numbers_are_made_once_until_weights_are_forgotten(dtype: str, layer: FirstLayer) -> None:
    before = outputs(layer)
    layer.network.buffers.parameters[:] *= 2
    np.testing.assert_array_equal(layer.forward(np.arange(40), 0, 40)[1][:40], before)
    np.testing.assert_allclose(outputs(layer), 2 * before, rtol=1e-6)


@each_trained_layout
@pytest.mark.parametrize("dtype", ["float32 in bytes"], indirect=True)
def test_an_update_leaves_the_numbers_as_they_are(dtype: str, layer: FirstLayer) -> None:
    """It has the same scratch memory, and may come between the blocks of a batch, when weights have not changed."""
    before = outputs(layer)
    layer.update(np.arange(40), 0, np.ones((40, int(layer.network.layout.row_widths[1])), np.float32))
    np.testing.assert_array_equal(layer.forward(np.arange(40), 0, 40)[1][:40], before)


def gradients(layer: FirstLayer, sizes: Array) -> Array:
    """Random gradients (B, row width) of the outputs, an example a row, of such sizes."""
    shape = len(sizes), int(layer.network.layout.row_widths[1])
    return (np.random.default_rng(4).normal(size=shape) * sizes[:, None]).astype(np.float32)


def change_by_update(layer: FirstLayer, examples: Array, dz: Array) -> Array:
    """What an update adds to the weights (K, H), which are zeros before."""
    weights, layout = layer.network.buffers.parameters, layer.network.layout
    weights[:] = 0
    layer.update(examples, 0, dz)
    units = layer.config.hidden[0]
    vectors = weights[layout.dense_weights :][: -(-300 // LANES) * units * LANES].reshape(-1, units, LANES)
    return vectors.swapaxes(1, 2).reshape(-1, units).copy()


@each_trained_layout
@pytest.mark.parametrize("dtype", ["float32 in bytes"], indirect=True)
def test_a_gradient_is_as_precise_as_the_largest_of_its_unit_and_pass(dtype: str, layer: FirstLayer) -> None:
    """In the second pass, of fewer examples than four words have, all are a million times smaller than in the first."""
    size, second = EXAMPLES_TOGETHER + 11, slice(EXAMPLES_TOGETHER, None)
    examples = np.random.default_rng(5).integers(0, 40, size)
    dz = gradients(layer, np.where(np.arange(size) < EXAMPLES_TOGETHER, 1, 1e-6))
    X, units = layer.X[examples].astype(np.float64), layer.config.hidden[0]
    both = change_by_update(layer, examples, dz)
    alone = change_by_update(layer, examples[second], dz[second])
    for found, part in ((both, slice(None)), (alone, second)):
        exact = dz[part, :units].astype(np.float64)
        bound = X[part].sum(axis=0)[:, None] * np.abs(exact).max(axis=0) * 2.0**-22
        assert (np.abs(found[:300] - X[part].T @ exact) <= bound).all()
        np.testing.assert_array_equal(found[300:], 0)


@each_trained_layout
@pytest.mark.parametrize("dtype", ["float32 in bytes"], indirect=True)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_spoils_its_unit_alone(dtype: str, layer: FirstLayer, value: float) -> None:
    dz = gradients(layer, np.ones(40))
    before = change_by_update(layer, np.arange(40), dz)
    dz[7, 0] = value
    after = change_by_update(layer, np.arange(40), dz)
    assert not np.isfinite(after[:300, 0]).any()
    np.testing.assert_array_equal(after[:, 1:], before[:, 1:])
