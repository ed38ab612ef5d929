"""The products of later layers against NumPy, on matrices instead of tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastfnn.kernels import hidden
from fastfnn.kernels.compilation import entry_point
from fastfnn.kernels.hidden import Product, WeightGradient
from fastfnn.kernels.memory import round_up
from fastfnn.kernels.simd import zeros, zeros_of

Array = NDArray[Any]
TOLERANCES = {"float32": 1e-5, "float64": 1e-13}
each_dtype = pytest.mark.parametrize("dtype", TOLERANCES)


@entry_point
def multiply(product, tiles):
    hidden.multiply(product, tiles, zeros(product.workspace, 64))


@entry_point
def gradient_by_tiles(product, tiles, scratch):
    like = zeros(product.workspace, 64)
    hidden.gradient_by_tiles(product, tiles, scratch, like, zeros_of(like, 4))


@entry_point
def gradient_by_rows(product, examples):
    hidden.gradient_by_rows(product, examples, zeros(product.workspace, 64))


@entry_point
def bias_gradient(workspace, dz_tile, n_out, tiles, gradients, scratch):
    hidden.bias_gradient(workspace, 0, dz_tile, n_out, tiles, gradients, 0, scratch, zeros(workspace, 64))


@entry_point
def rows_of_tile(workspace, n, target, stride):
    hidden.rows_of_tile(workspace, 0, n, target, 0, stride, zeros(workspace, 64))


def lanes_of(dtype: str) -> int:
    return 64 // np.dtype(dtype).itemsize


def normal(shape: tuple[int, ...], dtype: str, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def as_tiles(matrix: Array, units: int) -> Array:
    """The examples (N, K) as tiles of `units` vectors, flat; zeros where there is nothing."""
    n, k = matrix.shape
    lanes = lanes_of(str(matrix.dtype))
    tiles = np.zeros((round_up(n, lanes) // lanes, units, lanes), matrix.dtype)
    padded = np.zeros((len(tiles) * lanes, k), matrix.dtype)
    padded[:n] = matrix
    tiles[:, :k] = padded.reshape(len(tiles), lanes, k).transpose(0, 2, 1)
    return tiles.reshape(-1)


def as_matrix(tiles: Array, n: int, units: int, k: int) -> Array:
    """The reverse of `as_tiles`."""
    lanes = lanes_of(str(tiles.dtype))
    return tiles.reshape(-1, units, lanes)[:, :k].transpose(0, 2, 1).reshape(-1, k)[:n]


def assert_close(found: Array, expected: Array, terms: int) -> None:
    tolerance = TOLERANCES[str(found.dtype)] * np.sqrt(terms)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(1, np.abs(expected).max()))


@each_dtype
@pytest.mark.parametrize("tiles", [1, 3, 4, 9])
@pytest.mark.parametrize("n_out", [1, 4, 5, 7, 21])
@pytest.mark.parametrize("n_in", [1, 5, 130, 300])
def test_products(n_in: int, n_out: int, tiles: int, dtype: str) -> None:
    """Forward with biases and ReLU, and backward with neither, through the same weights (K, H) with longer rows."""
    lanes, stride = lanes_of(dtype), n_out + 3
    x, weights = normal((tiles * lanes, n_in), dtype), normal((n_in, stride), dtype, 1)
    biases = normal((n_out,), dtype, 2)
    parameters = np.concatenate([weights.reshape(-1), biases])
    in_units, out_units = n_in + 2, n_out + 1
    room = as_tiles(np.zeros((tiles * lanes, 1), dtype), out_units)
    workspace = np.concatenate([as_tiles(x, in_units), room])
    at = len(workspace) - len(room)
    sizes = (in_units * lanes, out_units * lanes)
    forward = Product(workspace, 0, sizes[0], n_in, parameters, 0, stride, 1, weights.size, at, sizes[1], n_out, True)
    multiply(forward, tiles)
    z = x.astype(np.float64) @ weights[:, :n_out] + biases
    out = as_matrix(workspace[at:], tiles * lanes, out_units, n_out)
    assert_close(out, np.maximum(z, 0), n_in)
    backward = Product(workspace, at, sizes[1], n_out, parameters, 0, 1, stride, -1, 0, sizes[0], n_in, False)
    multiply(backward, tiles)
    assert_close(as_matrix(workspace[:at], tiles * lanes, in_units, n_in), out @ weights[:, :n_out].T, n_out)


@each_dtype
@pytest.mark.parametrize("n_out", [1, 7, 16, 20, 70])
@pytest.mark.parametrize("examples", [1, 16, 33, 130, 300])
def test_weight_gradients(examples: int, n_out: int, dtype: str) -> None:
    """From tiles and from rows: the rows 2..12 of 13, and nothing else."""
    n_in, lanes = 13, lanes_of(dtype)
    x, dz = normal((examples, n_in), dtype), normal((examples, n_out), dtype, 1)
    expected = (x.astype(np.float64).T @ dz)[2:12]
    stride = int(round_up(n_out, lanes)) + lanes
    dz_rows = np.zeros((examples, stride), dtype)
    dz_rows[:, :n_out] = dz
    x_tiles, dz_tiles = as_tiles(x, n_in), as_tiles(dz, n_out)
    workspace = np.concatenate([x_tiles, dz_tiles, dz_rows.reshape(-1)])
    at, rows_at = len(x_tiles), len(x_tiles) + len(dz_tiles)
    for by_rows in (False, True):
        gradients = np.full((n_in, stride), 77, dtype)
        where = (rows_at, stride) if by_rows else (at, n_out * lanes)
        product = WeightGradient(workspace, 0, n_in * lanes, *where, n_out, 2, 12, gradients.reshape(-1), 0, stride)
        if by_rows:
            gradient_by_rows(product, examples)
        else:
            gradient_by_tiles(product, round_up(examples, lanes) // lanes, np.zeros(16, dtype))
        assert_close(gradients[2:12, :n_out], expected, examples)
        assert (gradients[[0, 1, 12]] == 77).all()


@each_dtype
@pytest.mark.parametrize("n_out", [1, 7, 16, 20])
@pytest.mark.parametrize("examples", [1, 33, 130])
def test_bias_gradient(examples: int, n_out: int, dtype: str) -> None:
    dz, lanes, width = normal((examples, n_out), dtype), lanes_of(dtype), int(round_up(n_out, 16))
    workspace = np.concatenate([as_tiles(dz, n_out), np.full(16 * lanes, 5, dtype)])  # more is read than there is
    gradients = np.full(width + 1, 77, dtype)
    bias_gradient(workspace, n_out * lanes, n_out, round_up(examples, lanes) // lanes, gradients, np.zeros(16, dtype))
    assert_close(gradients[:n_out], dz.astype(np.float64).sum(0), examples)
    assert gradients[n_out:].tolist() == [0] * (width - n_out) + [77]


@each_dtype
@pytest.mark.parametrize("n", [1, 7, 16, 20])
def test_rows_of_a_tile(n: int, dtype: str) -> None:
    lanes = lanes_of(dtype)
    matrix, stride = normal((lanes, n), dtype), int(round_up(n, lanes)) + 2
    target = np.full(lanes * stride, 77, dtype)
    rows_of_tile(as_tiles(matrix, n), n, target, stride)
    rows = target.reshape(lanes, stride)
    np.testing.assert_array_equal(rows[:, :n], matrix)
    assert (rows[:, n:-2] == 0).all()
    assert (rows[:, -2:] == 77).all()
