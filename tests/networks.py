"""Networks with arbitrary values, and examples for them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastfnn.config import NetworkConfig
from fastfnn.network import Network
from fastfnn.parameters import initialise

K, C = 12, 3

rng = np.random.default_rng(0)
X = (rng.integers(0, 256, (110, K)) * (rng.random((110, K)) < 0.3)).astype(np.uint8)
Y = rng.integers(0, C, 110)


def random_network(config: NetworkConfig, classes: Any = (0, 1, 2), scale: float = 1 / 255) -> Network:
    """A network with random values in every array."""
    parameters = initialise(config, K, len(classes), seed=5)
    noise = np.random.default_rng(6)
    for name, array in parameters.tensors().items():
        values = 0.3 * noise.normal(size=array.shape)
        array[...] += (np.abs(values) if name.startswith("running_variance") else values).astype(array.dtype)
    return Network(config, parameters, np.array(classes), scale)


def largest_difference(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Between two arrays of the same shape."""
    assert a.shape == b.shape
    return float(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max())
