"""What a network computes, with fewer operations.

Shapes: K features in, H units out of a layer; L layers with weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastfnn.parameters import BATCHNORM_EPSILON, Parameters

Array = NDArray[Any]


def folded(parameters: Parameters, placement: str, scale: float) -> list[tuple[Array, Array]]:
    """Weights (K, H) and biases (H,) of L linear layers that do without feature scale and batch norm.

    With running statistics batch norm is a product with `gain` and a sum with `offset` for every unit. Before the
    activation the layer's own weights can do that; after it, those of the next layer, on their inputs. Computed in
    float64, so that every weight is rounded once.
    """
    weights = [array.astype(np.float64) for array in parameters.weights]
    biases = [array.astype(np.float64) for array in parameters.biases]
    weights[0] *= scale
    for layer, (gain, offset) in enumerate(_normalisations(parameters)):
        if placement == "before":
            weights[layer] *= gain
            biases[layer] = biases[layer] * gain + offset
        else:
            biases[layer + 1] += offset @ weights[layer + 1]
            weights[layer + 1] *= gain[:, None]
    dtype = parameters.weights[0].dtype
    return [(w.astype(dtype), b.astype(dtype)) for w, b in zip(weights, biases, strict=True)]


def _normalisations(parameters: Parameters) -> list[tuple[Array, Array]]:
    """Gain and offset (H,) of every layer's batch norm, none without."""
    pairs = []
    for layer, scale in enumerate(parameters.scale):
        gain = scale / np.sqrt(parameters.running_variance[layer].astype(np.float64) + BATCHNORM_EPSILON)
        pairs.append((gain, parameters.shift[layer] - parameters.running_mean[layer] * gain))
    return pairs
