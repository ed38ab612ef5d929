"""Writing the records of `Rows` from a matrix or from compressed rows."""

from __future__ import annotations

import numpy as np

from fastfnn.kernels.compilation import kernel
from fastfnn.kernels.simd import itemsize
from fastfnn.kernels.structures import BYTES_PER_LINE


@kernel
def entry(entries, i, values):
    """Where record i begins in the values, and how many listed ones it has."""
    return np.intp(entries[2 * i]) * (BYTES_PER_LINE // itemsize(values)), np.intp(entries[2 * i + 1])


def count_others(matrix, place, dense, counts):
    """Values that are not zero, of the features that are not dense, in each row of a matrix (N, K)."""
    for i in range(matrix.shape[0]):
        count = 0
        for k in range(matrix.shape[1]):
            count += matrix[i, k] != 0 and place[k] >= dense
        counts[i] = count


def count_others_compressed(offsets, columns, values, place, dense, counts):
    """The same of compressed rows; zeros that are stored do not count."""
    for i in range(len(counts)):
        count = 0
        for k in range(offsets[i], offsets[i + 1]):
            count += values[k] != 0 and place[columns[k]] >= dense
        counts[i] = count


def write_records(matrix, place, dense, entries, first, record_columns, record_values):
    """Writes the rows of a matrix (N, K) as the records first..first+N-1; `place` says where each feature goes.

    Records are zeros to begin with, and so are the values that fill them up.
    """
    for i in range(matrix.shape[0]):
        at, count = entry(entries, first + i, record_values)
        columns_at = (at + dense + count) * itemsize(record_values) // itemsize(record_columns)
        n = 0
        for k in range(matrix.shape[1]):
            if place[k] < dense:
                record_values[at + place[k]] = matrix[i, k]
            elif matrix[i, k] != 0:
                record_values[at + dense + n] = matrix[i, k]
                record_columns[columns_at + n] = place[k] - dense
                n += 1
        for k in range(n, count):
            record_columns[columns_at + k] = len(place) - dense


def write_records_compressed(offsets, columns, values, place, dense, entries, record_columns, record_values):
    """Writes compressed rows, whose columns ascend, as records."""
    for i in range(len(offsets) - 1):
        at, count = entry(entries, i, record_values)
        columns_at = (at + dense + count) * itemsize(record_values) // itemsize(record_columns)
        n = 0
        for k in range(offsets[i], offsets[i + 1]):
            feature = place[columns[k]]
            if feature < dense:
                record_values[at + feature] = values[k]
            elif values[k] != 0:
                record_values[at + dense + n] = values[k]
                record_columns[columns_at + n] = feature - dense
                n += 1
        for k in range(n, count):
            record_columns[columns_at + k] = len(place) - dense


def cut(entries, columns, values, dense, ends, cuts):
    """Where the listed values of each record are cut: cuts[i, t + 1] is how many have columns below ends[t].

    `ends` (threads,) ascend, and so do the columns of a record; cuts (N, threads + 1).
    """
    for i in range(len(entries) // 2):
        at, count = entry(entries, i, values)
        start = at + dense
        columns_at = (start + count) * itemsize(values) // itemsize(columns)
        k = 0
        for t in range(len(ends)):
            while k < count and columns[columns_at + k] < ends[t]:
                k += 1
            cuts[i, t + 1] = k
