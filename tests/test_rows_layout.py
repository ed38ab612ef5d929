"""Rows as the kernels read them, and where the layout puts things in the flat buffers."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from fastfnn import rows as rows_module
from fastfnn.config import NetworkConfig
from fastfnn.data import Dataset
from fastfnn.kernels import EVALUATION_BLOCK, DenseRows, Layout, SparseRows
from fastfnn.layout import first_layer_widths, lanes_of, make_layout, panels, round_up
from fastfnn.packing import PackedNetwork, aligned_zeros
from fastfnn.parameters import initialise
from fastfnn.rows import density, make_rows, rows_of_split

Array = NDArray[Any]

# --------------------------------------------------------------------------------------------------------------- rows


def to_matrix(rows: SparseRows | DenseRows, n_features: int) -> Array:
    """The matrix that rows stand for."""
    if isinstance(rows, DenseRows):
        assert rows.features == n_features
        return rows.values.reshape(-1, n_features)
    shape = (len(rows.offsets) - 1, n_features)
    return np.asarray(csr_matrix((rows.values, rows.columns.astype(np.int64), rows.offsets), shape).toarray())


matrices = arrays.arrays(
    st.sampled_from([np.uint8, np.float32, np.float64]),
    arrays.array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.integers(0, 255),
    fill=st.just(0),
)


@given(matrices, st.sampled_from(["auto", "sparse", "dense"]), st.sampled_from(["float32", "float64"]), st.booleans())
@settings(max_examples=150, deadline=None)
def test_rows_stand_for_their_matrix(matrix: Array, kind: Any, dtype: str, compressed: bool) -> None:
    rows = make_rows(csr_matrix(matrix) if compressed else matrix, kind, dtype)
    np.testing.assert_array_equal(to_matrix(rows, matrix.shape[1]), matrix)
    assert rows.values.dtype == (np.uint8 if matrix.dtype == np.uint8 else np.dtype(dtype))
    if kind != "auto":
        assert isinstance(rows, SparseRows if kind == "sparse" else DenseRows)
    if isinstance(rows, SparseRows):
        assert rows.offsets.dtype == np.int64
        assert rows.offsets[-1] == len(rows.columns) == len(rows.values) == np.count_nonzero(matrix)


def test_rows_by_hand() -> None:
    rows = make_rows(np.array([[0, 7, 0], [0, 0, 0], [1, 0, 2]], np.uint8), "sparse", "float32")
    assert isinstance(rows, SparseRows)
    assert rows.offsets.tolist() == [0, 1, 1, 3]
    assert rows.columns.tolist() == [1, 0, 2]
    assert rows.values.tolist() == [7, 1, 2]


@pytest.mark.parametrize(("n_features", "expected"), [(1, "uint16"), (65_536, "uint16"), (65_537, "uint32")])
@pytest.mark.parametrize("compressed", [False, True])
def test_columns_are_as_narrow_as_they_can_be(n_features: int, expected: str, compressed: bool) -> None:
    matrix = np.zeros((2, n_features), np.uint8)
    matrix[1, -1] = 9
    rows = make_rows(csr_matrix(matrix) if compressed else matrix, "sparse", "float32")
    assert isinstance(rows, SparseRows)
    assert rows.columns.dtype == expected
    assert rows.columns.tolist() == [n_features - 1]


def test_rows_made_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = np.random.default_rng(0).integers(0, 3, (23, 5)).astype(np.uint8)
    matrix[5:10] = 0
    whole = make_rows(matrix, "sparse", "float32")
    monkeypatch.setattr(rows_module, "CHUNK_ROWS", 5)
    for a, b in zip(make_rows(matrix, "sparse", "float32"), whole, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("nonzero", "expected"), [(49, SparseRows), (50, DenseRows), (100, DenseRows), (0, SparseRows)]
)
def test_density_decides(nonzero: int, expected: type) -> None:
    matrix = (np.arange(100) < nonzero).astype(np.float32).reshape(10, 10)
    assert density(matrix) == nonzero / 100
    assert isinstance(make_rows(matrix, "auto", "float32"), expected)


def test_density_looks_at_rows_spread_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sorted by class, the first rows alone would mislead."""
    monkeypatch.setattr(rows_module, "CHUNK_ROWS", 10)
    matrix = np.zeros((100, 4))
    matrix[50:] = 1
    assert density(matrix) == 0.5


def test_compressed_features_stay_compressed() -> None:
    assert isinstance(make_rows(csr_matrix(np.ones((3, 4))), "auto", "float32"), SparseRows)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dense_rows_of_the_right_type_are_not_copied(dtype: str) -> None:
    matrix = np.ones((5, 4), dtype)
    assert np.shares_memory(make_rows(matrix, "auto", dtype).values, matrix)
    pixels = np.ones((5, 4), np.uint8)
    assert np.shares_memory(make_rows(pixels, "auto", dtype).values, pixels)


def test_memory_maps_are_not_copied(tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "features", dtype=np.float32, mode="w+", shape=(20, 8))
    mapped[:] = np.arange(160).reshape(20, 8) + 1
    data = Dataset.from_arrays(mapped, np.arange(20) % 2, validation=5)
    assert data.validation is not None
    rows = rows_of_split(data, data.train, "auto", "float32")
    assert np.shares_memory(rows.values, mapped)
    assert rows_of_split(data, data.validation, "auto", "float32") is rows


def test_rows_are_made_once_for_each_kind_and_dtype(small_mnist: Dataset) -> None:
    split = small_mnist.train
    rows = rows_of_split(small_mnist, split, "sparse", "float32")
    assert isinstance(rows, SparseRows)
    assert rows.values.dtype == np.uint8
    assert rows_of_split(small_mnist, split, "sparse", "float32") is rows
    assert isinstance(rows_of_split(small_mnist, split, "dense", "float32"), DenseRows)


# ------------------------------------------------------------------------------------------------------------- layout


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_panels_cover_each_unit_once(dtype: str) -> None:
    lanes = lanes_of(dtype)
    for units in range(1, 301):
        main, tail = first_layer_widths(units, lanes)
        covered = np.zeros(main + tail, int)
        for width, narrow, first in panels(main, tail, lanes):
            assert width in (0, lanes, 2 * lanes, 4 * lanes)
            assert narrow in (0, lanes // 4, lanes // 2)
            covered[first : first + width] += 1
            covered[main : main + narrow] += 1
        assert (covered == 1).all(), units
        assert 0 <= main + tail - units < lanes // 2, units
        assert main % lanes == 0


def test_first_layer_widths_by_hand() -> None:
    expected = {
        1: (0, 4),
        4: (0, 4),
        5: (0, 8),
        8: (0, 8),
        9: (16, 0),
        16: (16, 0),
        20: (16, 4),
        24: (16, 8),
        30: (32, 0),
    }
    assert {units: first_layer_widths(units, 16) for units in expected} == expected


def test_panels_by_hand() -> None:
    assert panels(16, 4, 16).tolist() == [[16, 4, 0]]
    assert panels(112, 0, 16).tolist() == [[64, 0, 0], [32, 0, 64], [16, 0, 96]]
    assert panels(32, 8, 16).tolist() == [[32, 0, 0], [0, 8, 32]]


@given(st.integers(0, 10**6), st.integers(1, 100))
@settings(max_examples=50, deadline=None)
def test_round_up(count: int, multiple: int) -> None:
    assert round_up(count, multiple) == next(n for n in range(count, count + multiple) if n % multiple == 0)


def parameter_pieces(layout: Layout, sizes: list[int]) -> list[tuple[int, int]]:
    """Offset and length of everything in the parameters."""
    lengths = [sizes[0] * layout.main_width, *(k * h for k, h in pairwise(sizes[1:]))]
    pieces = [*zip(layout.weights, lengths, strict=True), (layout.tail_weights, sizes[0] * layout.tail_width)]
    pieces += [(layout.biases[0], layout.row_width), *zip(layout.biases[1:], sizes[2:], strict=True)]
    for offsets in (layout.scale, layout.shift):
        pieces += zip(offsets, sizes[1:-1], strict=len(offsets) > 0)
    return [(int(offset), int(length)) for offset, length in pieces]


def workspace_pieces(layout: Layout, batchnorm: bool, lanes: int) -> list[tuple[int, int]]:
    """Offset and length of everything in the workspace."""
    depth = len(layout.units) - 1
    examples = round_up(max(layout.block, EVALUATION_BLOCK), lanes)
    kinds = [(layout.activations, range(1, depth + 1)), (layout.gradients, range(1, depth))]
    if batchnorm:
        kinds += [(layout.rectified, range(1, depth)), (layout.normalised, range(1, depth))]
    pieces = [(offsets[n], examples * layout.allocated_units[n]) for offsets, layers in kinds for n in layers]
    pieces += zip(layout.deviations, layout.allocated_units, strict=True)
    return [(int(offset), int(length)) for offset, length in [*pieces, (layout.lane_mask, examples)]]


def assert_apart(pieces: list[tuple[int, int]], end: int, lanes: int) -> None:
    """Nothing overlaps, everything begins at a whole vector and lies before the end."""
    ordered = sorted(piece for piece in pieces if piece[1])
    assert all(first + length <= second for (first, length), (second, _) in pairwise(ordered))
    assert all(first % lanes == 0 for first, _ in ordered)
    assert ordered[0][0] >= 0
    assert sum(ordered[-1]) <= end


@given(
    st.lists(st.integers(1, 80), min_size=2, max_size=6),
    st.booleans(),
    st.sampled_from(["float32", "float64"]),
    st.integers(1, 3000),
)
@settings(max_examples=150, deadline=None)
def test_nothing_overlaps(sizes: list[int], batchnorm: bool, dtype: str, block: int) -> None:
    layout, n_running, n_workspace = make_layout(sizes, batchnorm=batchnorm, dtype=dtype, block=block)
    lanes = lanes_of(dtype)
    assert_apart(parameter_pieces(layout, sizes), layout.parameters_end, lanes)
    assert_apart(workspace_pieces(layout, batchnorm, lanes), n_workspace, lanes)
    hidden = sizes[1:-1] if batchnorm else []
    running = [*zip(layout.running_mean, hidden, strict=True), *zip(layout.running_variance, hidden, strict=True)]
    if running:
        assert_apart(running, n_running, lanes)
    assert layout.weights_end <= min(layout.biases)
    assert layout.row_width >= max(sizes[1], layout.main_width + layout.tail_width)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [0, 1, 1000])
def test_buffers_begin_at_a_cache_line(count: int, dtype: str) -> None:
    buffers = [aligned_zeros(count, dtype) for _ in range(5)]
    assert all(len(buffer) == count and buffer.dtype == dtype and not buffer.any() for buffer in buffers)
    assert all(buffer.ctypes.data % 64 == 0 for buffer in buffers if count)


@pytest.mark.parametrize("batchnorm", ["off", "before"])
@pytest.mark.parametrize("hidden", [(), (1,), (5,), (20, 7, 5), (33, 2), (64,), (300, 9)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameters_come_back_from_the_buffers(dtype: Any, hidden: tuple[int, ...], batchnorm: Any) -> None:
    config = NetworkConfig(hidden=hidden, dtype=dtype, batchnorm=batchnorm)
    parameters = initialise(config, 11, 3, seed=0)
    for n, array in enumerate(parameters.tensors().values()):
        array[...] += n
    back = PackedNetwork(parameters, config, block=16, batch_size=16).parameters()
    assert list(back.tensors()) == list(parameters.tensors())
    for name, array in parameters.tensors().items():
        np.testing.assert_array_equal(back.tensors()[name], array, err_msg=name)
