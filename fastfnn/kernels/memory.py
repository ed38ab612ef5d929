"""Arrays as the kernels want them: sized in whole vectors, aligned, and of few types."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastfnn.kernels.processor import VECTOR_BYTES

Array = NDArray[Any]


def round_up(count: Any, multiple: int) -> Any:
    """The smallest multiple that is at least `count`: of a number, or of each number of an array."""
    return -(-count // multiple) * multiple


def aligned_zeros(count: int, dtype: Any) -> Array:
    """Zeros that begin at a cache line; a vector that crosses lines costs two loads."""
    itemsize = np.dtype(dtype).itemsize
    buffer = np.zeros(count + VECTOR_BYTES // itemsize, dtype)
    skip = -buffer.ctypes.data % VECTOR_BYTES // itemsize
    return buffer[skip : skip + count]
