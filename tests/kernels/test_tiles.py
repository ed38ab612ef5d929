"""The passes of a layer through one tile against NumPy, on matrices instead of tiles, and within networks."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray
from test_hidden import as_matrix, as_tiles, assert_close, each_dtype, lanes_of, normal

from fastfnn import layout
from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.engine import KernelEngine
from fastfnn.kernels.memory import round_up
from fastfnn.kernels.simd import backward_tile, forward_tile, gradient_tile, rows_of_tile, zeros
from fastfnn.training import train

Array = NDArray[Any]
compiled = numba.njit(error_model="numpy")
# Few units, more than the registers have room for, and as many as have loops.
SHAPES = [(20, 7), (7, 5), (1, 1), (3, 40), (33, 16), (64, 16), (130, 2), (2, 70)]
each_shape = pytest.mark.parametrize(("n_in", "n_out"), SHAPES)


def weights_of(n_in: int, n_out: int, dtype: str) -> tuple[Array, int]:
    """A matrix (K, H) and, as the first row behind it, biases; rows are whole vectors, and so wide."""
    width = int(round_up(n_out, lanes_of(dtype)))
    rows = np.zeros((n_in + 1, width), dtype)
    rows[:, :n_out] = normal((n_in + 1, n_out), dtype, 1)
    return rows, width


@each_dtype
@each_shape
@pytest.mark.parametrize("rectified", [0, 1])
def test_forward(n_in: int, n_out: int, rectified: int, dtype: str) -> None:
    rows, width = weights_of(n_in, n_out, dtype)
    lanes = lanes_of(dtype)
    x = normal((lanes, n_in), dtype)
    biases_at, to = n_in * width, n_in * lanes

    @compiled
    def forward(workspace, weights):
        forward_tile(workspace, 0, weights, 0, biases_at, to, n_in, n_out, width, rectified, zeros(workspace, 64))

    workspace = np.concatenate([as_tiles(x, n_in), np.full((n_out + 1) * lanes, 77, dtype)])
    forward(workspace, rows.reshape(-1))
    z = x.astype(np.float64) @ rows[:-1, :n_out] + rows[-1, :n_out]
    assert_close(as_matrix(workspace[to:-lanes], lanes, n_out, n_out), np.maximum(z, 0) if rectified else z, n_in)
    assert (workspace[-lanes:] == 77).all()


@each_dtype
def test_rectified_outputs_keep_nan(dtype: str) -> None:
    lanes = lanes_of(dtype)

    @compiled
    def forward(workspace, weights):
        forward_tile(workspace, 0, weights, 0, 1, lanes, 1, 1, lanes, 1, zeros(workspace, 64))

    workspace = np.zeros(2 * lanes, dtype)
    workspace[:2] = np.nan, -np.inf
    forward(workspace, np.eye(1, lanes, dtype=dtype).reshape(-1))
    assert np.isnan(workspace[lanes])
    assert (workspace[lanes + 1 :] == 0).all()


@each_dtype
@each_shape
@pytest.mark.parametrize("gated", [0, 1])
def test_backward(n_in: int, n_out: int, gated: int, dtype: str) -> None:
    rows, width = weights_of(n_in, n_out, dtype)
    lanes = lanes_of(dtype)
    x, dz = np.maximum(normal((lanes, n_in), dtype), 0), normal((lanes, n_out), dtype, 2)
    dz_at, to = n_in * lanes, (n_in + n_out) * lanes

    @compiled
    def backward(workspace, weights):
        backward_tile(workspace, dz_at, weights, 0, 0, to, 0.5, n_in, n_out, width, gated, zeros(workspace, 64))

    workspace = np.concatenate([as_tiles(x, n_in), as_tiles(dz, n_out), np.full((n_in + 1) * lanes, 77, dtype)])
    backward(workspace, rows.reshape(-1))
    expected = (dz.astype(np.float64) @ rows[:-1, :n_out].T) * (0.5 * (x > 0) if gated else 1)
    assert_close(as_matrix(workspace[to:-lanes], lanes, n_in, n_in), expected, n_out)
    assert (workspace[-lanes:] == 77).all()


@each_dtype
@each_shape
def test_gradient(n_in: int, n_out: int, dtype: str) -> None:
    """It is added to what is there, and zeros behind the last unit to what follows."""
    rows, width = weights_of(n_in, n_out, dtype)
    lanes = lanes_of(dtype)
    x, dz = normal((lanes, n_in), dtype, 3), normal((lanes, n_out), dtype, 2)
    dz_at, biases_to = n_in * lanes, n_in * width

    @compiled
    def gradient(workspace, target):
        gradient_tile(workspace, 0, dz_at, target, 0, biases_to, n_in, n_out, width, zeros(workspace, 64))

    target = rows.copy()
    gradient(np.concatenate([as_tiles(x, n_in), as_tiles(dz, n_out)]), target.reshape(-1))
    expected = rows.astype(np.float64)
    expected[:-1, :n_out] += x.astype(np.float64).T @ dz
    expected[-1, :n_out] += dz.astype(np.float64).sum(0)
    assert_close(target, expected, lanes)


@each_dtype
@pytest.mark.parametrize("units", [1, 7, 16, 20, 40])
def test_rows(units: int, dtype: str) -> None:
    lanes = lanes_of(dtype)
    width = int(round_up(units, lanes))
    dz, to = normal((lanes, units), dtype), units * lanes

    @compiled
    def write(workspace, sums):
        rows_of_tile(workspace, 0, to, -0.5, sums, 0, units, width, zeros(workspace, 64))

    workspace, sums = np.concatenate([as_tiles(dz, units), np.full(lanes * width, 77, dtype)]), np.ones(width, dtype)
    write(workspace, sums)
    rows = workspace[to:].reshape(lanes, width)
    np.testing.assert_array_equal(rows[:, :units], dz * dz.dtype.type(-0.5))
    assert (rows[:, units:] == 0).all()
    assert_close(sums[:units], 1 + dz.astype(np.float64).sum(0), lanes)
    assert (sums[units:] == 1).all()


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(0)
    return Dataset.from_arrays(rng.integers(0, 255, (210, 30), np.uint8), rng.integers(0, 4, 210), validation=10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch_size", [1, 16, 33, 200])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
def test_layers_together_train_as_one_by_one(
    data: Dataset, monkeypatch: pytest.MonkeyPatch, optimizer: str, batch_size: int, dtype: str
) -> None:
    def parameters() -> dict[str, Array]:
        options = {"hidden": (20, 7), "epochs": 2, "learning_rate": 0.01, "l2": 0.1}
        config = TrainingConfig(**options, batch_size=batch_size, optimizer=optimizer, dtype=dtype)
        return dict(train(data, config).network.parameters.tensors())

    together = parameters()
    monkeypatch.setattr(layout, "MOST_WEIGHTS", 0)
    for name, tensor in parameters().items():
        tolerance = 1e-4 if dtype == "float32" else 1e-11
        np.testing.assert_allclose(together[name], tensor, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, True),
        ({"hidden": ()}, False),
        ({"hidden": (20, 60)}, False),
        ({"activation": "tanh", "batchnorm": "before", "dropout": 0.1, "optimizer": "adam"}, True),
    ],
)
def test_which_layers_are_passed_together(data: Dataset, options: dict[str, Any], expected: bool) -> None:
    config = TrainingConfig(**({"hidden": (20, 7), "batch_size": 16} | options))
    assert KernelEngine(data, config).network.layout.layers_together == expected
