"""Weights of scikit-learn's `MLPClassifier`."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastfnn.config import NetworkConfig
from fastfnn.errors import DataError
from fastfnn.exchange.layers import Layer, Linear, Nonlinearity, assemble
from fastfnn.parameters import Parameters


def read_mlp(mlp: Any) -> tuple[NetworkConfig, Parameters]:
    """Configuration and arrays of a fitted `MLPClassifier`.

    Raises:
        DataError: when it is something else, is not fitted, or has several labels for an example.
    """
    _require_fitted_classifier(mlp)
    layers: list[Layer] = []
    for number, (weights, biases) in enumerate(zip(mlp.coefs_, mlp.intercepts_, strict=True), start=1):
        if layers:
            layers.append(Nonlinearity(f"activation of layer {number - 1}", mlp.activation))
        layers.append(Linear(f"layer {number}", weights, biases))
    if mlp.out_activation_ == "logistic":
        layers[-1] = _two_logits(layers[-1])
    return assemble(layers)


def _require_fitted_classifier(mlp: Any) -> None:
    from sklearn.neural_network import MLPClassifier

    if not isinstance(mlp, MLPClassifier):
        raise DataError(f"mlp: expected a fitted MLPClassifier, found {type(mlp).__name__}")
    if not hasattr(mlp, "coefs_"):
        raise DataError("mlp: expected a fitted MLPClassifier, found one before fit")
    if mlp.out_activation_ == "logistic" and mlp.n_outputs_ > 1:
        raise DataError(f"mlp: expected one label for each example, found {mlp.n_outputs_} (multilabel)")


def _two_logits(layer: Any) -> Linear:
    """The logistic function of z is the softmax of (0, z)."""
    return Linear(layer.name, np.hstack((np.zeros_like(layer.weights), layer.weights)), np.append([0], layer.biases))
