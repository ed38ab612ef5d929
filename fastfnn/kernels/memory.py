"""Arrays as the kernels want them: sized in whole vectors, aligned, and of few types."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastfnn.kernels.processor import SIDE, VECTOR_BYTES
from fastfnn.kernels.structures import (
    EXAMPLES_TOGETHER,
    PARTS,
    TERMS_OF_SQUARES,
    WORDS_OF_FEATURES,
)

Array = NDArray[Any]
PAGE_BYTES = 4096


def round_up(count: Any, multiple: int) -> Any:
    """The smallest multiple that is at least `count`: of a number, or of each number of an array."""
    return -(-count // multiple) * multiple


def aligned_zeros(count: int, dtype: Any) -> Array:
    """Zeros that begin at a page.

    A vector that crosses cache lines costs two loads. And where several arrays are gone over together, a load waits for
    stores before it that have the same place in another page, since they might be the same: arrays that begin at the
    same place in a page never meet like that.
    """
    itemsize = np.dtype(dtype).itemsize
    buffer = np.zeros(count + PAGE_BYTES // itemsize, dtype)
    skip = -buffer.ctypes.data % PAGE_BYTES // itemsize
    return buffer[skip : skip + count]


def room_for_squares(n_in: int, n_out: int) -> int:
    """Elements that the squares of both factors take, of products and gradients of a layer, with some to spare."""
    square, terms = SIDE * SIDE, min(TERMS_OF_SQUARES, round_up(max(n_in, n_out), 2 * SIDE) // (2 * SIDE))
    of_products = (EXAMPLES_TOGETHER // SIDE + 2) * terms * PARTS
    of_gradient = (round_up(n_out, SIDE) // SIDE + 4) * EXAMPLES_TOGETHER // (2 * SIDE) * PARTS
    return int(max(of_products, of_gradient) + 4) * square


def room_for_bytes(dense: int, units: int) -> int:
    """Elements that `dense_by_bytes` needs: for features, and the numbers of so many weights and of a gradient."""
    lanes = VECTOR_BYTES // np.dtype(np.float32).itemsize
    width = round_up(units, lanes) | lanes
    of_numbers = [(2 + features) * width for features in (round_up(dense, lanes), EXAMPLES_TOGETHER)]
    return int(WORDS_OF_FEATURES + sum(of_numbers) + lanes)
