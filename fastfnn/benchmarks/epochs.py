"""Epochs of one engine on one data set, each of them timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset, Split
from fastfnn.engine import KernelEngine
from fastfnn.errors import FastfnnError
from fastfnn.reference import NumpyEngine
from fastfnn.streams import dropout_keys, epoch_order
from fastfnn.stretch import Engine, Stretch

FAST, REFERENCE = "fast", "reference"
ENGINES: dict[str, Callable[[Dataset, TrainingConfig], Engine]] = {FAST: KernelEngine, REFERENCE: NumpyEngine}

WARM_UP_STEPS = 20


class Epochs:
    """An engine that has compiled what it needs and done its first steps, ready to be timed.

    Args:
        data: its training split is trained on.
        config: the run; schedules and evaluation play no part, since they change no epoch's work.
        engine: "fast", the compiled kernels, or "reference", NumPy.
    """

    def __init__(self, data: Dataset, config: TrainingConfig, engine: str = FAST) -> None:
        self.data, self.config = data, config
        self.steps = config.steps_per_epoch(len(data.train))
        self.epoch = 0
        self.engine = ENGINES[engine](data, config)
        self._run(min(self.steps, WARM_UP_STEPS))

    def time_epoch(self) -> float:
        """Trains for the next epoch and returns its seconds; its order is drawn before the clock starts.

        Raises:
            FastfnnError: when the cost was not finite, since the steps after that were not done.
        """
        return self._run(self.steps)

    def _run(self, steps: int) -> float:
        seed, indices = self.config.seed, self.data.train.indices
        stretch = Stretch(
            order=epoch_order(seed, self.epoch, indices, shuffle=self.config.shuffle),
            first=0,
            last=steps,
            step=self.epoch * self.steps,
            learning_rates=np.full(steps, self.config.base_learning_rate),
            dropout_keys=dropout_keys(seed, self.epoch, len(self.config.hidden)),
        )
        started = time.perf_counter()
        totals = self.engine.run(stretch)
        seconds = time.perf_counter() - started
        if totals.diverged:
            rate = self.config.learning_rate
            raise FastfnnError(f"the cost was not finite in epoch {self.epoch + 1}; lower the learning rate {rate:g}")
        self.epoch += 1
        return seconds

    def time_evaluation(self, split: Split) -> float:
        """Seconds of the evaluation of a split."""
        started = time.perf_counter()
        self.engine.evaluate(split)
        return time.perf_counter() - started


def dense_operations(data: Dataset, config: TrainingConfig) -> int:
    """Floating-point operations of an epoch's matrix products, were every feature multiplied.

    Two for each weight and example forward, two for the weight's gradient, and two for the gradient of what it
    multiplies, which the first layer does not need.
    """
    first, *others = pairwise([data.n_features, *config.hidden, data.n_classes])
    return len(data.train) * (4 * first[0] * first[1] + 6 * sum(n_in * n_out for n_in, n_out in others))


def parameter_count(data: Dataset, hidden: Sequence[int]) -> int:
    """Weights and biases of a network with hidden layers of so many units."""
    return sum((k + 1) * h for k, h in pairwise((data.n_features, *hidden, data.n_classes)))


def network_text(data: Dataset, config: TrainingConfig) -> str:
    """The sizes of all layers, as in 784-20-7-5-10."""
    return "-".join(map(str, (data.n_features, *config.hidden, data.n_classes)))
