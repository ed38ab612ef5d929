"""The forward pass, function by function.

Shapes: X (K, m) with examples as columns, A (H, m) of a layer, AL (C, m); W (H, K), b (H, 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from fastfnn.kernels import columns
from fastfnn.textbook.arrays import Array, as_matrix, layers_of, refuse, scratch, with_rows
from fastfnn.textbook.options import Batchnorm, Dropout, batchnorm_of, check_choice, generator_of

LinearCache: TypeAlias = dict[str, Any]
Cache: TypeAlias = tuple[LinearCache, Array]
Parameters: TypeAlias = Mapping[str, Any]


def linear_forward(A: ArrayLike, W: ArrayLike, b: ArrayLike) -> tuple[Array, LinearCache]:
    """Z = W @ A + b.

    Returns:
        Z (H, m) and the cache {"A", "W", "b"}, which refers to the arguments.

    Raises:
        DataError: when the shapes do not fit together.
    """
    A, W, b = as_matrix(A, "A"), as_matrix(W, "W"), as_matrix(b, "b")
    Z, _ = _linear(A, W, b, rectify=False)
    return Z, {"A": A, "W": W, "b": b}


def _linear(A: Array, W: Array, b: Array, *, rectify: bool) -> tuple[Array, Array]:
    """Z = W @ A + b, and max(Z, 0) or else Z again."""
    Z = np.empty((W.shape[0], A.shape[1]))
    rectified = np.empty(Z.shape) if rectify else Z
    outcome = columns.linear(W, A, b, Z, rectified, rectify, scratch(W.shape[1]))
    if outcome == columns.DONE:
        return Z, rectified
    if outcome != columns.LEFT:
        refuse(A=A, W=W, b=b)
    np.matmul(W, A, out=Z)
    Z += b
    return Z, np.maximum(Z, 0.0, out=rectified) if rectify else Z


def relu(Z: ArrayLike) -> tuple[Array, Array]:
    """max(Z, 0), and Z as the cache."""
    Z = as_matrix(Z, "Z")
    return np.maximum(Z, 0.0), Z


def softmax(Z: ArrayLike) -> tuple[Array, Array]:
    """The softmax of each column of Z (C, m), and Z as the cache.

    Each column is shifted by its own maximum, so that nothing overflows, and no column underflows as a whole.
    """
    Z = as_matrix(Z, "Z")
    A = np.empty(Z.shape)
    if A.size:
        columns.softmax(with_rows(Z), A)
    return A, Z


def linear_activation_forward(A_prev: ArrayLike, W: ArrayLike, B: ArrayLike, activation: str) -> tuple[Array, Cache]:
    """A layer: the linear map and then "relu" or "softmax"; returns A and the cache (linear cache, Z).

    Raises:
        ConfigError: for another activation.
        DataError: when the shapes do not fit together.
    """
    check_choice("activation", activation, ("relu", "softmax"))
    A_prev, W, b = as_matrix(A_prev, "A_prev"), as_matrix(W, "W"), as_matrix(B, "B")
    Z, A = _linear(A_prev, W, b, rectify=activation == "relu")
    if activation == "softmax":
        A, _ = softmax(Z)
    return A, ({"A": A_prev, "W": W, "b": b}, Z)


def L_model_forward(
    X: ArrayLike, parameters: Parameters, use_batchnorm: bool | Batchnorm = False, *, dropout: Dropout | None = None
) -> tuple[Array, list[Cache]]:
    """All layers: ReLU for the hidden ones, softmax for the last.

    Args:
        X: (K, m), examples as columns.
        parameters: W1, b1, W2, ...
        use_batchnorm: whether the outputs of hidden layers are normalised, and how.
        dropout: of the outputs of hidden layers; for training only.

    Returns:
        AL (C, m) and a cache for each layer. With dropout, the linear cache of a hidden layer has its scaled mask as
        "mask", and with batch norm's true gradient what this needs as "batchnorm".

    Raises:
        DataError: when the shapes do not fit together.
    """
    layers, batchnorm = layers_of(parameters), batchnorm_of(use_batchnorm)
    A, caches = as_matrix(X, "X"), []
    for layer in range(1, layers):
        A, cache = linear_activation_forward(A, parameters[f"W{layer}"], parameters[f"b{layer}"], "relu")
        if batchnorm:
            A = _normalise(A, batchnorm, cache[0])
        if dropout:
            A = _drop(A, dropout, cache[0])
        caches.append(cache)
    AL, cache = linear_activation_forward(A, parameters[f"W{layers}"], parameters[f"b{layers}"], "softmax")
    return AL, [*caches, cache]


def apply_batchnorm(A: ArrayLike, batchnorm: Batchnorm | None = None) -> Array:
    """A normalised by its own mean and deviation: each feature over the examples, unless `batchnorm` says otherwise."""
    return _normalised(as_matrix(A, "A"), batchnorm or Batchnorm())[0]


def in_rows(A: Array, axis: int | None) -> Array:
    """The values that are normalised together as rows."""
    if axis is None:
        return np.ascontiguousarray(A).reshape(1, -1)
    return with_rows(A if axis == 1 else A.T)


def out_of_rows(rows: Array, shape: tuple[int, ...], axis: int | None) -> Array:
    """The inverse of `in_rows`, for a matrix of a shape."""
    return rows.T if axis == 0 else rows.reshape(shape)


def _normalised(A: Array, options: Batchnorm) -> tuple[Array, Array, Array]:
    """The normalised matrix; its rows, and their deviations (rows, 2)."""
    rows = in_rows(A, options.axis)
    normalised, deviations = np.empty(rows.shape), np.empty((len(rows), 2))
    if rows.size:
        on_deviation, unbiased = options.eps_on == "deviation", options.variance == "unbiased"
        columns.normalise(rows, normalised, deviations, options.eps, on_deviation, unbiased)
    return out_of_rows(normalised, A.shape, options.axis), normalised, deviations


def _normalise(A: Array, options: Batchnorm, cache: LinearCache) -> Array:
    """The normalised outputs of a layer; the cache gets what their true gradient needs."""
    normalised, rows, deviations = _normalised(A, options)
    if options.gradient == "true":
        cache["batchnorm"] = (options, rows, deviations)
    return normalised


def _drop(A: Array, dropout: Dropout, cache: LinearCache) -> Array:
    """The outputs of a layer after dropout; the cache gets the scaled mask."""
    kept = generator_of(dropout.random_state).random(A.shape) < 1 - dropout.probability
    mask = cache["mask"] = kept / (1 - dropout.probability)
    return A if dropout.only_gradient else A * mask
