"""The course assignment in plain NumPy: what `fastfnn.textbook` must agree with, option by option.

Written as students write it: examples are columns, one function a formula, a Python loop over the batches.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def initialize_parameters(layer_dims: Any, scale: Any = None) -> dict[str, Array]:
    parameters = {}
    for layer in range(1, len(layer_dims)):
        n_in, n_out = layer_dims[layer - 1], layer_dims[layer]
        factor = np.sqrt(2 / n_in) if scale is None else scale(n_in, n_out)
        parameters[f"W{layer}"] = np.random.randn(n_out, n_in) * factor
        parameters[f"b{layer}"] = np.zeros((n_out, 1))
    return parameters


def linear_forward(A: Array, W: Array, b: Array) -> tuple[Array, dict[str, Array]]:
    return np.dot(W, A) + b, {"A": A, "W": W, "b": b}


def relu(Z: Array) -> tuple[Array, Array]:
    return np.maximum(0, Z), Z


def softmax(Z: Array) -> tuple[Array, Array]:
    powers = np.exp(Z - Z.max(axis=0, keepdims=True))
    return powers / powers.sum(axis=0, keepdims=True), Z


def linear_activation_forward(A_prev: Array, W: Array, B: Array, activation: str) -> tuple[Array, Any]:
    Z, linear_cache = linear_forward(A_prev, W, B)
    A, activation_cache = relu(Z) if activation == "relu" else softmax(Z)
    return A, (linear_cache, activation_cache)


def apply_batchnorm(
    A: Array, axis: int | None = 1, eps: float = 1e-8, eps_on: str = "variance", variance: str = "biased"
) -> Array:
    centred = A - A.mean(axis=axis, keepdims=True)
    spread = A.var(axis=axis, keepdims=True, ddof=0 if variance == "biased" else 1)
    return centred / (np.sqrt(spread) + eps if eps_on == "deviation" else np.sqrt(spread + eps))


def batchnorm_backward(dY: Array, A: Array, options: dict[str, Any]) -> Array:
    """The true gradient, by the chain rule through mean and deviation, one formula a line."""
    axis, eps = options.get("axis", 1), options.get("eps", 1e-8)
    n = A.size if axis is None else A.shape[axis]
    degrees = n if options.get("variance", "biased") == "biased" else n - 1
    centred = A - A.mean(axis=axis, keepdims=True)
    spread = (centred**2).sum(axis=axis, keepdims=True) / degrees
    on_deviation = options.get("eps_on") == "deviation"
    divisor = np.sqrt(spread) + eps if on_deviation else np.sqrt(spread + eps)
    ddivisor = -(dY * centred).sum(axis=axis, keepdims=True) / divisor**2
    root = np.sqrt(spread) if on_deviation else divisor
    dspread = np.divide(ddivisor, 2 * root, out=np.zeros_like(root), where=root > 0)
    dcentred = dY / divisor + dspread * 2 * centred / degrees
    return dcentred - dcentred.mean(axis=axis, keepdims=True)


def L_model_forward(
    X: Array,
    parameters: dict[str, Array],
    use_batchnorm: bool = False,
    batchnorm: dict[str, Any] | None = None,
    dropout: float = 0.0,
    only_gradient: bool = False,
    random: Any = None,
) -> tuple[Array, list[Any]]:
    options = dict(batchnorm or {})
    gradient = options.pop("gradient", "course")
    A, caches, layers = X, [], len(parameters) // 2
    for layer in range(1, layers):
        A, cache = linear_activation_forward(A, parameters[f"W{layer}"], parameters[f"b{layer}"], "relu")
        if use_batchnorm:
            if gradient == "true":
                cache[0]["before"] = (A, options)
            A = apply_batchnorm(A, **options)
        if dropout:
            draw = np.random.random if random is None else random.random
            mask = (draw(A.shape) < 1 - dropout) / (1 - dropout)
            cache[0]["D"] = mask
            A = A if only_gradient else A * mask
        caches.append(cache)
    AL, cache = linear_activation_forward(A, parameters[f"W{layers}"], parameters[f"b{layers}"], "softmax")
    return AL, [*caches, cache]


def squared_weights(parameters: dict[str, Array]) -> float:
    return sum(np.sum(W**2) for name, W in parameters.items() if name.startswith("W"))


def compute_cost(
    AL: Array,
    Y: Array,
    parameters: dict[str, Array] | None = None,
    lambd: float = 0.0,
    eps: float = 0.0,
    clip: float = 0.0,
    l2_convention: str = "per_batch",
) -> float:
    m = Y.shape[1]
    if clip:
        AL = np.clip(AL, clip, 1 - clip)
    cost = -np.sum(Y * np.log(AL + eps)) / m
    if parameters is not None:
        cost += lambd / (2 * m if l2_convention == "per_batch" else 2) * squared_weights(parameters)
    return float(cost)


def Linear_backward(dZ: Array, cache: dict[str, Array]) -> tuple[Array, Array, Array]:
    A, W, m = cache["A"], cache["W"], cache["A"].shape[1]
    return np.dot(W.T, dZ), np.dot(dZ, A.T) / m, np.sum(dZ, axis=1, keepdims=True) / m


def relu_backward(dA: Array, activation_cache: Array) -> Array:
    dZ = np.array(dA, copy=True)
    dZ[activation_cache <= 0] = 0
    return dZ


def softmax_backward(dA: Array, activation_cache: Array) -> Array:
    A, _ = softmax(activation_cache)
    return A * (dA - np.sum(dA * A, axis=0, keepdims=True))


def linear_activation_backward(dA: Array, cache: Any, activation: str) -> tuple[Array, Array, Array]:
    linear_cache, activation_cache = cache
    backward = relu_backward if activation == "relu" else softmax_backward
    return Linear_backward(backward(dA, activation_cache), linear_cache)


def L_model_backward(
    AL: Array, Y: Array, caches: list[Any], lambd: float = 0.0, l2_convention: str = "per_batch"
) -> dict[str, Array]:
    grads, layers, m = {}, len(caches), Y.shape[1]
    dA, dW, db = Linear_backward(AL - Y, caches[-1][0])
    grads[f"dA{layers - 1}"], grads[f"dW{layers}"], grads[f"db{layers}"] = dA, dW, db
    for layer in range(layers - 1, 0, -1):
        linear_cache = caches[layer - 1][0]
        if "D" in linear_cache:
            dA = dA * linear_cache["D"]
        if "before" in linear_cache:
            dA = batchnorm_backward(dA, *linear_cache["before"])
        dA, dW, db = linear_activation_backward(dA, caches[layer - 1], "relu")
        grads[f"dA{layer - 1}"], grads[f"dW{layer}"], grads[f"db{layer}"] = dA, dW, db
    for layer in range(1, layers + 1):
        decay = lambd / m if l2_convention == "per_batch" else lambd
        grads[f"dW{layer}"] = grads[f"dW{layer}"] + decay * caches[layer - 1][0]["W"]
    return grads


def Update_parameters(parameters: dict[str, Array], grads: dict[str, Array], learning_rate: float) -> dict[str, Array]:
    for layer in range(1, len(parameters) // 2 + 1):
        parameters[f"W{layer}"] = parameters[f"W{layer}"] - learning_rate * grads[f"dW{layer}"]
        parameters[f"b{layer}"] = parameters[f"b{layer}"] - learning_rate * grads[f"db{layer}"]
    return parameters


def Predict(X: Array, Y: Array, parameters: dict[str, Array], use_batchnorm: bool = False) -> float:
    AL, _ = L_model_forward(X, parameters, use_batchnorm)
    return float(np.mean(AL.argmax(axis=0) == Y.argmax(axis=0)))


def split_columns(m: int, fraction: float, first: str, random: Any) -> tuple[Array, Array]:
    order = random.permutation(m)
    if first == "train":
        return order[: int((1 - fraction) * m)], order[int((1 - fraction) * m) :]
    return order[int(fraction * m) :], order[: int(fraction * m)]


def should_stop(history: list[tuple[int, float]], stopping: dict[str, Any]) -> bool:
    """The rules on (step, value to be minimised) of all checks so far."""
    values, tol = [value for _, value in history], stopping["tol"]
    if stopping["rule"] == "plateau":
        return len(values) > 1 and abs(values[-1] - values[-2]) < tol
    best, best_at = np.inf, 0
    for number, value in enumerate(values):
        if value < best - tol:
            best, best_at = value, number
    waited = history[-1][0] - history[best_at][0]
    return bool((waited if stopping["patience_in"] == "steps" else len(values) - 1 - best_at) >= stopping["patience"])


def L_layer_model(
    X: Array,
    Y: Array,
    layers_dims: Any,
    learning_rate: float,
    num_iterations: int,
    batch_size: int,
    use_batchnorm: bool = False,
    *,
    count: str = "epochs",
    last_batch: str = "keep",
    reshuffle: bool = False,
    lambd: float = 0.0,
    l2_convention: str = "per_batch",
    scale: Any = None,
    validation: Any = None,
    first: str = "train",
    stopping: dict[str, Any] | None = None,
    forward: dict[str, Any] | None = None,
    logarithm: dict[str, float] | None = None,
    random: Any = np.random,
) -> Any:
    forward, logarithm, checks, costs, accuracies, step = forward or {}, logarithm or {}, [], [], [], 0
    if isinstance(validation, float):
        train, held_out = split_columns(X.shape[1], validation, first, random)
        validation = X[:, held_out], Y[:, held_out]
        X, Y = X[:, train], Y[:, train]
    parameters, m = initialize_parameters(layers_dims, scale), X.shape[1]
    while True:
        order = random.permutation(m) if reshuffle else np.arange(m)
        for begin in range(0, m, batch_size):
            batch = order[begin : begin + batch_size]
            if last_batch == "drop" and len(batch) < batch_size:
                continue
            if step == num_iterations and count == "steps":
                return parameters, costs, checks, accuracies, step
            AL, caches = L_model_forward(X[:, batch], parameters, use_batchnorm, **forward)
            if step % 100 == 0:
                costs.append(compute_cost(AL, Y[:, batch], parameters, lambd, l2_convention=l2_convention, **logarithm))
            grads = L_model_backward(AL, Y[:, batch], caches, lambd, l2_convention)
            parameters = Update_parameters(parameters, grads, learning_rate)
            step += 1
            if validation is not None and step % (stopping or {"every": 100})["every"] == 0:
                without_dropout = {"batchnorm": forward.get("batchnorm")}
                AL, _ = L_model_forward(validation[0], parameters, use_batchnorm, **without_dropout)
                Yv = validation[1]
                cost = compute_cost(AL, Yv, parameters, lambd, l2_convention=l2_convention, **logarithm)
                accuracies.append(float(np.mean(AL.argmax(axis=0) == Yv.argmax(axis=0))))
                by_cost = (stopping or {}).get("metric", "validation_cost") == "validation_cost"
                checks.append((step, cost if by_cost else -accuracies[-1]))
                if stopping and should_stop(checks, stopping):
                    return parameters, costs, checks, accuracies, step
        if count == "epochs" and step >= num_iterations * (
            m // batch_size if last_batch == "drop" else -(-m // batch_size)
        ):
            return parameters, costs, checks, accuracies, step
