"""Matrix registers: every operation, and the products of wide layers, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from processes import run_python
from simd_probes import floats

from fastfnn.kernels import hidden_by_matrix, processor
from fastfnn.kernels.compilation import entry_point
from fastfnn.kernels.hidden import Product, WeightGradient
from fastfnn.kernels.matrices import Squares, add_terms, square_height, store_leading_parts, store_nearest_parts
from fastfnn.kernels.memory import room_for_squares
from fastfnn.kernels.processor import INTERPRETED, MATRICES
from fastfnn.kernels.simd import (
    SIDE,
    SQUARE,
    add_product,
    add_products,
    clear_register,
    leading_half,
    leave_matrix_registers,
    load,
    load_factors,
    load_register,
    load_sums,
    nearest_half,
    paired,
    repeat,
    store,
    store_register,
    store_sums,
    take_matrix_registers,
    transpose_pairs,
    zeros,
)
from fastfnn.layout import row_width

Array = NDArray[Any]
UNIT = 2.0**-24  # relative rounding error of float32
needs_registers = pytest.mark.skipif(not (MATRICES or INTERPRETED), reason="this processor has no matrix registers")


@entry_point
def halves(x, y, nearest, leading, pairs):
    like = zeros(x, 64)
    for i in range(0, len(x), SIDE):
        a, b = load(x, i, like), load(y, i, like)
        store(nearest_half(a), nearest, i)
        store(leading_half(a), leading, i)
        store(paired(leading_half(a), leading_half(b)), pairs, i)


@entry_point
def parts(x, nearest, leading):
    """The three parts of each number of x (16,), in rows of pairs with zeros."""
    like = zeros(x, 64)
    store_nearest_parts(load(x, 0, like), like, nearest, 0, SIDE)
    store_leading_parts(load(x, 0, like), like, leading, 0, SIDE)


@entry_point
def multiply(x, y, sums, first, second, stride):
    """sums += x @ y for a grid of two by two squares."""
    grid = repeat(repeat(zeros(sums, 64), 2), 2)
    take_matrix_registers(first, second)
    load_sums(sums, 0, 16 * stride, SIDE, stride, grid)
    load_factors(y, 0, SQUARE, grid[0])
    add_products(x, 0, SQUARE, grid)
    store_sums(sums, 0, 16 * stride, SIDE, stride, grid)
    leave_matrix_registers()


@entry_point
def multiply_registers(x, y, sums, rows, stride):
    """sums += x @ y for the registers of the first row of a grid; then those of the second row become zeros."""
    take_matrix_registers(rows, 3)
    load_register(0, sums, 0, stride)
    load_register(4, x, 0, SIDE)
    load_register(7, y, 0, SIDE)
    add_product(0, 4, 7)
    store_register(0, sums, 0, stride)
    clear_register(2)
    store_register(2, sums, 16 * stride, stride)
    leave_matrix_registers()


@entry_point
def pairs_of_rows(source, starts, target):
    transpose_pairs(source, starts, 1, 3, target, 16, zeros(target, 64))


@entry_point
def wide_product(product, tiles, squares):
    hidden_by_matrix.multiply(product, tiles, squares, zeros(squares, 64))


@entry_point
def wide_gradient(product, examples, squares):
    hidden_by_matrix.gradient(product, examples, squares, zeros(squares, 64))


def bits(x: Array) -> Array:
    return x.view(np.uint32)


def low_and_high(words: Array) -> tuple[Array, Array]:
    return (bits(words) << np.uint32(16)).view(np.float32), (bits(words) & np.uint32(0xFFFF0000)).view(np.float32)


def random_pairs(rows: int, seed: int) -> Array:
    """Words of two bfloat16 numbers each (rows, 16)."""
    numbers = np.random.default_rng(seed).normal(size=(2, rows, SIDE)).astype(np.float32)
    return ((bits(numbers[0]) >> np.uint32(16)) | (bits(numbers[1]) & np.uint32(0xFFFF0000))).view(np.float32)


def test_halves_of_numbers() -> None:
    x, y = (floats("float32", seed=seed) for seed in (1, 2))
    nearest, leading, pairs = (np.zeros_like(x) for _ in range(3))
    halves(x, y, nearest, leading, pairs)
    for found, expected in zip(low_and_high(pairs), (x, y), strict=True):
        np.testing.assert_array_equal(bits(found), bits(expected) & 0xFFFF0000)
    np.testing.assert_array_equal(bits(leading), bits(x) & 0xFFFF0000)
    finite = np.isfinite(x) & (np.abs(x) < 3e38)  # the largest numbers are rounded to infinity
    assert (bits(nearest) & 0xFFFF == 0).all()
    distance = np.abs(nearest[finite].astype(float) - x[finite])
    spacing = 2.0 ** (np.maximum(np.frexp(x[finite])[1], -125) - 8)
    assert (distance <= spacing / 2).all()
    assert (nearest[x == np.inf] == np.inf).all()


def test_three_parts_make_up_a_number() -> None:
    for seed in range(20):
        x = np.random.default_rng(seed).normal(size=SIDE).astype(np.float32)
        nearest, leading = np.zeros(3 * SIDE, np.float32), np.zeros(3 * SIDE, np.float32)
        parts(x, nearest, leading)
        for found in (nearest, leading):
            low, high = low_and_high(found.reshape(3, SIDE))
            np.testing.assert_array_equal(low.sum(axis=0), x)
            assert not high.any()
        low, _ = low_and_high(nearest.reshape(3, SIDE))
        assert (np.abs(low[1]) <= np.abs(x) * 2.0**-8).all()
        assert (np.abs(low[2]) <= np.abs(x) * 2.0**-16).all()


@needs_registers
@pytest.mark.parametrize(("first", "second"), [(16, 16), (16, 5), (1, 1), (10, 10)])
def test_products_of_squares(first: int, second: int) -> None:
    """Two by two squares; rows that there are not stay as they were."""
    x, y = random_pairs(32, 0), random_pairs(32, 1)
    before = np.random.default_rng(2).normal(size=(32, 37)).astype(np.float32)
    sums = before.copy()
    multiply(x.reshape(-1), y.reshape(-1), sums.reshape(-1), first, second, 37)
    expected, terms = before.astype(float), np.abs(before).astype(float)
    for i, rows in enumerate((first, second)):
        for j in range(2):
            where = np.s_[16 * i : 16 * i + rows, 16 * j : 16 * j + 16]
            of_x, of_y = x[16 * i : 16 * i + rows], y[16 * j : 16 * j + 16]
            for a, b in zip(low_and_high(of_x), low_and_high(of_y), strict=True):
                expected[where] += a.astype(float) @ b
                terms[where] += np.abs(a).astype(float) @ np.abs(b)
    assert (np.abs(sums - expected) <= 34 * UNIT * terms).all()
    np.testing.assert_array_equal(sums[:, 32:], before[:, 32:])
    np.testing.assert_array_equal(sums[first:16], before[first:16])
    np.testing.assert_array_equal(sums[16 + second :], before[16 + second :])


@needs_registers
@pytest.mark.parametrize("rows", [16, 5, 1])
def test_products_of_registers(rows: int) -> None:
    """By their numbers; bit for bit what a grid of one row and one column gets."""
    x, y = random_pairs(32, 0), random_pairs(32, 1)
    before = np.random.default_rng(2).normal(size=(32, 37)).astype(np.float32)
    sums, of_grid = before.copy(), before.copy()
    multiply_registers(x.reshape(-1), y.reshape(-1), sums.reshape(-1), rows, 37)
    multiply(x.reshape(-1), y.reshape(-1), of_grid.reshape(-1), rows, 3, 37)
    np.testing.assert_array_equal(sums[:rows, :16], of_grid[:rows, :16])
    np.testing.assert_array_equal(sums[16:19, :16], 0)
    sums[:rows, :16], sums[16:19, :16] = before[:rows, :16], before[16:19, :16]
    np.testing.assert_array_equal(sums, before)


def test_pairs_of_columns() -> None:
    source = np.random.default_rng(0).integers(0, 256, 4000).astype(np.uint8)
    starts = np.random.default_rng(1).integers(0, 3900, 17)
    target = np.full(SQUARE + 32, 7, np.float32)
    pairs_of_rows(source, starts, target)
    low, high = low_and_high(target[16:-16].reshape(SIDE, SIDE))
    rows = np.stack([source[start + 3 : start + 35] for start in starts[1:]])
    np.testing.assert_array_equal(np.concatenate((low, high)), rows.T)
    assert (np.concatenate((target[:16], target[-16:])) == 7).all()


@pytest.mark.parametrize("units", [1, 5, 16, 17, 20, 33, 100, 300, 512])
def test_squares_are_about_the_same(units: int) -> None:
    height = getattr(square_height, "py_func", square_height)(units)
    squares = -(-units // height)
    assert height <= SIDE
    assert squares == -(-units // SIDE)
    # Sixteen units are read from the first one of each square on.
    assert (squares - 1) * height + SIDE <= row_width(units, SIDE)


def as_tiles(matrix: Array, tiles: int, units: int) -> Array:
    """(examples, K) as (tiles, units, 16), with zeros where there is nothing."""
    result = np.zeros((tiles * SIDE, units), np.float32)
    result[: len(matrix), : matrix.shape[1]] = matrix
    return np.ascontiguousarray(result.reshape(tiles, SIDE, units).transpose(0, 2, 1))


def as_matrix(tiles: Array, examples: int, units: int) -> Array:
    return tiles.transpose(0, 2, 1).reshape(-1, tiles.shape[1])[:examples, :units]


def assert_as_precise_as_float32(found: Array, x: Array, y: Array, start: Any = 0.0) -> None:
    """Higham's bound for a sum of products in any order."""
    exact, terms = x.astype(float) @ y + start, np.abs(x).astype(float) @ np.abs(y) + np.abs(start)
    assert (np.abs(found - exact) <= (x.shape[1] + 3) * UNIT * terms).all()


@needs_registers
@pytest.mark.parametrize("tiles", [1, 2, 7, 8])
@pytest.mark.parametrize(("n_in", "n_out"), [(16, 16), (40, 20), (33, 100), (100, 33), (1100, 48)])
def test_wide_products(n_in: int, n_out: int, tiles: int) -> None:
    """Forward with biases, and backward without, through the same weights (K, H)."""
    generator, stride = np.random.default_rng(0), row_width(n_out, SIDE)
    x = generator.normal(size=(tiles * SIDE, n_in)).astype(np.float32)
    weights = np.zeros((n_in, stride), np.float32)
    weights[:, :n_out] = generator.normal(size=(n_in, n_out))
    biases = generator.normal(size=n_out).astype(np.float32)
    parameters = np.concatenate((weights.reshape(-1), biases))
    of_x, of_z = as_tiles(x, tiles, n_in + 2), as_tiles(np.full((1, 1), np.nan), tiles, n_out + 1)
    workspace, at = np.concatenate((of_x.reshape(-1), of_z.reshape(-1))), of_x.size
    sizes = ((n_in + 2) * SIDE, (n_out + 1) * SIDE)
    squares = np.full(room_for_squares(n_in, n_out), np.nan, np.float32)
    forward = Product(workspace, 0, sizes[0], n_in, parameters, 0, stride, 1, weights.size, at, sizes[1], n_out, False)
    wide_product(forward, tiles, squares)
    z = as_matrix(workspace[at:].reshape(of_z.shape), tiles * SIDE, n_out)
    assert_as_precise_as_float32(z, x, weights[:, :n_out], biases)
    backward = Product(workspace, at, sizes[1], n_out, parameters, 0, 1, stride, -1, 0, sizes[0], n_in, False)
    wide_product(backward, tiles, squares)
    found = as_matrix(workspace[:at].reshape(of_x.shape), tiles * SIDE, n_in)
    assert_as_precise_as_float32(found, z, weights[:, :n_out].T)


@needs_registers
@pytest.mark.parametrize("n_out", [16, 20, 70])
@pytest.mark.parametrize("examples", [1, 16, 33, 128, 300])
def test_wide_gradients(examples: int, n_out: int) -> None:
    """The rows 3..39 of 41, and nothing else; lanes behind the last example have numbers that do not count."""
    generator, n_in, stride = np.random.default_rng(0), 41, row_width(n_out, SIDE)
    tiles = -(-examples // SIDE)
    x = generator.normal(size=(tiles * SIDE, n_in)).astype(np.float32)
    dz = generator.normal(size=(tiles * SIDE, stride)).astype(np.float32)
    dz[:, n_out:] = 0
    of_x = as_tiles(x, tiles, n_in)
    workspace, gradients = np.concatenate((of_x.reshape(-1), dz.reshape(-1))), np.full((n_in, stride), 77, np.float32)
    where = (of_x.size, stride, n_out, 3, 39)
    product = WeightGradient(workspace, 0, n_in * SIDE, *where, gradients.reshape(-1), 0, stride)
    wide_gradient(product, examples, np.full(room_for_squares(n_in, n_out), np.nan, np.float32))
    assert_as_precise_as_float32(gradients[3:39, :n_out], x[:examples, 3:39].T, dz[:examples, :n_out])
    assert (gradients[[0, 1, 2, 39, 40]] == 77).all()


@pytest.mark.skipif(not MATRICES, reason="this processor has no matrix registers")
def test_registers_are_not_used_where_they_are_not_to_be_compiled_for() -> None:
    program = "from fastfnn.kernels.processor import MATRICES; print(MATRICES)"
    without = processor.features().replace("+amx-bf16", "-amx-bf16")
    assert run_python("-c", program).strip() == "True"
    assert run_python("-c", program, NUMBA_CPU_FEATURES=without).strip() == "False"


@needs_registers
@pytest.mark.parametrize("leading", [False, True])
def test_terms_of_all_parts_are_as_precise_as_float32(leading: bool) -> None:
    """Also where the second factor's parts are cut, as those of values are."""
    x = np.float32(1 + 2.0**-20) * np.ones(SQUARE, np.float32)
    squares = np.zeros((2, 3, SQUARE), np.float32)
    terms_of_parts(x, leading, squares.reshape(-1), sums := np.zeros(SQUARE, np.float32))
    np.testing.assert_allclose(sums, 32 * (1 + 2.0**-20) ** 2, rtol=40 * UNIT)


@entry_point
def terms_of_parts(x, leading, squares, sums):
    like = zeros(x, 64)
    for i in range(0, SQUARE, SIDE):
        v = load(x, i, like)
        store_nearest_parts(v, v, squares, i, SQUARE)
        if leading:
            store_leading_parts(v, v, squares, 3 * SQUARE + i, SQUARE)
        else:
            store_nearest_parts(v, v, squares, 3 * SQUARE + i, SQUARE)
    grid = repeat(repeat(like, 1), 1)
    take_matrix_registers(16, 1)
    load_sums(sums, 0, 0, 0, SIDE, grid)
    add_terms(Squares(squares, 0, 0, SQUARE, 3), Squares(squares, 3 * SQUARE, 0, SQUARE, 3), 0, 0, 0, grid)
    store_sums(sums, 0, 0, 0, SIDE, grid)
    leave_matrix_registers()
