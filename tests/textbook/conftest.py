"""MNIST and random matrices with examples as columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastfnn.data import Dataset

Array = Any


@pytest.fixture(scope="session")
def pixels(mnist: Dataset) -> tuple[Array, Array]:
    """X (784, 3200) as `X.T` of rows, and one-hot Y (10, 3200)."""
    rows = np.array(mnist.train.features[:3200]) / 255
    return rows.T, np.eye(10)[mnist.train.labels[:3200]].T


@pytest.fixture(params=["columns contiguous", "rows contiguous"])
def X_and_Y(request: Any, pixels: tuple[Array, Array]) -> tuple[Array, Array]:
    """The same in both layouts that scripts have."""
    X, Y = pixels
    return (X if request.param == "columns contiguous" else np.ascontiguousarray(X)), Y
