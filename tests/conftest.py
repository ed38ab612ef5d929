"""Data sets that are small enough for every test."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import numpy as np
import pytest
from runs import X, Y

from fastfnn.data import Dataset, load_dataset


@pytest.fixture(scope="session")
def mnist() -> Dataset:
    """The embedded MNIST, 48,000 + 12,000 + 10,000."""
    return load_dataset("mnist")


@pytest.fixture(scope="session")
def small_mnist(mnist: Dataset) -> Dataset:
    """1,003 training, 251 validation and 150 test rows of MNIST: no round numbers."""
    assert mnist.test is not None
    n = 1254
    test = (mnist.test.features[:150], mnist.classes[mnist.test.labels[:150]])
    return Dataset.from_arrays(
        np.array(mnist.train.features[:n]), mnist.classes[mnist.train.labels[:n]], test=test, validation=251
    )


@pytest.fixture(scope="module")
def data() -> Dataset:
    """160 training rows, 10 steps of 16; 40 validation rows; 30 test rows."""
    return Dataset.from_arrays(X, Y, test=(X[:30], Y[:30]))


@pytest.fixture
def ctrl_c_raises() -> Iterator[None]:
    """Ctrl-C raises, also where pytest was started with the signal ignored, as in the background of a shell."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)
