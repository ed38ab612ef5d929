"""The activations' kernels against NumPy in a higher precision, and what they do at the ends of the numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from fastfnn.kernels import activations
from fastfnn.kernels.simd import load, store, zeros

Array = NDArray[Any]
EXTREME = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-30, -1e-30, 0.625, np.nextafter(0.625, 0), 90, -90, 800, -800, 0.1]


@numba.njit(error_model="numpy")
def of_vectors(x, out):
    """Every activation of the vectors of x, one after the other."""
    like, n = zeros(x, 64), len(x)
    for i in range(0, n, len(like)):
        store(activations.relu(load(x, i, like)), out, i)
        store(activations.logistic(load(x, i, like)), out, n + i)
        store(activations.tanh(load(x, i, like)), out, 2 * n + i)


def activated(x: Array) -> dict[str, Array]:
    padded = np.concatenate((x, np.zeros(-len(x) % 16, x.dtype)))
    out = np.empty(3 * len(padded), x.dtype)
    of_vectors(padded, out)
    return dict(zip(("relu", "logistic", "tanh"), out.reshape(3, -1)[:, : len(x)], strict=True))


EXACT: dict[str, Callable[[Array], Array]] = {
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
}


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_within_4_ulp(name: str, dtype: str) -> None:
    generator = np.random.default_rng(0)
    x = np.concatenate(
        (generator.normal(0, 1, 40_000), generator.uniform(-20, 20, 20_000), np.geomspace(1e-12, 1, 999))
    )
    found = activated(x.astype(dtype))[name]
    exact = EXACT[name](x.astype(dtype).astype(np.longdouble))
    errors = np.abs(found.astype(np.longdouble) - exact) / np.spacing(np.abs(exact).astype(dtype))
    assert errors.max() <= 4


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ends_of_the_numbers(dtype: str) -> None:
    x = np.array(EXTREME, dtype)
    found = activated(x)
    np.testing.assert_allclose(found["tanh"], np.tanh(x), rtol=1e-6)
    np.testing.assert_array_equal(np.signbit(found["tanh"][:2]), [False, True])
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(found["logistic"], 1 / (1 + np.exp(-x)), rtol=1e-6, atol=1e-38)
    np.testing.assert_array_equal(found["relu"], np.maximum(x, 0))
