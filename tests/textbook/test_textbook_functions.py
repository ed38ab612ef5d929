"""Every function against its naive twin, for all layouts, sizes and kinds of arrays."""

from __future__ import annotations

from typing import Any

import naive
import numpy as np
import pytest
from columns import LAYOUTS, sparse_normal

from fastfnn import textbook as nn
from fastfnn.errors import ConfigError, DataError

Array = Any
random = np.random.default_rng(0)
each_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())


def assert_close(ours: Array, theirs: Array) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)


def assert_all_close(ours: Any, theirs: Any) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        assert_close(mine, other)


# Of units, features and examples: one panel and two, none and some vectors left over, products in registers, skipping
# zeros, and by the matrix library.
@pytest.mark.parametrize("units", [1, 5, 20, 40])
@pytest.mark.parametrize("features", [1, 7, 70, 130])
@pytest.mark.parametrize("examples", [1, 16, 131])
@pytest.mark.parametrize("density", [0.1, 1.0])
def test_linear_maps_of_all_sizes(units: int, features: int, examples: int, density: float) -> None:
    A, W, b = (
        sparse_normal((features, examples), density),
        random.normal(size=(units, features)),
        random.random((units, 1)),
    )
    dZ = random.normal(size=(units, examples))
    for layout in (np.ascontiguousarray, np.asfortranarray):
        Z, cache = nn.linear_forward(layout(A), W, b)
        assert_close(Z, W @ A + b)
        assert_all_close(nn.Linear_backward(dZ, cache), naive.Linear_backward(dZ, {"A": A, "W": W}))


@each_layout
@pytest.mark.parametrize("shape", [(20, 784, 128), (7, 20, 33)])
def test_linear_maps_of_all_layouts(layout: Any, shape: tuple[int, int, int]) -> None:
    units, features, examples = shape
    A, W, b = (
        sparse_normal((features, examples), 0.15),
        random.normal(size=(units, features)),
        random.random((units, 1)),
    )
    dZ = random.normal(size=(units, examples))
    Z, cache = nn.linear_forward(layout(A), layout(W), layout(b))
    assert_close(Z, W @ A + b)
    assert_all_close(nn.Linear_backward(layout(dZ), cache), naive.Linear_backward(dZ, {"A": A, "W": W}))
    frozen = A.copy()
    frozen.flags.writeable = False
    assert_close(nn.linear_forward(frozen, W, b)[0], Z)


@pytest.mark.parametrize("units", [9, 300])
def test_products_that_are_left_to_the_matrix_library(units: int) -> None:
    A, W, b = random.normal(size=(300, 257)), random.normal(size=(units, 300)), random.random((units, 1))
    dZ = random.normal(size=(units, 257))
    A_next, cache = nn.linear_activation_forward(A.T.copy().T, W, b, "relu")
    assert_close(A_next, np.maximum(W @ A + b, 0))
    assert_all_close(nn.Linear_backward(dZ, cache[0]), naive.Linear_backward(dZ, {"A": A, "W": W}))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_zeros_hide_nothing(value: float) -> None:
    """0 * NaN is NaN, also where zeros are skipped."""
    A, W, b = sparse_normal((80, 20), 0.1), random.normal(size=(6, 80)), np.zeros((6, 1))
    dZ = random.normal(size=(6, 20))
    W[3, 10] = dZ[2, 5] = value
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(nn.linear_forward(A, W, b)[0], W @ A + b)
        np.testing.assert_allclose(nn.Linear_backward(dZ, {"A": A, "W": W, "b": b})[1], dZ @ A.T / 20)
    A[4, 7] = value
    assert not np.isfinite(nn.linear_forward(A, np.ones((6, 80)), b)[0][:, 7]).any()


@each_layout
@pytest.mark.parametrize("shape", [(10, 128), (3, 1), (1, 13)])
def test_activations(layout: Any, shape: tuple[int, int]) -> None:
    Z, dA = random.normal(size=shape) * 3, random.normal(size=shape)
    Z[0, 0] = 0
    for name in ("relu", "softmax"):
        A, cache = getattr(nn, name)(layout(Z))
        assert_close(A, getattr(naive, name)(Z)[0])
        assert_close(cache, Z)
        assert_close(getattr(nn, f"{name}_backward")(layout(dA), layout(Z)), getattr(naive, f"{name}_backward")(dA, Z))
    assert nn.relu_backward(np.ones(shape), Z)[0, 0] == 0


def test_softmax_backward_is_the_jacobian() -> None:
    Z = random.normal(size=(10, 6))
    Y = np.eye(10)[:, :6]
    AL, _ = nn.softmax(Z)
    assert_close(nn.softmax_backward(-Y / AL, Z), AL - Y)


@pytest.mark.parametrize("activation", ["relu", "softmax"])
def test_layers(activation: str) -> None:
    A, W, b = random.random((20, 50)), random.normal(size=(7, 20)), random.random((7, 1))
    mine, (linear_cache, Z) = nn.linear_activation_forward(A, W, B=b, activation=activation)
    theirs, cache = naive.linear_activation_forward(A, W, b, activation)
    assert_close(mine, theirs)
    assert linear_cache["A"] is A
    assert linear_cache["W"] is W
    assert linear_cache["b"] is b
    assert_close(Z, cache[1])
    dA = random.normal(size=(7, 50))
    ours = nn.linear_activation_backward(dA, (linear_cache, Z), activation)
    assert_all_close(ours, naive.linear_activation_backward(dA, cache, activation))


@each_layout
def test_cost_and_accuracy(layout: Any) -> None:
    AL, Y = naive.softmax(random.normal(size=(10, 77)))[0], np.eye(10)[:, random.integers(0, 10, 77)]
    parameters = nn.initialize_parameters([6, 4, 10], random_state=0)
    assert nn.compute_cost(layout(AL), layout(Y)) == pytest.approx(naive.compute_cost(AL, Y), rel=1e-14)
    ours, theirs = (lib.compute_cost(AL, Y, parameters, 0.7) for lib in (nn, naive))
    assert ours == pytest.approx(theirs, rel=1e-14)
    X = random.random((6, 77))
    assert nn.Predict(layout(X), layout(Y), parameters) == naive.Predict(X, Y, parameters)


@pytest.mark.parametrize("use_batchnorm", [False, True])
def test_models(use_batchnorm: bool, X_and_Y: tuple[Array, Array]) -> None:
    X, Y = X_and_Y[0][:, 300:428], X_and_Y[1][:, 300:428]
    parameters = nn.initialize_parameters([784, 20, 7, 5, 10], random_state=0)
    AL, caches = nn.L_model_forward(X, parameters, use_batchnorm)
    assert_close(AL, naive.L_model_forward(X, parameters, use_batchnorm)[0])
    assert len(caches) == 4
    grads, theirs = nn.L_model_backward(AL, Y, caches), naive.L_model_backward(AL, Y, caches)
    assert set(grads) == set(theirs) == {f"d{n}{i + (n != 'A')}" for n in "WbA" for i in range(4)}
    for name, array in theirs.items():
        assert_close(grads[name], array)


def test_softmax_regression() -> None:
    X, Y = random.random((6, 5)), np.eye(3)[:, [0, 1, 2, 0, 1]]
    parameters = nn.initialize_parameters([6, 3], random_state=0)
    AL, caches = nn.L_model_forward(X, parameters, use_batchnorm=True)
    grads = nn.L_model_backward(AL, Y, caches)
    theirs = naive.L_model_backward(*(naive.L_model_forward(X, parameters)[0], Y, caches))
    for name, array in theirs.items():
        assert_close(grads[name], array)


class TensorLike:
    """As a CPU tensor of another library: `np.asarray` gives a view of its memory."""

    def __init__(self, array: Array) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return self.array.view() if dtype is None else self.array.astype(dtype)


@pytest.mark.parametrize("wrap", [TensorLike, np.ndarray.tolist, np.float32, np.longdouble])
def test_whatever_numpy_takes(wrap: Any) -> None:
    plain = {
        "W1": random.normal(size=(4, 6)),
        "b1": np.ones((4, 1)),
        "W2": random.normal(size=(3, 4)),
        "b2": np.ones((3, 1)),
    }
    plain = {name: array.astype(np.float32).astype(np.float64) for name, array in plain.items()}
    X, Y = random.integers(0, 9, (6, 8)) / 8, np.eye(3)[:, [0, 1, 2, 0, 1, 2, 0, 1]]
    wrapped = {name: wrap(array.copy()) for name, array in plain.items()}
    AL, caches = nn.L_model_forward(wrap(X), wrapped)
    assert_close(AL, naive.L_model_forward(X, plain)[0])
    grads = nn.L_model_backward(wrap(AL), wrap(Y), caches)
    nn.Update_parameters(wrapped, grads, 0.1)
    naive.Update_parameters(plain, grads, 0.1)
    tolerance = 1e-6 if wrap is np.float32 else 1e-12
    for name, array in plain.items():
        np.testing.assert_allclose(np.asarray(wrapped[name], dtype=float), array, rtol=tolerance)


def test_float32_is_promoted() -> None:
    X, W = random.random((30, 9)).astype(np.float32), random.normal(size=(4, 30))
    Z, cache = nn.linear_forward(X, W, np.zeros((4, 1)))
    assert Z.dtype == np.float64
    assert_close(Z, W @ X)
    assert nn.Linear_backward(Z, cache)[1].dtype == np.float64


def test_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    X = torch.arange(12, dtype=torch.float64).reshape(3, 4)
    W, b = torch.ones((2, 3), dtype=torch.float64), torch.zeros((2, 1), dtype=torch.float64)
    parameters = {"W1": W, "b1": b}
    AL, caches = nn.L_model_forward(X, parameters)
    nn.Update_parameters(parameters, nn.L_model_backward(AL, np.eye(2)[:, [0, 1, 0, 1]], caches), 0.1)
    assert parameters["W1"] is W
    assert not torch.equal(W, torch.ones((2, 3), dtype=torch.float64))


X, W, b = np.ones((6, 4)), np.ones((3, 6)), np.ones((3, 1))
MISFITS = {
    "features": (lambda: nn.linear_forward(np.ones((5, 4)), W, b), r"A, W, b: .* A \(5, 4\), W \(3, 6\)"),
    "biases": (lambda: nn.linear_forward(X, W, np.ones((2, 1))), r"b \(2, 1\)"),
    "biases as a row": (lambda: nn.linear_forward(X, W, np.ones((1, 3))), r"b \(1, 3\)"),
    "one dimension": (lambda: nn.linear_forward(np.ones(6), W, b), r"A: expected a matrix.*\(6,\)"),
    "words": (lambda: nn.relu([["a"]]), "Z: expected real numbers"),
    "complex": (lambda: nn.relu(np.ones((2, 2), complex)), "Z: expected real numbers"),
    "relu": (lambda: nn.relu_backward(X, W), "dA, activation_cache: expected matrices of one shape"),
    "softmax": (lambda: nn.softmax_backward(X, W), "dA, activation_cache"),
    "cost": (lambda: nn.compute_cost(X, W), "AL, Y: expected matrices of one shape"),
    "no examples": (lambda: nn.compute_cost(np.ones((3, 0)), np.ones((3, 0))), "at least one example"),
    "backward": (lambda: nn.Linear_backward(np.ones((3, 5)), {"A": X, "W": W, "b": b}), r"dZ, A: .*dZ \(3, 5\)"),
    "units": (lambda: nn.Linear_backward(np.ones((2, 4)), {"A": X, "W": W, "b": b}), r"W, dZ: .*W \(3, 6\)"),
    "no parameters": (lambda: nn.L_model_forward(X, {}), "parameters: expected W1"),
    "step": (lambda: nn.Update_parameters({"W1": W, "b1": b}, {"dW1": X, "db1": b}, 1), "W1, dW1"),
    "predict": (lambda: nn.Predict(X, W, {"W1": W, "b1": b}), "AL, Y"),
}


@pytest.mark.parametrize(("call", "message"), MISFITS.values(), ids=MISFITS.keys())
def test_misfits(call: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        call()


def test_unknown_activation() -> None:
    with pytest.raises(ConfigError, match="activation: expected one of 'relu', 'softmax', found 'tanh'"):
        nn.linear_activation_forward(X, W, b, "tanh")


def test_spellings() -> None:
    assert nn.linear_backward is nn.Linear_backward
    assert nn.update_parameters is nn.Update_parameters
    assert nn.predict is nn.Predict
    assert nn.l_model_forward is nn.L_model_forward
    assert set(nn.__all__) <= set(vars(nn))
