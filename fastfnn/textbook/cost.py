"""The cost and the accuracy.

Shapes: AL and Y (C, m), examples as columns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastfnn.errors import DataError
from fastfnn.kernels import columns
from fastfnn.textbook.arrays import Array, as_matrix, check_same_shape, layers_of
from fastfnn.textbook.forward import L_model_forward, Parameters
from fastfnn.textbook.options import Batchnorm, L2Convention, Logarithm, check_choice

EXACT = Logarithm()


def compute_cost(
    AL: ArrayLike,
    Y: ArrayLike,
    parameters: Parameters | None = None,
    lambd: float = 0.0,
    *,
    logarithm: Logarithm = EXACT,
    l2_convention: L2Convention = "per_batch",
) -> float:
    """The mean over the examples of -log of the true class's probability, plus the penalty.

    Only true classes are looked at, so that 0 * log 0 does not arise; a probability that has become 0 counts as
    4.9e-324, which makes an example cost 744.4 at most.

    Args:
        AL: probabilities. Y: one-hot.
        parameters: whose weights (not biases) are penalised.
        lambd: factor of the penalty, lambd / (2 m) times the sum of squared weights.
        logarithm: what is done to the probabilities before.
        l2_convention: "per_batch", or "fixed" for a penalty of lambd / 2 times the sum.

    Raises:
        DataError: when AL and Y differ in shape or have no example.
    """
    AL, Y = as_matrix(AL, "AL"), as_matrix(Y, "Y")
    check_same_shape(AL, Y, "AL, Y")
    examples = Y.shape[1]
    if not examples:
        raise DataError(f"Y: expected at least one example, found shape {Y.shape}")
    low, high = (logarithm.clip, 1 - logarithm.clip) if logarithm.clip else (-math.inf, math.inf)
    cost: float = columns.cross_entropy(AL, Y, logarithm.eps, low, high) / examples
    if lambd and parameters is not None:
        check_choice("l2_convention", l2_convention, ("per_batch", "fixed"))
        cost += lambd / (2 * examples if l2_convention == "per_batch" else 2) * squared_weights(parameters)
    return cost


def squared_weights(parameters: Mapping[str, Any]) -> float:
    """The sum of squared weights."""
    weights = (as_matrix(parameters[f"W{layer}"], f"W{layer}") for layer in range(1, layers_of(parameters) + 1))
    return math.fsum(float(np.vdot(W, W)) for W in weights)


def accuracy_of(AL: Array, Y: Array) -> float:
    """The share of examples whose most probable class is the true one."""
    return float(np.mean(AL.argmax(axis=0) == Y.argmax(axis=0)))


def Predict(X: ArrayLike, Y: ArrayLike, parameters: Parameters, use_batchnorm: bool | Batchnorm = False) -> float:
    """The accuracy (0..1) of the network; batch norm uses the statistics of the X that is passed.

    Raises:
        DataError: when shapes do not fit together, or there is no example.
    """
    AL, _ = L_model_forward(X, parameters, use_batchnorm)
    Y = as_matrix(Y, "Y")
    check_same_shape(AL, Y, "AL, Y")
    if not Y.size:
        raise DataError(f"Y: expected at least one example, found shape {Y.shape}")
    return accuracy_of(AL, Y)
