"""The specification, in NumPy: what every kernel must compute, written to be read.

Shapes: B examples of a batch, K features in, H units out of a layer, C classes; L layers with weights. Examples are
rows. Each forward operation stands next to its backward; `dx` is the gradient of the mean loss with respect to `x`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastfnn import training
from fastfnn.config import NetworkConfig, TrainingConfig
from fastfnn.data import Dataset, Split
from fastfnn.parameters import BATCHNORM_EPSILON, Parameters, initialise
from fastfnn.progress import Observer
from fastfnn.results import TrainingResult
from fastfnn.stretch import Stretch, Totals
from fastfnn.training import ShouldStop

Array = NDArray[Any]

BATCHNORM_MOMENTUM = 0.9
EVALUATION_CHUNK = 1024


# ------------------------------------------------------------------------------------------------------- operations


def linear(x: Array, weights: Array, biases: Array) -> Array:
    """(B, K), (K, H), (H,) -> (B, H)."""
    return np.asarray(x @ weights + biases)


def linear_backward(dz: Array, x: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Gradients of x, weights and biases."""
    return dz @ weights.T, x.T @ dz, dz.sum(axis=0)


def relu(z: Array) -> Array:
    """max(z, 0); NaN stays NaN, so that a diverged run is seen."""
    return np.maximum(z, 0)


def relu_backward(da: Array, a: Array) -> Array:
    """The gradient at 0 is 0."""
    return np.asarray(np.where(a > 0, da, 0))


def identity(z: Array) -> Array:
    """z; a linear layer."""
    return z


def identity_backward(da: Array, a: Array) -> Array:
    """da."""
    return da


def logistic(z: Array) -> Array:
    """1 / (1 + exp(-z))."""
    return np.asarray(1 / (1 + np.exp(-z)))


def logistic_backward(da: Array, a: Array) -> Array:
    """The derivative is a (1 - a)."""
    return np.asarray(da * a * (1 - a))


def tanh(z: Array) -> Array:
    """The hyperbolic tangent."""
    return np.asarray(np.tanh(z))


def tanh_backward(da: Array, a: Array) -> Array:
    """The derivative is 1 - a**2."""
    return np.asarray(da * (1 - a * a))


ACTIVATIONS = {
    "relu": (relu, relu_backward),
    "identity": (identity, identity_backward),
    "logistic": (logistic, logistic_backward),
    "tanh": (tanh, tanh_backward),
}


def batchnorm(z: Array, scale: Array, shift: Array) -> tuple[Array, Array, Array, Array]:
    """Normalises each unit over the examples (Ioffe and Szegedy 2015, algorithm 1).

    Returns the output (B, H), the normalised values (B, H), and mean and biased variance (H,).
    """
    mean, variance = z.mean(axis=0), z.var(axis=0)
    normalised = (z - mean) / np.sqrt(variance + z.dtype.type(BATCHNORM_EPSILON))
    return normalised * scale + shift, normalised, mean, variance


def batchnorm_backward(dy: Array, normalised: Array, scale: Array, variance: Array) -> tuple[Array, Array, Array]:
    """Gradients of z, scale and shift, through mean and variance (Ioffe and Szegedy 2015, section 3)."""
    dscale, dshift = (dy * normalised).sum(axis=0), dy.sum(axis=0)
    n = len(dy)
    centred = dy - dshift / n - normalised * (dscale / n)
    return centred * scale / np.sqrt(variance + dy.dtype.type(BATCHNORM_EPSILON)), dscale, dshift


def batchnorm_inference(z: Array, scale: Array, shift: Array, mean: Array, variance: Array) -> Array:
    """Normalises with the running statistics."""
    return np.asarray((z - mean) / np.sqrt(variance + z.dtype.type(BATCHNORM_EPSILON)) * scale + shift)


def avalanche(x: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The finaliser of MurmurHash3: every input bit flips each output bit with probability close to 1/2."""
    x = x ^ (x >> np.uint32(16))
    x = x * np.uint32(0x85EBCA6B)
    x = x ^ (x >> np.uint32(13))
    x = x * np.uint32(0xC2B2AE35)
    return x ^ (x >> np.uint32(16))


def dropout_mask(examples: NDArray[np.int64], units: int, key: np.uint32, probability: float) -> NDArray[np.bool_]:
    """Which units of which examples stay: (B, H), a function of counters alone, whatever the batch or the order.

    `key` stands for seed, epoch and layer. A unit is dropped when its 32 random bits, as a fraction, are below
    `probability`.
    """
    golden = np.uint32(0x9E3779B9)  # consecutive counters are spread over 2**32 before they are mixed
    of_example = avalanche(examples.astype(np.uint32) + key)
    of_unit = np.arange(units, dtype=np.uint32) * golden
    return avalanche(of_example[:, None] + of_unit[None, :]) >= np.uint32(probability * 2**32)


def dropout(a: Array, mask: NDArray[np.bool_], probability: float) -> Array:
    """Inverted dropout (Srivastava et al. 2014, section 10): what stays is scaled so that the mean stays."""
    return np.where(mask, a * a.dtype.type(1 / (1 - probability)), 0)


dropout_backward = dropout  # the same mask and factor apply to the gradient


def cross_entropy(logits: Array, labels: NDArray[np.int64]) -> tuple[Array, Array]:
    """Loss of each example (B,) and softmax (B, C), by log-sum-exp about the largest logit of each example."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    total = exponentials.sum(axis=1, keepdims=True)
    return np.log(total[:, 0]) - shifted[np.arange(len(labels)), labels], exponentials / total


def cross_entropy_backward(softmax: Array, labels: NDArray[np.int64], weights: NDArray[np.float64]) -> Array:
    """Gradient of the weighted mean loss with respect to the logits; 0 where all weights (B,) are."""
    dlogits = softmax.copy()
    dlogits[np.arange(len(labels)), labels] -= 1
    shares = weights / weights.sum() if weights.any() else weights
    return np.asarray(dlogits * shares[:, None].astype(softmax.dtype))


# ------------------------------------------------------------------------------------------------------- the network


@dataclass
class Cache:
    """What the backward pass of one hidden layer needs."""

    x: Array
    activation: Array
    normalised: list[Array] = field(default_factory=list)
    variances: list[Array] = field(default_factory=list)
    mask: NDArray[np.bool_] | None = None


def batch_groups(n: int, group: int | None) -> list[slice]:
    """The consecutive groups of examples of a batch that share batch norm statistics."""
    size = group or n
    return [slice(first, min(first + size, n)) for first in range(0, n, size)]


class Pass:
    """Forward and backward of one batch; updates the running statistics as a side effect of the forward pass."""

    def __init__(self, parameters: Parameters, config: TrainingConfig) -> None:
        self.p, self.config = parameters, config
        self.caches: list[Cache] = []

    def forward(self, x: Array, examples: NDArray[np.int64], keys: NDArray[np.uint32]) -> Array:
        """Logits (B, C) of the batch x (B, K) of the examples with these numbers."""
        activation, _ = ACTIVATIONS[self.config.activation]
        for layer, probability in enumerate(self.config.dropout_by_layer):
            z = linear(x, self.p.weights[layer], self.p.biases[layer])
            cache = Cache(x=x, activation=z)
            if self.config.batchnorm == "before":
                z = self._normalise(z, layer, cache)
            x = cache.activation = activation(z)
            if self.config.batchnorm == "after":
                x = self._normalise(x, layer, cache)
            if probability > 0:
                cache.mask = dropout_mask(examples, x.shape[1], keys[layer], probability)
                x = dropout(x, cache.mask, probability)
            self.caches.append(cache)
        self.last_input = x
        return linear(x, self.p.weights[-1], self.p.biases[-1])

    def _normalise(self, z: Array, layer: int, cache: Cache) -> Array:
        outputs = []
        for group in batch_groups(len(z), self.config.batchnorm_group):
            y, normalised, mean, variance = batchnorm(z[group], self.p.scale[layer], self.p.shift[layer])
            cache.normalised.append(normalised)
            cache.variances.append(variance)
            outputs.append(y)
            keep = z.dtype.type(BATCHNORM_MOMENTUM)
            for running, new in ((self.p.running_mean, mean), (self.p.running_variance, variance)):
                running[layer] = keep * running[layer] + (1 - keep) * new
        return np.concatenate(outputs)

    def backward(self, dlogits: Array) -> Parameters:
        """Gradients of the mean loss, in the shape of the parameters."""
        layers = len(self.p.weights)
        _, activation_backward = ACTIVATIONS[self.config.activation]
        gradients = self.p.copy()  # every entry is overwritten below, but for the running statistics
        dx, gradients.weights[-1], gradients.biases[-1] = linear_backward(dlogits, self.last_input, self.p.weights[-1])
        for layer in reversed(range(layers - 1)):
            cache = self.caches[layer]
            if cache.mask is not None:
                dx = dropout_backward(dx, cache.mask, self.config.dropout_by_layer[layer])
            if self.config.batchnorm == "after":
                dx = self._normalise_backward(dx, layer, cache, gradients)
            dz = activation_backward(dx, cache.activation)
            if self.config.batchnorm == "before":
                dz = self._normalise_backward(dz, layer, cache, gradients)
            dx, gradients.weights[layer], gradients.biases[layer] = linear_backward(dz, cache.x, self.p.weights[layer])
        return gradients

    def _normalise_backward(self, dy: Array, layer: int, cache: Cache, gradients: Parameters) -> Array:
        groups = batch_groups(len(dy), self.config.batchnorm_group)
        parts = [
            batchnorm_backward(dy[group], normalised, self.p.scale[layer], variance)
            for group, normalised, variance in zip(groups, cache.normalised, cache.variances, strict=True)
        ]
        gradients.scale[layer] = np.sum([dscale for _, dscale, _ in parts], axis=0)
        gradients.shift[layer] = np.sum([dshift for _, _, dshift in parts], axis=0)
        return np.concatenate([dz for dz, _, _ in parts])


def infer(parameters: Parameters, x: Array, config: NetworkConfig) -> Array:
    """Logits (B, C) with running statistics and without dropout."""
    activation, _ = ACTIVATIONS[config.activation]
    for layer in range(len(parameters.weights) - 1):
        z = linear(x, parameters.weights[layer], parameters.biases[layer])
        if config.batchnorm == "off":
            x = activation(z)
            continue
        statistics = (parameters.running_mean[layer], parameters.running_variance[layer])
        affine = (parameters.scale[layer], parameters.shift[layer])
        x = (
            activation(batchnorm_inference(z, *affine, *statistics))
            if config.batchnorm == "before"
            else batchnorm_inference(activation(z), *affine, *statistics)
        )
    return linear(x, parameters.weights[-1], parameters.biases[-1])


# -------------------------------------------------------------------------------------------------------- optimisers


def sgd(w: Array, dw: Array, state: list[Array], rate: float, step: int, config: TrainingConfig) -> Array:
    """w - rate * dw."""
    return np.asarray(w - w.dtype.type(rate) * dw)


def momentum(w: Array, dw: Array, state: list[Array], rate: float, step: int, config: TrainingConfig) -> Array:
    """Polyak's heavy ball: the velocity is a decaying sum of gradients."""
    state[0] = w.dtype.type(config.momentum) * state[0] + dw
    return np.asarray(w - w.dtype.type(rate) * state[0])


def nesterov(w: Array, dw: Array, state: list[Array], rate: float, step: int, config: TrainingConfig) -> Array:
    """Nesterov's momentum in the form of Sutskever et al. (2013) with the look-ahead folded into the gradient."""
    mu = w.dtype.type(config.momentum)
    state[0] = mu * state[0] + dw
    return np.asarray(w - w.dtype.type(rate) * (dw + mu * state[0]))


def adam(w: Array, dw: Array, state: list[Array], rate: float, step: int, config: TrainingConfig) -> Array:
    """Kingma and Ba (2015), algorithm 1; `step` counts from 1."""
    real = w.dtype.type
    beta1, beta2 = config.adam_beta1, config.adam_beta2
    state[0] = real(beta1) * state[0] + real(1 - beta1) * dw
    state[1] = real(beta2) * state[1] + real(1 - beta2) * dw * dw
    mean = state[0] * real(1 / (1 - beta1**step))
    square = state[1] * real(1 / (1 - beta2**step))
    return np.asarray(w - real(rate) * mean / (np.sqrt(square) + real(config.adam_epsilon)))


OPTIMIZERS = {"sgd": sgd, "momentum": momentum, "nesterov": nesterov, "adam": adam, "adamw": adam}


def penalty_gradient(config: TrainingConfig, weight: float) -> float:
    """The factor of `W` in the gradient of the penalty, for a batch whose examples have this weight together."""
    if config.l2_convention == "fixed":
        return config.l2
    return config.l2 / weight if weight else 0.0


def update(
    w: Array, dw: Array, state: list[Array], rate: float, step: int, config: TrainingConfig, decay: float
) -> Array:
    """One step of the optimiser on one tensor, whose penalty has gradient `decay * w`.

    adamw applies the penalty to the weights and not through the moments (Loshchilov and Hutter 2019, algorithm 2).
    """
    decay = w.dtype.type(decay)
    if config.optimizer == "adamw":
        w = w - w.dtype.type(rate) * decay * w
    elif decay:
        dw = dw + decay * w
    return OPTIMIZERS[config.optimizer](w, dw, state, rate, step, config)


# ---------------------------------------------------------------------------------------------------------- training


def train(
    data: Dataset,
    config: TrainingConfig | None = None,
    *,
    progress: bool = False,
    checkpoint: str | Path | None = None,
    should_stop: ShouldStop | None = None,
    observer: Observer | None = None,
) -> TrainingResult:
    """`fastfnn.train` in NumPy: the same arguments, the same result, the same numbers."""
    return training.run(data, config or TrainingConfig(), NumpyEngine, progress, checkpoint, should_stop, observer)


def batch_inputs(features: Any, rows: NDArray[np.int64], scale: float, dtype: str) -> Array:
    """The scaled features (B, K) of some rows; densifies sparse ones."""
    batch = features[rows]
    dense = batch.toarray() if hasattr(batch, "toarray") else np.asarray(batch)
    return np.asarray(dense.astype(dtype) * np.dtype(dtype).type(scale))


def weights_of(split: Split, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """The weights (B,) of some rows in the loss."""
    return np.ones(len(rows)) if split.weights is None else split.weights[rows]


def weighted_sum(losses: Array, weights: NDArray[np.float64]) -> float:
    """The sum of weight times loss, in float64; examples of weight 0 are left out, whatever their loss."""
    return float((losses[weights > 0] * weights[weights > 0]).sum())


class NumpyEngine:
    """Runs stretches of steps with the operations above."""

    compile_seconds = 0.0
    load_seconds = 0.0

    def __init__(self, data: Dataset, config: TrainingConfig) -> None:
        self.data, self.config = data, config
        self.p = initialise(config, data.n_features, data.n_classes, config.seed)
        moments = {"sgd": 0, "momentum": 1, "nesterov": 1}.get(config.optimizer, 2)
        self.moments = {
            name: [np.zeros_like(array) for _ in range(moments)]
            for name, array in self.p.tensors().items()
            if not name.startswith("running")
        }

    def run(self, stretch: Stretch) -> Totals:
        """Does the steps of the stretch; stops before the update of a step whose loss is not finite."""
        loss, correct, examples, weight = 0.0, 0, 0, 0.0
        with np.errstate(all="ignore"):
            for index, rate in zip(range(stretch.first, stretch.last), stretch.learning_rates, strict=True):
                batch = stretch.order[index * self.config.batch_size : (index + 1) * self.config.batch_size]
                step = stretch.step + index - stretch.first + 1
                weights = weights_of(self.data.train, batch)
                batch_loss, batch_correct = self._step(batch, weights, float(rate), step, stretch.dropout_keys)
                loss, correct = loss + batch_loss, correct + batch_correct
                examples, weight = examples + len(batch), weight + weights.sum()
                if not np.isfinite(batch_loss):
                    return Totals(loss, correct, examples, weight, index - stretch.first + 1, diverged=True)
        return Totals(loss, correct, examples, weight, stretch.last - stretch.first, diverged=False)

    def _step(
        self,
        batch: NDArray[np.int64],
        weights: NDArray[np.float64],
        rate: float,
        step: int,
        keys: NDArray[np.uint32],
    ) -> tuple[float, int]:
        split = self.data.train
        x = batch_inputs(split.features, batch, self.data.scale, self.config.dtype)
        labels = split.labels[batch]
        this = Pass(self.p, self.config)
        logits = this.forward(x, batch, keys)
        losses, softmax = cross_entropy(logits, labels)
        total = weighted_sum(losses, weights)
        if np.isfinite(total):
            dlogits = cross_entropy_backward(softmax, labels, weights)
            self._update(this.backward(dlogits), rate, step, float(weights.sum()))
        return total, int((logits.argmax(axis=1) == labels).sum())

    def _update(self, gradients: Parameters, rate: float, step: int, weight: float) -> None:
        for kind in ("weights", "biases", "scale", "shift"):
            decay = penalty_gradient(self.config, weight) if kind == "weights" else 0.0
            tensors: list[Array] = getattr(self.p, kind)
            for layer, gradient in enumerate(getattr(gradients, kind)):
                state = self.moments[f"{kind}.{layer + 1}"]
                tensors[layer] = update(tensors[layer], gradient, state, rate, step, self.config, decay)

    def evaluate(self, split: Split) -> tuple[float, float]:
        """Weighted mean of the cross-entropy, and accuracy, in chunks so that memory stays bounded."""
        loss, correct = 0.0, 0
        with np.errstate(all="ignore"):
            for first in range(0, len(split), EVALUATION_CHUNK):
                rows = split.indices[first : first + EVALUATION_CHUNK]
                x = batch_inputs(split.features, rows, self.data.scale, self.config.dtype)
                logits = infer(self.p, x, self.config)
                losses, _ = cross_entropy(logits, split.labels[rows])
                loss += weighted_sum(losses, weights_of(split, rows))
                correct += int((logits.argmax(axis=1) == split.labels[rows]).sum())
        return loss / split.total_weight, correct / len(split)

    def squared_weights(self) -> float:
        """The sum of squared weights, in float64."""
        with np.errstate(over="ignore"):  # an infinite penalty is a diverged run
            return float(sum(np.sum(np.square(w, dtype=np.float64)) for w in self.p.weights))

    def parameters(self) -> Parameters:
        """A copy of the parameters."""
        return self.p.copy()

    def state(self) -> dict[str, Array]:
        """Parameters and moments by name."""
        moments = {f"moment{n}.{k}": m for k, state in self.moments.items() for n, m in enumerate(state)}
        return {name: array.copy() for name, array in {**self.p.tensors(), **moments}.items()}

    def restore(self, state: dict[str, Array]) -> None:
        """Goes back to a `state`."""
        self.p = Parameters.from_tensors({name: array.copy() for name, array in state.items()}, len(self.p.weights))
        for name, moments in self.moments.items():
            for n in range(len(moments)):
                moments[n] = state[f"moment{n}.{name}"].copy()
