"""Between the attributes of a fitted classifier and the parameters of a network.

Two classes are trained with one output unit, the logit of the second class, as in scikit-learn; a `Network` has two.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastfnn.config import NetworkConfig
from fastfnn.data import Dataset
from fastfnn.errors import DataError
from fastfnn.parameters import BATCHNORM_TENSORS, Parameters, initialise

Array = NDArray[Any]


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
    drawn = initialise(config, data.n_features, output_units(data.n_classes), seed)
    if not goes_on:
        return drawn
    weights = _matched(estimator.coefs_, drawn.weights, "coefs_")
    biases = _matched(getattr(estimator, "intercepts_", []), drawn.biases, "intercepts_")
    known = getattr(estimator, "_batchnorm", {})
    if _shapes(known.get("scale", [])) != _shapes(drawn.scale):
        known = {kind: getattr(drawn, kind) for kind in BATCHNORM_TENSORS}
    normalised = {kind: [array.astype(config.dtype) for array in arrays] for kind, arrays in known.items()}
    return Parameters(weights, biases, **normalised)


def _matched(given: Any, like: list[Array], name: str) -> list[Array]:
    """Copies in the dtype of the network."""
    if _shapes(given) != _shapes(like):
        raise DataError(f"{name}: expected arrays of shapes {_shapes(like)}, found {_shapes(given)}")
    arrays = [np.array(array, expected.dtype) for array, expected in zip(given, like, strict=True)]
    if not all(np.isfinite(array).all() for array in arrays):
        raise DataError(f"{name}: expected finite numbers, found NaN or infinity")
    return arrays


def _shapes(arrays: Any) -> list[tuple[int, ...]]:
    return [np.shape(array) for array in arrays]


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
