"""The backward pass, function by function, and the step.

The gradient of the mean cost with respect to x is dx. Those of activations and linear outputs are not divided by the
number of examples m; those of parameters are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastfnn.kernels import columns
from fastfnn.textbook.arrays import FLOAT64, Array, as_matrix, check_same_shape, layers_of, refuse, scratch, with_rows
from fastfnn.textbook.forward import Cache, LinearCache, in_rows, out_of_rows, softmax
from fastfnn.textbook.gradients import Gradients
from fastfnn.textbook.options import L2Convention, check_choice


def relu_backward(dA: ArrayLike, activation_cache: ArrayLike) -> Array:
    """dZ: dA where Z > 0, else 0. Neither argument is changed."""
    dA, Z = as_matrix(dA, "dA"), as_matrix(activation_cache, "activation_cache")
    check_same_shape(dA, Z, "dA, activation_cache")
    dZ = np.empty(Z.shape)
    if dZ.size:
        columns.relu_backward(with_rows(dA), with_rows(Z), dZ)
    return dZ


def softmax_backward(dA: ArrayLike, activation_cache: ArrayLike) -> Array:
    """dZ: the product of the softmax's Jacobian, at Z (C, m), with dA = -Y / AL. Neither argument is changed.

    `L_model_backward` takes AL - Y, which is the same and divides by nothing.
    """
    dA, Z = as_matrix(dA, "dA"), as_matrix(activation_cache, "activation_cache")
    check_same_shape(dA, Z, "dA, activation_cache")
    A, _ = softmax(Z)
    dZ = A * dA
    dZ -= A * dZ.sum(axis=0)
    return dZ


def Linear_backward(dZ: ArrayLike, cache: LinearCache) -> tuple[Array, Array, Array]:
    """dA_prev = W.T @ dZ, dW = dZ @ A.T / m and db = the mean of dZ over the examples."""
    dZ = as_matrix(dZ, "dZ")
    dW, db = _parameter_gradients(dZ, cache)
    return _input_gradient(as_matrix(cache["W"], "W"), dZ), dW, db


def _parameter_gradients(dZ: Array, cache: LinearCache) -> tuple[Array, Array]:
    A, rows = as_matrix(cache["A"], "A"), with_rows(dZ)
    dW, db = np.empty((dZ.shape[0], A.shape[0])), np.empty((dZ.shape[0], 1))
    outcome = columns.parameter_gradients(rows, A, dW, db, scratch(A.shape[0]))
    if outcome == columns.DONE:
        return dW, db
    if outcome != columns.LEFT or not A.shape[1]:
        refuse(dZ=dZ, A=A)
    np.matmul(dZ, A.T, out=dW)
    dW /= A.shape[1]
    return dW, db


def _input_gradient(W: Array, dZ: Array) -> Array:
    dA = np.empty((W.shape[1], dZ.shape[1]))
    outcome = columns.input_gradient(W, with_rows(dZ), dA)
    if outcome == columns.DONE:
        return dA
    if outcome != columns.LEFT:
        refuse(W=W, dZ=dZ)
    return np.matmul(W.T, dZ, out=dA)


def linear_activation_backward(dA: ArrayLike, cache: Cache, activation: str) -> tuple[Array, Array, Array]:
    """dA_prev, dW and db of a layer from the gradient of its activations."""
    check_choice("activation", activation, ("relu", "softmax"))
    linear_cache, activation_cache = cache
    backward = relu_backward if activation == "relu" else softmax_backward
    return Linear_backward(backward(dA, activation_cache), linear_cache)


def L_model_backward(
    AL: ArrayLike,
    Y: ArrayLike,
    caches: list[Cache],
    *,
    lambd: float = 0.0,
    l2_convention: L2Convention = "per_batch",
) -> Gradients:
    """The gradients of all layers: dW1, db1, dW2, ... and dA0, dA1, ... of the activations.

    Args:
        AL: what `L_model_forward` returned. Y: (C, m) one-hot.
        caches: of `L_model_forward`, this one or another with the same layout.
        lambd: factor of the L2 penalty: lambd / m * W is added to dW, or lambd * W where `l2_convention` is "fixed".
        l2_convention: "per_batch" or "fixed".

    The gradient of the inputs, dA0, is computed when somebody looks at it; it is that of the weights at this call.
    """
    check_choice("l2_convention", l2_convention, ("per_batch", "fixed"))
    AL, Y = as_matrix(AL, "AL"), as_matrix(Y, "Y")
    check_same_shape(AL, Y, "AL, Y")
    dZ = AL - Y
    decay = lambd / max(1, Y.shape[1]) if l2_convention == "per_batch" else lambd
    entries: dict[str, Array] = {}
    for layer in range(len(caches), 0, -1):
        linear_cache, before = caches[layer - 1][0], caches[layer - 2] if layer > 1 else None
        dW, db, dA, dZ_before = _layer_backward(dZ, linear_cache, before)
        if decay:
            dW += decay * as_matrix(linear_cache["W"], "W")
        entries[f"dW{layer}"], entries[f"db{layer}"] = dW, db
        if dA is not None:
            entries[f"dA{layer - 1}"] = dA
            dZ = dZ_before
    return Gradients(entries, inputs=_deferred_input_gradient(caches[0][0]["W"], dZ))


def _layer_backward(dZ: Array, cache: LinearCache, before: Cache | None) -> tuple[Array, Array, Array | None, Array]:
    """dW, db and dA_prev of a layer, and dZ of the layer before; of the first layer, only its parameters'."""
    if before is None:
        return *_parameter_gradients(dZ, cache), None, dZ
    linear_before, Z_before = before
    if "mask" not in linear_before and "batchnorm" not in linear_before:
        gradients = _plain_layer_backward(dZ, cache, with_rows(as_matrix(Z_before, "Z")))
        if gradients is not None:
            return gradients
    dA = _input_gradient(as_matrix(cache["W"], "W"), dZ)
    return *_parameter_gradients(dZ, cache), dA, _activation_gradient(dA, before)


def _plain_layer_backward(dZ: Array, cache: LinearCache, Z_before: Array) -> tuple[Array, Array, Array, Array] | None:
    """The same in one call, if all products are such as the kernels compute."""
    A, W = as_matrix(cache["A"], "A"), as_matrix(cache["W"], "W")
    dW, db = np.empty(W.shape), np.empty((W.shape[0], 1))
    dA, dZ_before = np.empty((W.shape[1], dZ.shape[1])), np.empty((W.shape[1], dZ.shape[1]))
    memory = scratch(A.shape[0])
    outcome = columns.layer_backward(with_rows(dZ), A, W, Z_before, dW, db, dA, dZ_before, memory)
    return (dW, db, dA, dZ_before) if outcome == columns.DONE else None


def _activation_gradient(dA: Array, cache: Cache) -> Array:
    """dZ of a hidden layer, through dropout, batch norm and ReLU."""
    linear_cache, Z = cache
    if "mask" in linear_cache:
        dA = dA * linear_cache["mask"]
    if "batchnorm" in linear_cache:
        options, rows, deviations = linear_cache["batchnorm"]
        gradient = np.empty(rows.shape)
        on_deviation, unbiased = options.eps_on == "deviation", options.variance == "unbiased"
        columns.normalise_backward(in_rows(dA, options.axis), rows, deviations, gradient, on_deviation, unbiased)
        dA = out_of_rows(gradient, dA.shape, options.axis)
    return relu_backward(dA, Z)


def _deferred_input_gradient(W: ArrayLike, dZ: Array) -> Callable[[], Array]:
    """The gradient of the inputs, for the weights as they are now: a step may change them before it is asked for."""
    weights = np.array(W, dtype=np.float64)
    return lambda: _input_gradient(weights, dZ)


def Update_parameters(parameters: dict[str, Any], grads: Mapping[str, Any], learning_rate: float) -> dict[str, Any]:
    """Takes a step: the arrays are changed in place, and the same dictionary is returned.

    What cannot be changed, because it is no array or a read-only one, is replaced.

    Raises:
        DataError: when a gradient has another shape than its parameter.
    """
    rate = float(learning_rate)
    for layer in range(1, layers_of(parameters) + 1):
        W, b = parameters[f"W{layer}"], parameters[f"b{layer}"]
        dW, db = grads[f"dW{layer}"], grads[f"db{layer}"]
        if _is_plain(W, dW) and _is_plain(b, db):
            columns.gradient_step(W, dW, b, db, rate)
        else:
            parameters[f"W{layer}"] = _stepped(W, dW, rate, f"W{layer}")
            parameters[f"b{layer}"] = _stepped(b, db, rate, f"b{layer}")
    return parameters


def _is_plain(parameter: Any, gradient: Any) -> bool:
    """Whether the kernels can take a step with a parameter and its gradient as they are."""
    if type(parameter) is not np.ndarray or type(gradient) is not np.ndarray or not parameter.flags.writeable:
        return False
    fits = parameter.ndim == 2 and parameter.shape == gradient.shape
    return fits and parameter.dtype is FLOAT64 and gradient.dtype is FLOAT64


def _stepped(parameter: Any, gradient: Any, rate: float, name: str) -> Any:
    """The parameter after a step: the same object where its memory could be written to."""
    array, step = np.asarray(parameter), rate * as_matrix(gradient, f"d{name}")
    check_same_shape(array, step, f"{name}, d{name}")
    is_its_memory = np.may_share_memory(array, np.asarray(parameter))  # what has to be converted, is so each time
    if array.dtype.kind == "f" and array.flags.writeable and is_its_memory:
        array -= step.astype(array.dtype)
        return parameter
    return array - step
