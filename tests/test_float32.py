"""One float32 step of the kernels stays within a bound on rounding that is derived, not tuned.

Over many steps no two float32 implementations stay close: a ReLU that flips at |z| = 1e-8 is enough. Over one step from
the same weights the error can be bounded by running error analysis (Higham, Accuracy and Stability of Numerical
Algorithms, sections 3.1 and 3.3): a sum of n products, in any order and with or without fused operations, is off by at
most gamma(n + 2) times the sum of their absolute values, and what comes in with an error passes it on through absolute
weights. B examples, K features in, H units out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.engine import KernelEngine
from fastfnn.parameters import Parameters, initialise
from fastfnn.stretch import Stretch

Array = NDArray[Any]
UNIT = 2.0**-24
EXP_ERROR = 2 * 2 * UNIT  # of the vector exp: 2 ulp, an ulp being at most two units


def gamma(n: int) -> float:
    return n * UNIT / (1 - n * UNIT)


class Bounded:
    """A float64 value and a bound on how far its float32 twin may be from it."""

    def __init__(self, value: Array, error: Array) -> None:
        self.value, self.error = value, error

    def product(self, other: Bounded) -> Bounded:
        """The matrix product; its inner length decides the rounding of the sums."""
        terms = np.abs(self.value) @ np.abs(other.value)
        passed_on = self.error @ np.abs(other.value) + (np.abs(self.value) + self.error) @ other.error
        return Bounded(self.value @ other.value, passed_on + gamma(self.value.shape[1] + 3) * (terms + passed_on))

    def plus(self, other: Array) -> Bounded:
        value = self.value + other
        return Bounded(value, self.error + UNIT * (np.abs(value) + self.error))

    def where(self, mask: Array) -> Bounded:
        return Bounded(np.where(mask, self.value, 0), np.where(mask, self.error, 0))

    @property
    def transposed(self) -> Bounded:
        return Bounded(self.value.T, self.error.T)


def bounded_step(
    p: Parameters, x: Array, labels: Array, rate: float
) -> tuple[dict[str, Array], dict[str, Array], float]:
    """Parameters after one step in float64, bounds for float32, and the smallest |z| over its bound of any ReLU."""
    weights = [Bounded(w.astype(float), np.zeros(w.shape)) for w in p.weights]
    activations, margin = [Bounded(x, 2 * UNIT * np.abs(x))], np.inf
    for layer, (w, b) in enumerate(zip(weights, p.biases, strict=True)):
        z = activations[-1].product(w).plus(b)
        if layer < len(weights) - 1:
            uncertain = z.error > 0  # 0 inputs give an exact 0
            margin = min(margin, float((np.abs(z.value[uncertain]) / z.error[uncertain]).min(initial=np.inf)))
            z = z.where(z.value > 0)
        activations.append(z)
    logits = activations.pop()
    exponentials = np.exp(logits.value - logits.value.max(axis=1, keepdims=True))
    softmax = exponentials / exponentials.sum(axis=1, keepdims=True)
    # exp turns an absolute error of the logits into a relative one; the maximum, the sum and the division add theirs.
    relative = np.expm1(4 * logits.error.max(axis=1, keepdims=True)) + 2 * EXP_ERROR + gamma(len(softmax[0]) + 4)
    dz = softmax - np.eye(len(softmax[0]))[labels]
    n = len(x)
    gradient = Bounded(dz / n, (softmax * relative + gamma(3) * (np.abs(dz) + softmax)) / n)
    after, bounds = {}, {}
    for layer in range(len(weights) - 1, -1, -1):
        ones = Bounded(np.ones((1, n)), np.zeros((1, n)))
        changes = {"weights": activations[layer].transposed.product(gradient), "biases": ones.product(gradient)}
        for kind, change in changes.items():
            old = getattr(p, kind)[layer].astype(float)
            moved = rate * change.value.reshape(old.shape)
            error = rate * change.error.reshape(old.shape)
            after[f"{kind}.{layer + 1}"] = old - moved
            # The gradient is rounded by its factor, and the sum once for each example, since it is added piecewise.
            bounds[f"{kind}.{layer + 1}"] = error + gamma(n + 4) * (np.abs(old) + np.abs(moved) + error)
        if layer:
            gradient = gradient.product(weights[layer].transposed).where(activations[layer].value > 0)
    return after, bounds, margin


@pytest.mark.parametrize("kind", ["sparse", "dense", "auto"])
@pytest.mark.parametrize("batch_size", [1, 7, 16, 40])
@pytest.mark.parametrize("hidden", [(20, 7, 5), (33,), ()], ids=str)
def test_one_step_is_within_the_bound(
    small_mnist: Dataset, hidden: tuple[int, ...], batch_size: int, kind: str
) -> None:
    rate = 0.05
    for seed in range(3):
        config = TrainingConfig(
            hidden=hidden, batch_size=batch_size, learning_rate=rate, seed=seed, input=kind, dtype="float32"
        )
        p = initialise(config, small_mnist.n_features, small_mnist.n_classes, seed)
        batch = np.random.default_rng(seed).choice(small_mnist.train.indices, batch_size, replace=False)
        x = np.asarray(small_mnist.train.features)[batch] / 255
        expected, bounds, margin = bounded_step(p, x, small_mnist.train.labels[batch], rate)
        engine = KernelEngine(small_mnist, config)
        engine.run(Stretch(batch, 0, 1, 0, np.array([rate]), np.zeros(len(hidden), np.uint32)))
        if margin <= 1:  # a ReLU so close to 0 that rounding may decide it: no bound
            continue
        worst = 0.0
        for name, array in engine.parameters().tensors().items():
            difference = np.abs(array.astype(float) - expected[name])
            assert (difference <= bounds[name]).all(), name
            worst = max(worst, float((difference / bounds[name].clip(1e-300)).max()))
            assert float(bounds[name].max()) < 1e-3, "a bound that allows anything proves nothing"
        assert worst > 0
        return
    pytest.fail("no seed keeps every ReLU clear of 0")
