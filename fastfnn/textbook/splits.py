"""Validation sets, as course projects draw them: by one permutation of the columns."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastfnn.errors import ConfigError
from fastfnn.textbook.arrays import Array, as_matrix
from fastfnn.textbook.options import Randomness, check_choice, generator_of

Columns = NDArray[np.int64]
Side = Literal["train", "validation"]


def split_columns(
    examples: int, fraction: float = 0.2, first: Side = "train", random_state: Randomness = None
) -> tuple[Columns, Columns]:
    """The columns for training and those for validation, in the order of one permutation.

    Args:
        examples: how many there are.
        fraction: of them for validation.
        first: which of the two is at the front of the permutation: "train", its first 80 %, or "validation", 20 %.
        random_state: None draws from the stream of `np.random.seed`; or a seed, or a generator.

    Raises:
        ConfigError: when one of the two would be empty.
    """
    check_choice("first", first, ("train", "validation"))
    size = int((1 - fraction if first == "train" else fraction) * examples)
    if not (0 < fraction < 1 and 0 < size < examples):
        raise ConfigError(f"fraction: expected one that leaves both sides examples of {examples}, found {fraction!r}")
    order = np.asarray(generator_of(random_state).permutation(examples), dtype=np.int64)
    front, back = order[:size], order[size:]
    return (front, back) if first == "train" else (back, front)


def split_validation(
    X: ArrayLike, Y: ArrayLike, fraction: float = 0.2, *, first: Side = "train", random_state: Randomness = None
) -> tuple[Array, Array, Array, Array]:
    """X_train, Y_train, X_validation, Y_validation: copies of the columns that `split_columns` draws."""
    X, Y = as_matrix(X, "X"), as_matrix(Y, "Y")
    train, validation = split_columns(X.shape[1], fraction, first, random_state)
    return columns_of(X, train), columns_of(Y, train), columns_of(X, validation), columns_of(Y, validation)


def columns_of(matrix: Array, columns: Columns) -> Array:
    """A copy of some columns, each of them contiguous."""
    return matrix.T[columns].T
