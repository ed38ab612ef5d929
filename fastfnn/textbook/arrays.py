"""What scripts pass, as the arrays that the kernels read, and the kernels' scratch memory.

Shapes: K features in, H units out, m examples; examples are columns.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastfnn.errors import DataError
from fastfnn.kernels import columns
from fastfnn.kernels.memory import aligned_zeros

Array = NDArray[np.float64]
FLOAT64 = np.dtype(np.float64)


def as_matrix(value: ArrayLike, name: str) -> Array:
    """A matrix of float64: the same array where it is one, else a conversion, as NumPy promotes it.

    Raises:
        DataError: when it is not a matrix of real numbers.
    """
    if type(value) is np.ndarray and value.dtype is FLOAT64 and value.ndim == 2:
        return value
    array = np.asarray(value)
    if array.ndim != 2:
        raise DataError(f"{name}: expected a matrix, whose columns are examples, found shape {array.shape}")
    if array.dtype.kind not in "buif":
        raise DataError(f"{name}: expected real numbers, found {array.dtype}")
    return np.asarray(array, dtype=FLOAT64)


def with_rows(matrix: Array) -> Array:
    """The same numbers with contiguous rows."""
    return matrix if matrix.strides[1] == FLOAT64.itemsize else np.ascontiguousarray(matrix)


def check_same_shape(first: Array, second: Array, names: str) -> None:
    """Refuses matrices that differ in shape.

    Raises:
        DataError: naming both.
    """
    if first.shape != second.shape:
        raise DataError(f"{names}: expected matrices of one shape, found {first.shape} and {second.shape}")


def refuse(**matrices: Array) -> NoReturn:
    """Says that matrices do not fit together.

    Raises:
        DataError: naming each with its shape.
    """
    found = ", ".join(f"{name} {matrix.shape}" for name, matrix in matrices.items())
    raise DataError(f"{', '.join(matrices)}: expected shapes that fit together, found {found}")


class _Scratch(threading.local):
    """Memory for one thread's calls, kept because fresh memory has to be mapped page by page."""

    def __init__(self) -> None:
        self.memory: Array = np.empty(0)


_scratch = _Scratch()


def scratch(features: int) -> Array:
    """Room for the kernels of a layer with so many features."""
    memory = _scratch.memory
    needed = columns.PANEL * features + columns.SCRATCH
    if memory.size < needed:
        memory = _scratch.memory = aligned_zeros(needed, FLOAT64)
    return memory


def layers_of(parameters: Mapping[str, Any]) -> int:
    """How many layers a dictionary of parameters has.

    Raises:
        DataError: when it has none.
    """
    layers = 0
    while f"W{layers + 1}" in parameters:
        layers += 1
    if not layers:
        raise DataError(f"parameters: expected W1, b1, W2, ..., found {sorted(map(str, parameters))}")
    return layers
