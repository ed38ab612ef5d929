"""Between the attributes of a fitted classifier and the parameters of a network.

Two classes are trained with one output unit, the logit of the second class, as in scikit-learn; a `Network` has two.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastfnn.config import NetworkConfig
from fastfnn.data import Dataset
from fastfnn.errors import DataError
from fastfnn.parameters import BATCHNORM_TENSORS, Parameters, initialise

Array = NDArray[Any]
IDENTITY = {"scale": 1.0, "shift": 0.0, "running_mean": 0.0, "running_variance": 1.0}  # of batch norm


def output_units(n_classes: int) -> int:
    """One for each class, or one for both."""
    return n_classes if n_classes > 2 else 1


def starting_parameters(
    estimator: Any, config: NetworkConfig, data: Dataset, seed: int, *, goes_on: bool
) -> Parameters:
    """What the seed draws, or the attributes of the estimator.

    Raises:
        DataError: when these do not have the shapes that the estimator's parameters and the data ask for.
    """
    outputs = output_units(data.n_classes)
    if not goes_on:
        return initialise(config, data.n_features, outputs, seed)
    sizes = [data.n_features, *config.hidden, outputs]
    weights = _matched(estimator, "coefs_", list(pairwise(sizes)), config.dtype)
    biases = _matched(estimator, "intercepts_", [(units,) for units in sizes[1:]], config.dtype)
    return Parameters(weights, biases, **_batchnorm_of(estimator, config))


def _matched(estimator: Any, name: str, shapes: list[tuple[int, ...]], dtype: str) -> list[Array]:
    """Copies of the arrays of an attribute, in the dtype of the network."""
    arrays = [np.array(array, dtype) for array in getattr(estimator, name, [])]
    if _shapes(arrays) != shapes:
        raise DataError(f"{name}: expected arrays of shapes {shapes}, found {_shapes(arrays)}")
    if not all(np.isfinite(array).all() for array in arrays):
        raise DataError(f"{name}: expected finite numbers, found NaN or infinity")
    return arrays


def _batchnorm_of(estimator: Any, config: NetworkConfig) -> dict[str, list[Array]]:
    """Those of the last fit, or the identity where that was without batch norm or had other layers."""
    hidden = config.hidden if config.batchnorm != "off" else ()
    known: dict[str, list[Array]] = getattr(estimator, "_batchnorm", {})
    if _shapes(known.get("scale", [])) == [(units,) for units in hidden]:
        return {kind: [array.astype(config.dtype) for array in arrays] for kind, arrays in known.items()}
    return {kind: [np.full(units, value, config.dtype) for units in hidden] for kind, value in IDENTITY.items()}


def _shapes(arrays: list[Array]) -> list[tuple[int, ...]]:
    return [array.shape for array in arrays]


def batchnorm_tensors(parameters: Parameters) -> dict[str, list[Array]]:
    """What a network has beside weights and biases."""
    return {kind: getattr(parameters, kind) for kind in BATCHNORM_TENSORS}


def are_finite(parameters: Parameters) -> bool:
    """Whether a network can be used."""
    return all(bool(np.isfinite(array).all()) for array in parameters.tensors().values())


def with_softmax(parameters: Parameters, n_classes: int) -> Parameters:
    """The same network with an output unit for each class: of two, the first one's logit is 0."""
    if output_units(n_classes) > 1:
        return parameters
    weights, biases = (
        np.concatenate((np.zeros_like(last), last), axis=-1)[..., :n_classes]
        for last in (parameters.weights[-1], parameters.biases[-1])
    )
    before = [*parameters.weights[:-1]], [*parameters.biases[:-1]]
    return Parameters([*before[0], weights], [*before[1], biases], **batchnorm_tensors(parameters))


def plain_labels(classes: Array) -> Array:
    """Labels as a dtype that a file can have."""
    return np.array(classes.tolist()) if classes.dtype.kind == "O" else classes
