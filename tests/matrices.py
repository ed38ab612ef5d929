"""Matrices of features, and the matrix that rows stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastfnn.kernels import Rows
from fastfnn.rows import FeatureOrder

Array = NDArray[Any]


def mixed_matrix(examples: int, features: int = 52, *, seed: int = 0) -> NDArray[np.uint8]:
    """Pixels of which every third feature is seldom 0 and the others seldom anything else.

    Sorted by density, some features are dense and some are listed.
    """
    generator = np.random.default_rng(seed)
    density = np.where(np.arange(features) % 3 == 1, 0.9, 0.1)
    values = generator.integers(1, 256, (examples, features), dtype=np.uint8)
    return np.where(generator.random(values.shape) < density, values, np.uint8(0))


def matrix_of(rows: Rows, order: FeatureOrder) -> Array:
    """The matrix that rows stand for, whose features are in their own order again."""
    n_features = len(order.features)
    if not rows.records:
        return rows.values.reshape(-1, n_features)
    of_dense, of_listed = order.features[: order.dense], order.features[order.dense :]
    matrix = np.zeros((len(rows.entries) // 2, n_features), rows.values.dtype)
    for row, (line, count) in zip(matrix, rows.entries.reshape(-1, 2).tolist(), strict=True):
        row[of_dense], columns, values = parts_of_record(rows, line, count)
        is_real = columns < len(of_listed)
        assert not values[~is_real].any()
        row[of_listed[columns[is_real]]] = values[is_real]
    return matrix


def parts_of_record(rows: Rows, line: int, count: int) -> tuple[Array, Array, Array]:
    """The dense values of a record, and the columns and values of the listed ones, with those that fill it up."""
    start = line * 64 // rows.values.itemsize
    values = rows.values[start : start + rows.dense + count]
    columns_at = (start + len(values)) * rows.values.itemsize // rows.columns.itemsize
    columns = rows.columns[columns_at : columns_at + count].astype(np.int64)
    return values[: rows.dense], columns, values[rows.dense :]
