"""Reading the rows of an epoch, and nothing else: what memory alone asks for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fastfnn.kernels import Rows
from fastfnn.kernels.structures import BYTES_PER_LINE
from fastfnn.streams import epoch_order


@njit(nogil=True)
def read_lines(words: Any, starts: Any, ends: Any, order: Any) -> int:
    """Reads a word of every cache line of some rows."""
    total = 0
    for example in order:
        for k in range(starts[example], ends[example], 8):
            total += words[k]
    return total


def reader(rows: Rows, indices: NDArray[np.int64], seed: int = 0) -> tuple[Callable[[], float], int]:
    """A timer of `read_lines` in the order that a seed gives an epoch, and how many bytes it reads."""
    size, numbers = rows.values.itemsize, np.arange(indices.max() + 1)
    begins, counts = numbers * rows.dense * size, np.full(len(numbers), rows.dense * size)
    if rows.records:
        lines, listed = rows.entries.astype(np.int64).reshape(-1, 2)[numbers].T
        begins, counts = lines * BYTES_PER_LINE, counts + listed * (size + rows.columns.itemsize)
    first = begins // BYTES_PER_LINE * 8
    last = -(-(begins + counts) // BYTES_PER_LINE) * 8
    stored = rows.values.view(np.uint8)
    words = stored[: len(stored) // 8 * 8].view(np.int64)
    last = np.minimum(last, len(words))
    order = epoch_order(seed, 0, indices, shuffle=True)
    read_lines(words, first, last, order[:1])

    def time_reading() -> float:
        started = time.perf_counter()
        read_lines(words, first, last, order)
        return time.perf_counter() - started

    return time_reading, int((last - first)[indices].sum()) * 8
