"""From the features of a data set to the rows that the kernels read."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastfnn.config import InputKind
from fastfnn.data import Dataset, Features, Split
from fastfnn.errors import DataError
from fastfnn.kernels import DenseRows, SparseRows

Array = NDArray[Any]

DENSEST_SPARSE = 0.5  # density of non-zeros from which dense rows are faster
CHUNK_ROWS = 4096


def rows_of_split(data: Dataset, split: Split, kind: InputKind, dtype: str) -> SparseRows | DenseRows:
    """The rows of a split's features, made once for all runs on the data set.

    Splits that share their features share their rows; examples are numbered as in `features`.
    """
    key = ("rows", id(split.features), kind, dtype)
    rows: SparseRows | DenseRows = data.derived(key, lambda: make_rows(split.features, kind, dtype))
    return rows


def make_rows(features: Features, kind: InputKind, dtype: str) -> SparseRows | DenseRows:
    """Rows of a matrix (N, K): array, memmap or SciPy CSR.

    uint8 values stay uint8; others take the network's dtype. Compressed rows are filled chunk by chunk, so that no
    float copy of the whole is made; dense rows of the right dtype are not copied.
    """
    if hasattr(features, "indptr"):
        return _dense_of_csr(features, dtype) if kind == "dense" else _sparse_of_csr(features, dtype)
    if kind == "sparse" or (kind == "auto" and density(features) < DENSEST_SPARSE):
        return _sparse_of_dense(features, dtype)
    values = np.ascontiguousarray(_converted(features, dtype))
    return DenseRows(values.reshape(-1), features.shape[1])


def density(features: Array) -> float:
    """The fraction of values of an array (N, K) that are not zero, from rows spread evenly over it."""
    sample = features[:: max(1, len(features) // CHUNK_ROWS)]
    return float(np.count_nonzero(sample) / sample.size)


def _converted(values: Any, dtype: str) -> Any:
    """Values in the dtype of the rows; the same array where that is its dtype.

    Raises:
        DataError: when a finite value is too large for the dtype.
    """
    with np.errstate(over="ignore"):
        converted = values.astype(_value_dtype(values.dtype, dtype), copy=False)
    if converted.dtype.itemsize < values.dtype.itemsize and not np.isfinite(converted).all():
        raise DataError(f"features: expected values that fit {dtype}, found larger ones; scale them or use float64")
    return converted


def _value_dtype(stored: Any, dtype: str) -> np.dtype[Any]:
    return np.dtype(np.uint8) if stored == np.uint8 else np.dtype(dtype)


def _column_dtype(n_features: int) -> type[np.unsignedinteger[Any]]:
    return np.uint16 if n_features <= np.iinfo(np.uint16).max + 1 else np.uint32


def _sparse_of_csr(matrix: Any, dtype: str) -> SparseRows:
    return SparseRows(
        matrix.indptr.astype(np.int64),
        matrix.indices.astype(_column_dtype(matrix.shape[1])),
        _converted(matrix.data, dtype),
    )


def _dense_of_csr(matrix: Any, dtype: str) -> DenseRows:
    dense = _converted(matrix.toarray(order="C"), dtype)
    return DenseRows(dense.reshape(-1), matrix.shape[1])


def _sparse_of_dense(features: Array, dtype: str) -> SparseRows:
    chunks = [features[first : first + CHUNK_ROWS] for first in range(0, len(features), CHUNK_ROWS)]
    counts = np.concatenate([np.count_nonzero(chunk, axis=1) for chunk in chunks])
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    columns = np.empty(offsets[-1], _column_dtype(features.shape[1]))
    values = np.empty(offsets[-1], _value_dtype(features.dtype, dtype))
    for number, chunk in enumerate(chunks):
        rows, nonzero = np.nonzero(chunk)
        begin = offsets[number * CHUNK_ROWS]
        columns[begin : begin + len(nonzero)] = nonzero
        values[begin : begin + len(nonzero)] = _converted(chunk[rows, nonzero], dtype)
    return SparseRows(offsets, columns, values)
