"""Arrays as the kernels want them: sized in whole vectors, aligned, and of few types."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastfnn.kernels.processor import SIDE, VECTOR_BYTES
from fastfnn.kernels.structures import EXAMPLES_TOGETHER, PARTS, TERMS_OF_SQUARES

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


def room_for_squares(n_in: int, n_out: int) -> int:
    """Elements that the squares of both factors take, of products and gradients of a layer, with some to spare."""
    square, terms = SIDE * SIDE, min(TERMS_OF_SQUARES, round_up(max(n_in, n_out), 2 * SIDE) // (2 * SIDE))
    of_products = (EXAMPLES_TOGETHER // SIDE + 2) * terms * PARTS
    of_gradient = (round_up(n_out, SIDE) // SIDE + 4) * EXAMPLES_TOGETHER // (2 * SIDE) * PARTS
    return int(max(of_products, of_gradient) + 4) * square
