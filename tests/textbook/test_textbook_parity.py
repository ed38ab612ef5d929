"""A script whose functions are replaced, all or some, arrives at the same parameters."""

from __future__ import annotations

import copy
from typing import Any

import naive
import numpy as np
import pytest
from columns import difference, initial, loop

from fastfnn import textbook as nn

Array = Any
STEPS = 200

FUNCTIONS = [name for name in vars(naive) if callable(getattr(nn, name, None))]


@pytest.fixture(scope="module")
def expected(pixels: tuple[Array, Array]) -> tuple[dict[str, Array], list[float]]:
    return loop(*pixels, STEPS, initial(), naive, naive)


@pytest.mark.parametrize(
    ("forward", "backward"), [(nn, nn), (nn, naive), (naive, nn)], ids=["all", "forward", "backward"]
)
def test_swapping_modules(forward: Any, backward: Any, X_and_Y: tuple[Array, Array], expected: Any) -> None:
    parameters, costs = loop(*X_and_Y, STEPS, initial(), forward, backward)
    assert difference(parameters, expected[0]) < 1e-10
    np.testing.assert_allclose(costs, expected[1], rtol=1e-10)
    X, Y = X_and_Y
    assert nn.Predict(X, Y, parameters) == naive.Predict(X, Y, expected[0])


def test_swapping_with_batchnorm(X_and_Y: tuple[Array, Array]) -> None:
    ours, theirs = (loop(*X_and_Y, STEPS, initial(), lib, lib, use_batchnorm=True) for lib in (nn, naive))
    assert difference(ours[0], theirs[0]) < 1e-10
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-10)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_swapping_one_function(name: str, pixels: tuple[Array, Array], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each function alone, called by the functions of the script."""
    start = initial()
    theirs, their_costs = loop(*pixels, 10, copy.deepcopy(start), naive, naive, use_batchnorm=True)
    monkeypatch.setattr(naive, name, getattr(nn, name))
    ours, costs = loop(*pixels, 10, copy.deepcopy(start), naive, naive, use_batchnorm=True)
    assert difference(ours, theirs) < 1e-10
    np.testing.assert_allclose(costs, their_costs, rtol=1e-10)


def test_functions_that_scripts_have_are_all_there() -> None:
    assert {"linear_forward", "L_model_backward", "apply_batchnorm", "Predict", "L_layer_model"} <= set(FUNCTIONS)
    assert len(FUNCTIONS) == 17


def test_the_legacy_stream_gives_the_same_initial_weights() -> None:
    np.random.seed(5)
    ours = nn.initialize_parameters([6, 4, 3])
    np.random.seed(5)
    theirs = naive.initialize_parameters([6, 4, 3])
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array)
        np.testing.assert_array_equal(nn.initialize_parameters([6, 4, 3], random_state=5)[name], array)


SCALES = {
    "he": lambda n_in, n_out: np.sqrt(2 / n_in),
    "xavier": lambda n_in, n_out: np.sqrt(2 / (n_in + n_out)),
    "1/n_in": lambda n_in, n_out: np.sqrt(1 / n_in),
    "1/n_out": lambda n_in, n_out: 1 / n_out,
    "normal": lambda n_in, n_out: 1,
    0.01: lambda n_in, n_out: 0.01,
}


@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_scales_of_initial_weights(scale: Any) -> None:
    np.random.seed(7)
    theirs = naive.initialize_parameters([6, 4, 3], SCALES[scale])
    for given in (scale, SCALES[scale]):
        ours = nn.initialize_parameters([6, 4, 3], given, random_state=7)
        assert difference(ours, theirs) < 1e-15


def test_initial_weights_from_a_generator() -> None:
    ours = nn.initialize_parameters([6, 4], "normal", random_state=np.random.default_rng(3))
    np.testing.assert_array_equal(ours["W1"], np.random.default_rng(3).standard_normal((4, 6)))


def test_nothing_that_is_passed_is_changed(X_and_Y: tuple[Array, Array]) -> None:
    X, Y = X_and_Y[0][:, :50], X_and_Y[1][:, :50]
    parameters = initial()
    before = copy.deepcopy((X, Y, parameters))
    AL, caches = nn.L_model_forward(X, parameters, use_batchnorm=True)
    kept = AL.copy(), copy.deepcopy(caches)
    grads = nn.L_model_backward(AL, Y, caches)
    nn.compute_cost(AL, Y, parameters, 0.1)
    nn.Predict(X, Y, parameters)
    nn.L_layer_model(X, Y, [784, 4, 10], num_iterations=1, batch_size=16)
    assert set(grads) >= {"dW1", "dA0"}
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(Y, before[1])
    assert difference(parameters, before[2]) == 0
    np.testing.assert_array_equal(AL, kept[0])
    for (linear_cache, Z), (linear_before, Z_before) in zip(caches, kept[1], strict=True):
        np.testing.assert_array_equal(Z, Z_before)
        assert difference(linear_cache, linear_before) == 0


def test_the_step_is_in_place_and_returned() -> None:
    parameters = initial([6, 4, 3])
    arrays = dict(parameters)
    grads = {f"d{name}": np.ones_like(array) for name, array in parameters.items()}
    expected = {name: array - 0.1 for name, array in parameters.items()}
    assert nn.Update_parameters(parameters, grads, 0.1) is parameters
    assert all(parameters[name] is array for name, array in arrays.items())
    assert difference(parameters, expected) < 1e-15


def test_what_cannot_be_changed_is_replaced() -> None:
    frozen = np.ones((2, 3))
    frozen.flags.writeable = False
    parameters = {"W1": frozen, "b1": [[0.0], [0.0]]}
    nn.Update_parameters(parameters, {"dW1": np.ones((2, 3)), "db1": np.ones((2, 1))}, 0.5)
    assert (np.asarray(parameters["W1"]) == 0.5).all()
    assert (np.asarray(parameters["b1"]) == -0.5).all()
    assert (frozen == 1).all()


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda W: np.repeat(W, 2, axis=1)[:, ::2]])
def test_steps_of_parameters_in_any_layout(layout: Any) -> None:
    parameters = {"W1": layout(np.ones((3, 4))), "b1": np.ones((3, 1))}
    W1, gradient = parameters["W1"], np.arange(12.0).reshape(3, 4)
    nn.Update_parameters(parameters, {"dW1": gradient, "db1": np.zeros((3, 1))}, 1)
    assert parameters["W1"] is W1
    np.testing.assert_array_equal(W1, 1 - gradient)
