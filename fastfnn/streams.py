"""Every random number of a run, as pure functions of its seed: no state, so any epoch can be redone alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_INITIALISATION, _ORDER, _DROPOUT = range(3)


def initialisation_generator(seed: int) -> np.random.Generator:
    """The generator that draws the weights, layer by layer."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_INITIALISATION,)))


def epoch_order(seed: int, epoch: int, indices: NDArray[np.int64], *, shuffle: bool) -> NDArray[np.int64]:
    """The examples `indices` (N,) in the order in which epoch number `epoch` visits them."""
    if not shuffle:
        return indices
    generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_ORDER, epoch)))
    return generator.permutation(indices)


def dropout_keys(seed: int, epoch: int, n_layers: int) -> NDArray[np.uint32]:
    """One 32-bit key for each hidden layer, from which the mask of every (example, unit) of the epoch follows."""
    return np.random.SeedSequence(seed, spawn_key=(_DROPOUT, epoch)).generate_state(n_layers).astype(np.uint32)
