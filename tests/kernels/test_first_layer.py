"""The first layer's functions against their naive twins: matrix products in float64."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from first_layers import FirstLayer, present
from matrices import mixed_matrix
from numpy.typing import NDArray

from fastfnn.kernels import Share
from fastfnn.kernels.offsets import clamped, shifted
from fastfnn.kernels.structures import EXAMPLES_TOGETHER
from fastfnn.layout import lanes_of
from fastfnn.rows import FeatureOrder, densities, identity_order, order_by_density

Array = NDArray[Any]
TOLERANCES = {"float32": 1e-5, "float64": 1e-10}
UNITS = [1, 3, 4, 5, 20, 21, 30, 40, 64, 144]  # the last two, in vectors, with weights that lie feature by feature
EXAMPLES = [1, 3, 16, 33, 70, 150]
DTYPES = ["float32", "float32 in matrices", "float32 in bytes", "float64"]
each_dtype = pytest.mark.parametrize("dtype", DTYPES, indirect=True)
each_storage = pytest.mark.parametrize("stored", ["uint8", "float"])


def features(examples: int, count: int, stored: str, dtype: str) -> Array:
    """Bytes, or floats of either sign; about half of them zeros."""
    X = mixed_matrix(examples, count)
    return X if stored == "uint8" else (X * (X > 90) - 1.5 * (X < 70) * (X > 0)).astype(dtype)


def order_of_kind(kind: str, X: Array) -> FeatureOrder:
    if kind == "mixed":
        return order_by_density(densities(X))
    return identity_order(X.shape[1], dense=kind == "dense")


def shuffled(examples: int) -> Array:
    """More examples than there are rows, in no order."""
    return np.random.default_rng(examples).integers(0, examples, 2 * examples + 9)


def naive_products(layer: FirstLayer, features: Array, examples: Array) -> Array:
    X = layer.X[examples][:, features].astype(np.float64)
    return X @ layer.start.weights[0][features].astype(np.float64)


def check_forward(layer: FirstLayer, examples: Array, count: int, tolerance: float) -> None:
    """The products for `count` examples from number 5 on, as many at a time as go together."""
    dense, features = layer.order.dense, layer.order.features
    for first in range(5, 5 + count, EXAMPLES_TOGETHER):
        n = min(EXAMPLES_TOGETHER, 5 + count - first)
        found = layer.forward(examples, first, n)
        for products, of_features in zip(found, (features[dense:], features[:dense]), strict=True):
            expected = naive_products(layer, of_features, examples[first : first + n])
            if len(of_features):  # bytes are up to 255
                np.testing.assert_allclose(products[:n], expected, rtol=tolerance, atol=255 * tolerance)


def check_update(layer: FirstLayer, examples: Array, count: int, tolerance: float, part: Any = 1) -> None:
    """`part` is 0 for the values (N, K) that are not in the layer's share."""
    units, width = layer.config.hidden[0], int(layer.network.layout.row_widths[1])
    dz = np.zeros((count, width), layer.config.dtype)
    dz[:, :units] = np.random.default_rng(count).normal(size=(count, units))
    layer.update(examples, 5, dz)
    X = (layer.X.astype(np.float64) * part)[examples[5 : 5 + count]]
    layer.assert_changed_by(X.T @ dz[:, :units].astype(np.float64), tolerance)


@each_dtype
@each_storage
@pytest.mark.parametrize("dense", [1, 7, 16, 17, 64, 100])
@pytest.mark.parametrize("units", UNITS)
def test_dense_features(units: int, dense: int, stored: str, dtype: str) -> None:
    for count in EXAMPLES:
        X, examples = features(max(count, 3), dense, stored, dtype), shuffled(max(count, 3))
        layer = FirstLayer(X, units, identity_order(dense, dense=True), dtype)
        check_forward(layer, examples, count, TOLERANCES[dtype])
        check_update(layer, examples, count, TOLERANCES[dtype])


@each_dtype
@each_storage
@pytest.mark.parametrize("kind", ["listed", "mixed"])
@pytest.mark.parametrize("units", [1, 5, 21, 70])
def test_listed_features(units: int, kind: str, stored: str, dtype: str) -> None:
    """Beside dense ones and on their own, for panels with wide vectors, with narrow ones, and with both."""
    for count in EXAMPLES:
        X, examples = features(max(count, 9), 52, stored, dtype), shuffled(max(count, 9))
        X[2] = 0
        layer = FirstLayer(X, units, order_of_kind(kind, X), dtype)
        assert (0 < layer.order.dense < 52) == (kind == "mixed")
        check_forward(layer, examples, count, TOLERANCES[dtype])
        check_update(layer, examples, count, TOLERANCES[dtype])


@each_dtype
@each_storage
@pytest.mark.parametrize("units", [7, 64])
def test_an_example_gets_the_same_bits_alone_and_in_tiles_together(units: int, stored: str, dtype: str) -> None:
    X = features(70, 52, stored, dtype)
    layer = FirstLayer(X, units, order_of_kind("mixed", X), dtype)
    _, whole = layer.forward(np.arange(70), 0, 64)
    for first in (0, 5, 63):
        _, alone = layer.forward(np.arange(70), first, 1)
        np.testing.assert_array_equal(alone[0], whole[first])


@each_dtype
def test_lanes_without_an_example_get_what_the_last_one_gets(dtype: str) -> None:
    X = features(20, 52, "uint8", dtype)
    _, products = FirstLayer(X, 5, order_of_kind("mixed", X), dtype).forward(np.arange(20), 2, 3)
    assert len(products) == lanes_of(dtype)
    np.testing.assert_array_equal(products[3:], np.tile(products[2], (len(products) - 3, 1)))


@each_dtype
@each_storage
@pytest.mark.parametrize("units", [21, 112])
@pytest.mark.parametrize("kind", ["dense", "mixed"])
def test_shares_of_the_dense_features(kind: str, units: int, stored: str, dtype: str) -> None:
    """Each share changes its own features, of which the last ones may be less than a vector."""
    X, examples = features(40, 100, stored, dtype), shuffled(40)
    order = order_of_kind(kind, X)
    edges = [0, 16, 96, 112] if kind == "dense" else [0, 16, order.dense]
    for begin, end in pairwise(edges):
        layer = FirstLayer(X, units, order, dtype, Share(begin, end, np.zeros(41, np.int32), 1, 0))
        part = np.isin(np.arange(100), order.features[: order.dense][begin:end])
        check_forward(layer, examples, 16, TOLERANCES[dtype])  # leaves whole rows in the scratch memory
        check_update(layer, examples, 33, TOLERANCES[dtype], part)


@each_dtype
@pytest.mark.parametrize("units", [4, 16, 21])
@pytest.mark.parametrize("thread", [0, 1, 2])
def test_cuts_of_the_listed_features(thread: int, units: int, dtype: str) -> None:
    """Three threads share the listed features of each record by their numbers; the dense ones are nobody's here."""
    X, examples = features(40, 52, "uint8", dtype), shuffled(40)
    order = order_by_density(densities(X))
    owners = np.repeat([0, 1, 2], [2, 7, 27])
    listed = order.features[order.dense :]
    counts = np.array([[np.count_nonzero(X[i, listed[owners < n]]) for n in range(4)] for i in range(40)], np.int32)
    share = Share(0, 0, counts.reshape(-1)[thread:], 4, 0)
    part = np.isin(np.arange(52), listed[owners == thread])
    check_update(FirstLayer(X, units, order, dtype, share), examples, 33, TOLERANCES[dtype], part)


@each_dtype
@pytest.mark.parametrize("units", [4, 21, 150])
@pytest.mark.parametrize("ahead", [2, 33])
@pytest.mark.parametrize("kind", ["mixed", "listed"])
def test_weights_that_are_asked_for(kind: str, ahead: int, units: int, dtype: str) -> None:
    """Of the examples that come next, and of those of the next batch, until there are none."""
    X, examples = features(40, 97, "uint8", dtype), shuffled(40)
    layer = FirstLayer(X, units, order_of_kind(kind, X), dtype, weights_ahead=ahead)
    assert layer.whole.weights_ahead == layer.share.weights_ahead == ahead
    check_forward(layer, examples, 16, TOLERANCES[dtype])
    check_update(layer, examples, 33, TOLERANCES[dtype])


def test_numbers_that_are_not_finite_are_seen() -> None:
    """Only by the example that has them, dense or listed, and not by way of the zeros that fill a record up."""
    X = features(9, 52, "float", "float64")
    order = order_by_density(densities(X))
    for feature, value in ((order.features[3], np.nan), (order.features[-1], np.inf)):
        changed = X.copy()
        changed[4, feature] = value
        layer = FirstLayer(changed, 5, order, "float64")
        with np.errstate(invalid="ignore"):  # where the units are filled up, infinity is multiplied by 0
            listed, dense = layer.forward(np.arange(9), 0, 8)
        assert np.isfinite(listed + dense[:8]).all(axis=1).tolist() == [i != 4 for i in range(8)]


@pytest.mark.parametrize(
    ("kind", "expected"), [("dense", (1, 0, 0, 0)), ("mixed", (1, 0, 2, 0)), ("listed", (0, 0, 2, 0))]
)
def test_what_only_training_calls_is_not_compiled_without_it(kind: str, expected: tuple[int, ...]) -> None:
    layer = FirstLayer(features(9, 52, "uint8", "float32"), 40, order_of_kind(kind, mixed_matrix(9)), "float32")
    inputs = layer.network.bind(layer.rows, layer.whole, layer.whole, training=False)
    found = (inputs.dense_forward, inputs.dense_update, inputs.forward, inputs.update)
    assert tuple(len(present(functions)) for functions in found) == expected


def test_offsets_by_hand() -> None:
    plain = [getattr(kernel, "py_func", kernel) for kernel in (clamped, shifted)]
    assert plain[0](100, 0, 9, 10) == (100, 110, 120, 130)
    assert plain[0](100, 4, 6, 10) == (140, 150, 150, 150)
    assert plain[0](7, 0, 1, 10) == (7, 7, 7, 7)
    assert plain[1]((1, 2, 2, 5), 16) == (17, 18, 18, 21)
