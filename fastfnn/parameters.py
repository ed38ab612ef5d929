"""The arrays of a network, and how they are initialised.

Shapes: K features in, H units out of a layer, C classes; L layers with weights, L - 1 of them hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastfnn.config import NetworkConfig
from fastfnn.streams import initialisation_generator

Array = NDArray[Any]
BATCHNORM_TENSORS = ("scale", "shift", "running_mean", "running_variance")
BATCHNORM_EPSILON = 1e-5


@dataclass
class Parameters:
    """The arrays of a network, one entry a layer.

    Attributes:
        weights: L arrays (K, H), input-major. biases: L arrays (H,).
        scale, shift, running_mean, running_variance: L - 1 arrays (H,) with batch norm, else empty.
    """

    weights: list[Array]
    biases: list[Array]
    scale: list[Array] = field(default_factory=list)
    shift: list[Array] = field(default_factory=list)
    running_mean: list[Array] = field(default_factory=list)
    running_variance: list[Array] = field(default_factory=list)

    def tensors(self) -> dict[str, Array]:
        """Every array by name: `weights.1`, `biases.1`, `scale.1`, ...; layers count from 1."""
        return dict(self._named())

    def _named(self) -> Iterator[tuple[str, Array]]:
        for kind in ("weights", "biases", *BATCHNORM_TENSORS):
            for layer, array in enumerate(getattr(self, kind), start=1):
                yield f"{kind}.{layer}", array

    @classmethod
    def from_tensors(cls, tensors: dict[str, Array], n_layers: int) -> Parameters:
        """The inverse of `tensors`."""
        kinds = ("weights", "biases", *BATCHNORM_TENSORS)
        return cls(*([tensors[f"{k}.{n}"] for n in range(1, n_layers + 1) if f"{k}.{n}" in tensors] for k in kinds))

    def copy(self) -> Parameters:
        """A deep copy."""
        return Parameters.from_tensors({name: array.copy() for name, array in self._named()}, len(self.weights))


def tensor_shapes(sizes: list[int], *, batchnorm: bool) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a network whose layers have `sizes` units, the features first."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (fan_in, fan_out) in enumerate(pairwise(sizes), start=1):
        shapes[f"weights.{layer}"] = (fan_in, fan_out)
        shapes[f"biases.{layer}"] = (fan_out,)
        if batchnorm and layer < len(sizes) - 1:
            shapes |= {f"{kind}.{layer}": (fan_out,) for kind in BATCHNORM_TENSORS}
    return shapes


INITIAL_VARIANCE: dict[str, Callable[[int, int], float]] = {
    "he": lambda fan_in, fan_out: 2 / fan_in,  # He et al. 2015, equation 10
    "xavier": lambda fan_in, fan_out: 2 / (fan_in + fan_out),  # Glorot and Bengio 2010, equation 12
}


def initialise(config: NetworkConfig, n_features: int, n_classes: int, seed: int) -> Parameters:
    """Normal weights drawn in the order of the layers, biases 0, batch norm as the identity."""
    generator = initialisation_generator(seed)
    sizes = [n_features, *config.hidden, n_classes]
    variance = INITIAL_VARIANCE[config.init]
    weights = [generator.normal(0, variance(k, h) ** 0.5, (k, h)).astype(config.dtype) for k, h in pairwise(sizes)]
    normalised = config.hidden if config.batchnorm != "off" else ()
    zeros = [np.zeros(h, config.dtype) for h in normalised]
    ones = [np.ones(h, config.dtype) for h in normalised]
    biases = [np.zeros(h, config.dtype) for h in sizes[1:]]
    return Parameters(weights, biases, ones, zeros, [z.copy() for z in zeros], [o.copy() for o in ones])
