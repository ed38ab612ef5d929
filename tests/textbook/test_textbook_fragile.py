"""The numerically fragile things that users meet: each gives a finite, correct number or a clear error."""

from __future__ import annotations

from typing import Any

import naive
import numpy as np
import pytest
from columns import SIZES, difference

from fastfnn import textbook as nn

Array = Any


def test_zero_times_log_zero() -> None:
    """Wrong classes with probability 0 cost nothing; the formula that multiplies says NaN."""
    AL, Y = np.array([[1.0, 0.25], [0.0, 0.75]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    with np.errstate(divide="ignore", invalid="ignore"):
        assert np.isnan(naive.compute_cost(AL, Y))
    assert nn.compute_cost(AL, Y) == pytest.approx(-np.log(0.75) / 2, rel=1e-15)


def test_a_true_class_of_probability_zero_is_finite() -> None:
    assert nn.compute_cost(np.array([[0.0], [1.0]]), np.array([[1.0], [0.0]])) == pytest.approx(744.44, abs=0.01)
    assert nn.compute_cost(np.array([[0.0], [1.0]]), np.array([[1.0], [0.0]]), logarithm=nn.Logarithm(eps=1e-8)) < 20


@pytest.mark.parametrize("values", [[1000.0, 999.0], [-1000.0, -1001.0], [1e308, 1e308]])
def test_exponentials_do_not_overflow(values: list[float]) -> None:
    A, _ = nn.softmax(np.array(values).reshape(-1, 1))
    expected = np.exp(np.array(values) - max(values))
    np.testing.assert_allclose(A[:, 0], expected / expected.sum(), rtol=1e-14)


def test_a_column_far_below_the_largest_does_not_underflow() -> None:
    """Shifted by the maximum of the whole matrix, the first column would be 0 / 0."""
    A, _ = nn.softmax(np.array([[-900.0, 900.0], [-901.0, 0.0]]))
    np.testing.assert_allclose(A[:, 0], naive.softmax(np.array([[0.0], [-1.0]]))[0][:, 0], rtol=1e-14)
    np.testing.assert_allclose(A.sum(axis=0), 1)


def test_raw_pixels(pixels: tuple[Array, Array]) -> None:
    """0..255 without division: a large first cost, gradients to match, and the same numbers as the twin's."""
    X, Y = pixels[0][:, :640] * 255, pixels[1][:, :640]
    parameters = nn.initialize_parameters(SIZES, random_state=1)
    AL, caches = nn.L_model_forward(X, parameters)
    assert np.isfinite(nn.compute_cost(AL, Y))
    assert nn.compute_cost(AL, Y) > 10
    grads = nn.L_model_backward(AL, Y, caches)
    assert difference(grads, naive.L_model_backward(AL, Y, caches)) < 1e-12
    _, costs = nn.L_layer_model(X, Y, SIZES, 1e-6, 30, 128, random_state=1)
    assert np.isfinite(costs).all()
    assert costs[-1] < costs[0]


def test_plain_normal_weights(pixels: tuple[Array, Array]) -> None:
    """The first cost is of the order of 25 instead of 2.3, and falls."""
    X, Y = pixels
    _, costs = nn.L_layer_model(X, Y, SIZES, 0.009, 8, 128, scale="normal", random_state=2)
    np.random.seed(2)
    expected = naive.L_layer_model(X[:, :128], Y[:, :128], SIZES, 0.009, 1, 128, scale=lambda n_in, n_out: 1)[1]
    assert costs[0] > 10
    assert costs[0] == pytest.approx(expected[0], rel=1e-10)
    assert costs[-1] < costs[0]


def test_dead_units(pixels: tuple[Array, Array]) -> None:
    """With a dead layer the cost stays at log(10); the biases of the last layer go on learning, and nothing is NaN."""
    X, Y = pixels[0][:, :640], pixels[1][:, :640]
    parameters = nn.initialize_parameters(SIZES, random_state=1)
    parameters["b3"] -= 1e6
    for use_batchnorm in (False, True):
        AL, caches = nn.L_model_forward(X, parameters, use_batchnorm)
        assert nn.compute_cost(AL, Y) == pytest.approx(np.log(10))
        grads = nn.L_model_backward(AL, Y, caches)
        assert not any(grads[f"dW{layer}"].any() for layer in (1, 2, 3, 4))
        assert grads["db4"].any()
        trained, costs = nn.L_layer_model(X, Y, SIZES, 0.01, 40, 64, use_batchnorm, parameters=parameters)
        assert costs == pytest.approx([np.log(10)] * 4, abs=0.05)
        np.testing.assert_array_equal(trained["W3"], parameters["W3"])


def test_constant_features_under_batchnorm() -> None:
    assert not nn.apply_batchnorm(np.full((3, 8), 0.1)).any()
