"""What every peer does, and the rows that it gets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset

Order = NDArray[np.int64]  # example numbers


class UnavailableError(Exception):
    """A peer cannot do this workload here; the message says why."""


class Peer(ABC):
    """A network with the initial weights of the configuration, trained by plain SGD on the training examples.

    Args:
        data: the examples.
        config: hidden layers, batch size, learning rate and seed; everything else is at its default.
        threads: that the peer may use; those of linear algebra were limited before it was imported.
    """

    def __init__(self, data: Dataset, config: TrainingConfig, threads: int) -> None:
        self.data, self.config, self.threads = data, config, threads
        self.batch_size, self.learning_rate = config.batch_size, config.base_learning_rate

    @abstractmethod
    def epoch(self, order: Order) -> float:
        """Does a step on every batch of the order, the last of which may be smaller: the sum of the losses.

        This is what is timed: it begins with example numbers, so bringing the rows into their order is part of it, and
        ends when the last update is done.
        """

    def step_losses(self, order: Order) -> list[float]:
        """The same steps, and the sum of the losses of each.

        Peers that do several steps in one program override this, lest the check see another program than the clock.
        """
        return [self.epoch(batch) for batch in batches(order, self.batch_size)]


def batches(order: Order, batch_size: int) -> list[Order]:
    """The order cut into batches."""
    return [order[first : first + batch_size] for first in range(0, len(order), batch_size)]


def dense_rows(data: Dataset) -> NDArray[np.float32]:
    """All rows of the training features (N, K) as the network sees them, made once a process."""
    return data.derived("dense float32 rows", lambda: _dense_rows(data))


def csr_rows(data: Dataset) -> sparse.csr_array:
    """All rows of the training features (N, K) as the network sees them, compressed, made once a process."""
    return data.derived("compressed float32 rows", lambda: _csr_rows(data))


def _dense_rows(data: Dataset) -> NDArray[np.float32]:
    features: Any = data.train.features
    if sparse.issparse(features):
        features = features.astype(np.float32).toarray()
        return np.multiply(features, np.float32(data.scale), out=features)
    return np.multiply(features, np.float32(data.scale), dtype=np.float32)


def _csr_rows(data: Dataset) -> sparse.csr_array:
    rows = sparse.csr_array(data.train.features).astype(np.float32)
    rows.data *= np.float32(data.scale)
    return rows
