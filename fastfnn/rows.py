"""From the features of a data set to the rows that the kernels read."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastfnn import kernels
from fastfnn.config import InputKind
from fastfnn.data import Dataset, Features, Split
from fastfnn.errors import DataError
from fastfnn.kernels import Rows
from fastfnn.kernels.binding import UNITS_BY_MATRIX
from fastfnn.kernels.memory import aligned_zeros, round_up
from fastfnn.kernels.processor import MATRICES, VECTOR_BYTES
from fastfnn.kernels.structures import BYTES_PER_LINE, FILLED_TO, RECORDS

Array = NDArray[Any]

COST_OF_NONZERO = 4.0  # of a listed value, in multiplications of a dense feature; bench/scaling.py measures it
# Of fewer examples than SMALL_BATCH: they share what it takes to bring a dense feature's weights.
COST_IN_SMALL_BATCHES = 3.0
SMALL_BATCH = 32
EXAMPLES_OF_DENSE = 16  # of which dense features are multiplied together, however few there are
# Of others, the more units, the less a dense feature costs in matrix registers: each unit adds so much to the cost of
# a listed value, up to a limit.
COST_BY_MATRIX = 1 / 32
MOST_UNITS = 192
FEATURES_PER_VECTOR = 16  # so that the values behind the dense ones begin at a vector, of either dtype
COST_OF_COPY = 0.1  # share of the time below which records are not worth a copy of the matrix
MOST_LINES = int(np.iinfo(np.uint32).max)  # of all rows together
SAMPLE_ROWS = 4096
CHUNK_ROWS = 4096
MOST_COPIED_BYTES = 1 << 30  # to begin rows at cache lines; larger ones may be mapped from a file


class FeatureOrder(NamedTuple):
    """Where the kernels put each feature: the first `dense` places are for features that are multiplied every time."""

    features: NDArray[np.int64]  # (K,) the feature at each place
    dense: int

    @property
    def places(self) -> NDArray[np.int64]:
        """(K,) the place of each feature."""
        places = np.empty_like(self.features)
        places[self.features] = np.arange(len(self.features))
        return places


def identity_order(n_features: int, *, dense: bool) -> FeatureOrder:
    """Features in their own order, all of them dense or none."""
    return FeatureOrder(np.arange(n_features, dtype=np.int64), n_features if dense else 0)


def cost_of_nonzero(units: int, dtype: str, batch_size: int) -> float:
    """What a listed value costs a first layer of so many units, in multiplications of a dense feature.

    Dense features are multiplied for sixteen examples at a time, however few there are: in a batch of one, each costs
    as much as sixteen. Small batch sizes count as the power of two below them, lest each has rows of its own.
    `bench/batch_size.py --batch-size 1,2,4,8,16,24`, with `--input sparse` and without, measures it.
    """
    if batch_size < SMALL_BATCH:
        power_of_two = 1 << (batch_size.bit_length() - 1)
        return COST_IN_SMALL_BATCHES * power_of_two / EXAMPLES_OF_DENSE
    by_matrix = MATRICES and dtype == "float32" and units >= UNITS_BY_MATRIX
    return COST_OF_NONZERO + COST_BY_MATRIX * min(units, MOST_UNITS) * by_matrix


def order_of_features(data: Dataset, kind: InputKind, cost: float = COST_OF_NONZERO) -> FeatureOrder:
    """The order for a data set, made once: as the density of each training feature asks for, unless it is forced.

    `cost` is that of a listed value, in multiplications of a dense feature.
    """
    if kind != "auto":
        return identity_order(data.n_features, dense=kind == "dense")
    order: FeatureOrder = data.derived(("feature order", cost), lambda: _affordable_order(data, cost))
    return order


def _affordable_order(data: Dataset, cost: float) -> FeatureOrder:
    """The order that costs least, unless small batches would have rows larger than the matrix, which may be huge."""
    found = training_densities(data)
    order = order_by_density(found, cost)
    value_bytes = 1 if data.train.features.dtype == np.uint8 else np.dtype(np.float32).itemsize
    listed_bytes = value_bytes + np.dtype(np.uint16).itemsize
    row_bytes = value_bytes * order.dense + listed_bytes * found[order.features[order.dense :]].sum()
    if cost < COST_OF_NONZERO and row_bytes > value_bytes * data.n_features:
        return order_by_density(found)
    return order


def training_densities(data: Dataset) -> Array:
    """(K,) the density of each training feature, measured once."""
    result: Array = data.derived(("densities",), lambda: densities(data.train.features))
    return result


def densities_in_order(data: Dataset, order: FeatureOrder) -> Array:
    """(K - dense,) the densities of the features that are listed, in the order of the kernels."""
    return training_densities(data)[order.features[order.dense :]]


def densities(features: Features) -> Array:
    """(K,) the fraction of each feature's values that are not zero, from rows drawn at random.

    Always the same ones; rows at even distances may have one class in common.
    """
    sample: Any = features
    if features.shape[0] > SAMPLE_ROWS:
        drawn = np.random.default_rng(0).choice(features.shape[0], SAMPLE_ROWS, replace=False, shuffle=False)
        sample = features[np.sort(drawn)]
    if hasattr(sample, "indptr"):
        nonzero = np.bincount(sample.indices[sample.data != 0], minlength=sample.shape[1])
    else:
        nonzero = np.count_nonzero(sample, axis=0)
    fractions: Array = nonzero / sample.shape[0]
    return fractions


def order_by_density(densities: Array, cost: float = COST_OF_NONZERO) -> FeatureOrder:
    """The order that costs least; within both groups, features stay in their own order."""
    n_features = len(densities)
    descending = np.argsort(-densities, kind="stable")
    listed = cost * np.append(np.cumsum(densities[descending][::-1])[::-1], 0)
    splits = np.arange(0, n_features + 1, FEATURES_PER_VECTOR)
    costs = splits + listed[splits]
    best = int(np.argmin(costs))
    if n_features * (1 - COST_OF_COPY) <= costs[best]:
        return identity_order(n_features, dense=True)
    dense = int(splits[best])
    features = np.concatenate((np.sort(descending[:dense]), np.sort(descending[dense:])))
    return FeatureOrder(features.astype(np.int64), dense)


def rows_of_split(data: Dataset, split: Split, order: FeatureOrder, dtype: str) -> Rows:
    """The rows of a split's features, made once for all runs on the data set.

    Splits that share their features share their rows; examples are numbered as in `features`.
    """
    key = ("rows", id(split.features), order.dense, order.features.tobytes(), dtype)
    rows: Rows = data.derived(key, lambda: make_rows(split.features, order, dtype))
    return rows


def make_rows(features: Any, order: FeatureOrder, dtype: str) -> Rows:
    """Rows of a matrix (N, K): array, memmap or SciPy CSR.

    uint8 values stay uint8; others take the network's dtype. All is filled chunk by chunk, so that no second copy of
    the whole is made. Where all features are dense, rows that can be read well where they lie are not copied.

    Raises:
        DataError: when a finite value is too large for the dtype.
    """
    compressed = hasattr(features, "indptr")
    n_features = features.shape[1]
    if order.dense < n_features:
        return _records_of_csr(features, order, dtype) if compressed else _records_of_matrix(features, order, dtype)
    matrix = features.toarray(order="C") if compressed else features
    values = _values_of_matrix(matrix, dtype)
    return Rows(np.empty(0, np.uint32), np.empty(0, np.uint16), values, n_features, 0)


def _values_of_matrix(matrix: Array, dtype: str) -> Array:
    """The values row by row, from a cache line on where every row is whole cache lines: else vectors cross them."""
    value_dtype = _value_dtype(matrix.dtype, dtype)
    if matrix.dtype == value_dtype and matrix.flags.c_contiguous:
        of_lines = matrix.shape[1] * value_dtype.itemsize % VECTOR_BYTES == 0
        if not of_lines or matrix.ctypes.data % VECTOR_BYTES == 0 or matrix.nbytes > MOST_COPIED_BYTES:
            return matrix.reshape(-1)
    values = aligned_zeros(matrix.size, value_dtype)
    rows = values.reshape(matrix.shape)
    for first in range(0, len(rows), CHUNK_ROWS):
        rows[first : first + CHUNK_ROWS] = _converted(matrix[first : first + CHUNK_ROWS], dtype)
    return values


def _converted(values: Any, dtype: str) -> Any:
    """Values in the dtype of the rows; the same array where that is its dtype."""
    with np.errstate(over="ignore"):
        converted = values.astype(_value_dtype(values.dtype, dtype), copy=False)
    if converted.dtype.itemsize < values.dtype.itemsize and not np.isfinite(converted).all():
        raise DataError(f"features: expected values that fit {dtype}, found larger ones; scale them or use float64")
    return converted


def _value_dtype(stored: Any, dtype: str) -> np.dtype[Any]:
    return np.dtype(np.uint8) if stored == np.uint8 else np.dtype(dtype)


def _empty_records(counts: Array, order: FeatureOrder, value_dtype: np.dtype[Any]) -> Rows:
    """Records with room for `counts` listed values a row, all zeros, each from a cache line on."""
    n_features = len(order.features)
    # One column more than there are features: the one that fills records up.
    column_dtype = np.dtype(np.uint16 if n_features <= np.iinfo(np.uint16).max else np.uint32)
    filled = round_up(counts.astype(np.int64), FILLED_TO)
    sizes = (order.dense + filled) * value_dtype.itemsize + filled * column_dtype.itemsize
    ends = np.cumsum(round_up(sizes, BYTES_PER_LINE))
    total = int(ends[-1]) if len(ends) else 0
    if total // BYTES_PER_LINE > MOST_LINES:
        raise DataError(f"features: expected rows of at most {MOST_LINES:,} cache lines in all, found {total:,} bytes")
    memory = aligned_zeros(total, np.uint8)
    entries = np.empty((len(counts), 2), np.uint32)
    entries[:, 0] = (ends - round_up(sizes, BYTES_PER_LINE)) // BYTES_PER_LINE
    entries[:, 1] = filled
    return Rows(entries.reshape(-1), memory.view(column_dtype), memory.view(value_dtype), order.dense, RECORDS)


def _records_of_matrix(features: Array, order: FeatureOrder, dtype: str) -> Rows:
    places, n_rows = order.places, features.shape[0]
    counts = np.zeros(n_rows, np.int64)
    for first in range(0, n_rows, CHUNK_ROWS):
        chunk = np.ascontiguousarray(features[first : first + CHUNK_ROWS])
        kernels.count_others(chunk, places, order.dense, counts[first : first + CHUNK_ROWS])
    rows = _empty_records(counts, order, _value_dtype(features.dtype, dtype))
    for first in range(0, n_rows, CHUNK_ROWS):
        chunk = np.ascontiguousarray(_converted(features[first : first + CHUNK_ROWS], dtype))
        kernels.write_records(chunk, places, order.dense, rows.entries, first, rows.columns, rows.values)
    return rows


def _records_of_csr(matrix: Any, order: FeatureOrder, dtype: str) -> Rows:
    places = order.places
    if not matrix.has_sorted_indices:
        matrix = matrix.sorted_indices()
    values = _converted(matrix.data, dtype)
    parts = (matrix.indptr, matrix.indices, values)
    counts = np.zeros(matrix.shape[0], np.int64)
    kernels.count_others_compressed(*parts, places, order.dense, counts)
    rows = _empty_records(counts, order, values.dtype)
    kernels.write_records_compressed(*parts, places, order.dense, rows.entries, rows.columns, rows.values)
    return rows
