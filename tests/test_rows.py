"""The order of the features, and rows as the kernels read them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from matrices import matrix_of, mixed_matrix, parts_of_record
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from fastfnn import rows as rows_module
from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.engine import KernelEngine
from fastfnn.errors import DataError
from fastfnn.kernels import Rows
from fastfnn.rows import (
    COST_OF_COPY,
    COST_OF_NONZERO,
    FEATURES_PER_VECTOR,
    FeatureOrder,
    cost_of_nonzero,
    densities,
    identity_order,
    make_rows,
    order_by_density,
    order_of_features,
    rows_of_split,
)

Array = NDArray[Any]
DTYPES = ["float32", "float64"]

# -------------------------------------------------------------------------------------------------------------- order


@given(st.lists(st.sampled_from([0.0, 0.01, 0.19, 0.2, 0.21, 1.0]) | st.floats(0, 1), min_size=1, max_size=80))
@settings(max_examples=300, deadline=None)
def test_order_by_density_costs_least(values: list[float]) -> None:
    density, n_features = np.array(values), len(values)
    order = order_by_density(density)
    assert sorted(order.features) == list(range(n_features))
    assert order.places[order.features].tolist() == list(range(n_features))
    of_dense, of_listed = order.features[: order.dense], order.features[order.dense :]
    assert (np.diff(of_dense) > 0).all()
    assert (np.diff(of_listed) > 0).all()
    assert density[of_dense].min(initial=1) >= density[of_listed].max(initial=0)
    descending = -np.sort(-density)
    splits = range(0, n_features + 1, FEATURES_PER_VECTOR)
    least = min(split + COST_OF_NONZERO * descending[split:].sum() for split in splits)
    if order.dense == n_features:
        assert n_features * (1 - COST_OF_COPY) <= least + 1e-9
    else:
        assert order.dense % FEATURES_PER_VECTOR == 0
        cost = order.dense + COST_OF_NONZERO * density[of_listed].sum()
        assert cost == pytest.approx(least)
        assert cost < n_features * (1 - COST_OF_COPY) + 1e-9


def test_order_by_hand() -> None:
    """Of 40 features, 18 are dense: two of them are cheaper listed than with 14 others in a second vector."""
    density = np.full(40, 0.01)
    density[3:21] = 0.9
    density[[5, 20]] = 0.3
    order = order_by_density(density)
    assert order.dense == 16
    assert order.features.tolist() == [3, 4, *range(6, 20), 0, 1, 2, 5, *range(20, 40)]
    assert order.places[[3, 6, 0, 5]].tolist() == [0, 2, 16, 19]


@pytest.mark.parametrize(
    ("density", "dense"), [(np.zeros(40), 0), (np.ones(40), 40), (np.full(7, 0.22), 0), (np.full(7, 0.23), 7)]
)
def test_orders_of_one_kind_are_the_identity(density: Array, dense: int) -> None:
    order = order_by_density(density)
    assert order.dense == dense
    assert order.features.tolist() == list(range(len(density)))


@pytest.mark.parametrize("form", [np.asarray, csr_matrix], ids=["array", "CSR"])
def test_densities_look_at_rows_drawn_at_random(form: Callable[[Array], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Sorted by class, the first rows alone would mislead, and rows at even distances where classes take turns."""
    matrix = np.zeros((1000, 4))
    matrix[500:, 1:] = 1
    matrix[1::2, 3] = 0
    np.testing.assert_array_equal(densities(form(matrix)), [0, 0.5, 0.5, 0.25])
    monkeypatch.setattr(rows_module, "SAMPLE_ROWS", 250)
    found = densities(form(matrix))
    np.testing.assert_allclose(found, [0, 0.5, 0.5, 0.25], atol=0.08)
    np.testing.assert_array_equal(densities(form(matrix)), found)


def test_zeros_that_are_stored_are_zeros() -> None:
    stored = csr_matrix((np.array([0.0, 2.0, 0.0]), np.array([0, 1, 1]), np.array([0, 2, 3])), shape=(2, 3))
    assert densities(stored).tolist() == [0, 0.5, 0]


def test_one_order_for_a_data_set() -> None:
    X = mixed_matrix(90)
    data = Dataset.from_arrays(X, np.arange(90) % 2, validation=20, test=(X[:9], np.arange(9) % 2))
    order = order_of_features(data, "auto")
    assert order.dense == 16
    np.testing.assert_array_equal(order.features, order_by_density(densities(X)).features)
    assert order_of_features(data, "auto") is order
    for kind, dense in (("sparse", 0), ("dense", 52)):
        forced = order_of_features(data, kind)
        assert (forced.dense, forced.features.tolist()) == (dense, list(range(52)))


@pytest.mark.parametrize(
    ("matrices", "units", "dtype", "cost"),
    [
        (True, 63, "float32", 4),
        (True, 64, "float32", 6),
        (True, 128, "float32", 8),
        (True, 2000, "float32", 10),
        (True, 128, "float64", 4),
        (False, 128, "float32", 4),
    ],
)
@pytest.mark.parametrize("batch_size", [32, 500])
def test_the_more_units_the_more_a_listed_value_costs_in_matrix_registers(
    monkeypatch: pytest.MonkeyPatch, matrices: bool, units: int, dtype: str, cost: float, batch_size: int
) -> None:
    monkeypatch.setattr(rows_module, "MATRICES", matrices)
    assert cost_of_nonzero(units, dtype, batch_size) == cost


@pytest.mark.parametrize(
    ("batch_size", "cost"), [(1, 0.1875), (3, 0.375), (4, 0.75), (7, 0.75), (15, 1.5), (16, 3), (31, 3)]
)
def test_the_fewer_examples_the_less_a_listed_value_costs(batch_size: int, cost: float) -> None:
    """In small batches, of any network."""
    assert cost_of_nonzero(20, "float32", batch_size) == cost_of_nonzero(512, "float64", batch_size) == cost


@pytest.mark.parametrize(
    ("dtype", "density", "cost", "dense"),
    [("uint8", 0.3, 1.0, 0), ("uint8", 0.4, 1.0, 48), ("float32", 0.6, 1.0, 0), ("float32", 0.7, 1.0, 48)],
)
def test_small_batches_do_not_make_rows_larger_than_the_matrix(
    dtype: str, density: float, cost: float, dense: int
) -> None:
    X = (np.random.default_rng(0).random((500, 48)) < density).astype(dtype)
    data = Dataset.from_arrays(X, np.arange(500) % 2, validation=0)
    assert order_of_features(data, "auto", cost).dense == dense
    assert order_of_features(data, "auto").dense == 48


def test_small_batches_list_more_features(small_mnist: Dataset) -> None:
    config = TrainingConfig(hidden=(5,), epochs=1)
    found = [
        KernelEngine(small_mnist, config.replace(batch_size=size)).network.order.dense for size in (1, 8, 16, 32, 99)
    ]
    assert found[0] == 0 < found[1] < found[2] < found[3] == found[4]


def test_the_more_a_listed_value_costs_the_more_features_are_dense(small_mnist: Dataset) -> None:
    cheap, dear = (order_of_features(small_mnist, "auto", cost) for cost in (4.0, 20.0))
    assert cheap.dense < dear.dense < small_mnist.n_features
    assert order_of_features(small_mnist, "auto", 20.0) is dear


# --------------------------------------------------------------------------------------------------------------- rows


@st.composite
def matrices_and_orders(draw: st.DrawFn) -> tuple[Array, FeatureOrder]:
    """A matrix with many zeros, and an order with any number of dense features, to whole vectors."""
    dtype = draw(st.sampled_from([np.uint8, np.float32, np.float64]))
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 50)))
    matrix = draw(arrays.arrays(dtype, shape, elements=st.integers(0, 255), fill=st.just(0)))
    dense = draw(st.sampled_from([*range(0, shape[1] + 1, FEATURES_PER_VECTOR), shape[1]]))
    if dense == shape[1]:
        return matrix, identity_order(shape[1], dense=True)
    features = np.array(draw(st.permutations(range(shape[1]))))
    return matrix, FeatureOrder(np.concatenate((np.sort(features[:dense]), np.sort(features[dense:]))), dense)


@given(matrices_and_orders(), st.sampled_from(DTYPES), st.booleans())
@settings(max_examples=200, deadline=None)
def test_rows_stand_for_their_matrix(given: tuple[Array, FeatureOrder], dtype: str, compressed: bool) -> None:
    matrix, order = given
    rows = make_rows(csr_matrix(matrix) if compressed else matrix, order, dtype)
    np.testing.assert_array_equal(matrix_of(rows, order), matrix)
    assert rows.values.dtype == (np.uint8 if matrix.dtype == np.uint8 else np.dtype(dtype))
    assert (rows.dense, rows.records) == (order.dense, order.dense < matrix.shape[1])
    if rows.records:
        check_records(rows, np.count_nonzero(matrix[:, order.features[order.dense :]], axis=1), matrix.shape[1])


def check_records(rows: Rows, counts: Array, n_features: int) -> None:
    """Each record begins at a cache line and is filled up to four listed features; after the last one comes nothing."""
    lines, filled_counts = rows.entries.astype(np.int64).reshape(-1, 2).T
    starts = 64 * lines
    ends = starts + (rows.dense + filled_counts) * rows.values.itemsize + filled_counts * rows.columns.itemsize
    assert not rows.values.size or ((rows.values.ctypes.data + starts) % 64 == 0).all()
    assert (starts[1:] >= ends[:-1]).all()
    assert rows.values.ctypes.data == rows.columns.ctypes.data
    assert filled_counts.tolist() == [-(-count // 4) * 4 for count in counts]
    for line, filled, count in zip(lines, filled_counts, counts, strict=True):
        _, columns, values = parts_of_record(rows, line, filled)
        assert (np.diff(columns[:count]) > 0).all()
        assert (values[:count] != 0).all()
        assert set(columns[count:]) <= {n_features - rows.dense}
    assert not rows.values.view(np.uint8)[ends[-1] :].any()


def test_more_lines_than_entries_can_count_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "MOST_LINES", 10)
    make_rows(mixed_matrix(10, 17), identity_order(17, dense=False), "float32")
    with pytest.raises(
        DataError, match=r"features: expected rows of at most 10 cache lines in all, found [\d,]+ bytes"
    ):
        make_rows(mixed_matrix(11, 17), identity_order(17, dense=False), "float32")


def test_records_by_hand() -> None:
    """Two records of one cache line each: 16 dense bytes, four listed ones, four columns of two bytes."""
    matrix = np.zeros((2, 19), np.uint8)
    matrix[0, [0, 1, 5]] = 7, 8, 9
    matrix[1, 2:] = range(1, 18)
    order = FeatureOrder(np.array([*range(2, 18), 0, 1, 18]), 16)
    rows = make_rows(matrix, order, "float32")
    assert rows.entries.tolist() == [0, 4, 1, 4]
    assert rows.values[:20].tolist() == [0, 0, 0, 9, *[0] * 12, 7, 8, 0, 0]
    assert rows.columns[10:14].tolist() == [0, 1, 3, 3]  # the column behind the last one fills records up
    assert rows.values[64:84].tolist() == [*range(1, 18), 0, 0, 0]
    assert rows.columns[42:46].tolist() == [2, 3, 3, 3]


@pytest.mark.parametrize(("n_features", "expected"), [(17, "uint16"), (65_535, "uint16"), (65_536, "uint32")])
@pytest.mark.parametrize("dense", [0, 16])
@pytest.mark.parametrize("form", [np.asarray, csr_matrix], ids=["array", "CSR"])
def test_columns_are_as_narrow_as_they_can_be(
    n_features: int, expected: str, dense: int, form: Callable[[Array], Any]
) -> None:
    matrix = np.zeros((3, n_features), np.uint8)
    matrix[1, [0, -1]] = 3, 9
    order = FeatureOrder(np.arange(n_features), dense)
    rows = make_rows(form(matrix), order, "float32")
    assert rows.columns.dtype == expected
    np.testing.assert_array_equal(matrix_of(rows, order), matrix)


def mapped(matrix: Array, folder: Path) -> Any:
    result = np.memmap(folder / "features", dtype=matrix.dtype, mode="w+", shape=matrix.shape)
    result[:] = matrix
    return result


def with_stored_zeros(matrix: Array, folder: Path) -> Any:
    """Every fourth value is stored, zero or not."""
    result = csr_matrix(np.where(np.arange(matrix.size).reshape(matrix.shape) % 4, matrix, 99))
    result.data[result.data == 99] = matrix[np.arange(matrix.size).reshape(matrix.shape) % 4 == 0]
    return result


def unsorted(matrix: Array, folder: Path) -> Any:
    result = csr_matrix(matrix)
    for first, last in zip(result.indptr, result.indptr[1:], strict=False):
        for part in (result.indices, result.data):
            part[first:last] = part[first:last][::-1].copy()
    result.has_sorted_indices = False
    return result


FORMS: dict[str, Callable[[Array, Path], Any]] = {
    "memmap": mapped,
    "read-only": lambda matrix, folder: np.frombuffer(matrix.tobytes(), matrix.dtype).reshape(matrix.shape),
    "column by column": lambda matrix, folder: np.asfortranarray(matrix),
    "CSR": lambda matrix, folder: csr_matrix(matrix),
    "CSR with stored zeros": with_stored_zeros,
    "CSR out of order": unsorted,
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("kind", ["listed", "mixed", "dense"])
@pytest.mark.parametrize("stored", ["uint8", *DTYPES])
def test_any_form_of_a_matrix_gives_the_same_rows(
    form: Callable[[Array, Path], Any], kind: str, stored: str, tmp_path: Path
) -> None:
    matrix = mixed_matrix(23).astype(stored) % 90
    matrix[[0, 7, 22]] = 0
    order = order_by_density(densities(matrix)) if kind == "mixed" else identity_order(52, dense=kind == "dense")
    rows = make_rows(form(matrix, tmp_path), order, "float32")
    for found, expected in zip(rows, make_rows(matrix, order, "float32"), strict=True):
        np.testing.assert_array_equal(found, expected, strict=True)
    np.testing.assert_array_equal(matrix_of(rows, order), matrix)


def test_records_are_filled_chunk_by_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = mixed_matrix(23)
    matrix[5:10] = 0
    order = order_by_density(densities(matrix))
    whole = make_rows(matrix, order, "float32")
    monkeypatch.setattr(rows_module, "CHUNK_ROWS", 5)
    for a, b in zip(make_rows(matrix, order, "float32"), whole, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("form", [np.asarray, csr_matrix], ids=["array", "CSR"])
@pytest.mark.parametrize("dense", [False, True])
def test_values_beyond_the_dtype(dense: bool, form: Callable[[Array], Any]) -> None:
    """Too small a value becomes 0; too large a one is refused."""
    order = identity_order(2, dense=dense)
    small = form(np.array([[1.0, 0], [1e-60, -1e-60], [0, 2]]))
    np.testing.assert_array_equal(matrix_of(make_rows(small, order, "float32"), order), [[1, 0], [0, 0], [0, 2]])
    np.testing.assert_array_equal(matrix_of(make_rows(small, order, "float64"), order)[1], [1e-60, -1e-60])
    with pytest.raises(DataError, match="expected values that fit float32"):
        make_rows(form(np.array([[1e39, 0]])), order, "float32")


@pytest.mark.parametrize("dtype", DTYPES)
def test_dense_rows_of_the_right_type_are_not_copied(dtype: str) -> None:
    matrix = np.ones((5, 4), dtype)
    order = identity_order(4, dense=True)
    assert np.shares_memory(make_rows(matrix, order, dtype).values, matrix)
    pixels = np.ones((5, 4), np.uint8)
    assert np.shares_memory(make_rows(pixels, order, dtype).values, pixels)


def test_memory_maps_are_not_copied(tmp_path: Path) -> None:
    features = mapped(np.arange(1, 161, dtype=np.float32).reshape(20, 8), tmp_path)
    data = Dataset.from_arrays(features, np.arange(20) % 2, validation=5)
    assert data.validation is not None
    order = order_of_features(data, "auto")
    rows = rows_of_split(data, data.train, order, "float32")
    assert np.shares_memory(rows.values, features)
    assert rows_of_split(data, data.validation, order, "float32") is rows


def test_rows_are_made_once_for_each_order_and_dtype(small_mnist: Dataset) -> None:
    split = small_mnist.train
    made = {}
    for kind in ("sparse", "dense", "auto"):
        order = order_of_features(small_mnist, kind)
        for dtype in DTYPES:
            made[kind, dtype] = rows_of_split(small_mnist, split, order, dtype)
            assert rows_of_split(small_mnist, split, order, dtype) is made[kind, dtype]
    assert len({id(rows) for rows in made.values()}) == 6
    assert {rows.values.dtype for rows in made.values()} == {np.dtype(np.uint8)}
    assert 0 < made["auto", "float32"].dense < 784
