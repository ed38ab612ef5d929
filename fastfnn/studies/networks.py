"""The networks of a study's runs: kept beside its stores, looked into for dead units and weights.

Shapes: N examples, K features in, H units out of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.network import Network
from fastfnn.parameters import initialise
from fastfnn.sweeps.events import Event, RunFinished

Array = NDArray[Any]
Layer = tuple[Array, Array]  # weights (K, H), biases (H,)
Normalise = Callable[[int, Array], Array]

BATCHNORM_EPSILON = 1e-5
EXAMPLES_LOOKED_AT = 1000
NEXT_TO_NOTHING = 0.01
"""A weight of this size changes the input of its unit by less than a hundredth."""


@dataclass(frozen=True)
class Networks:
    """A folder with a safetensors file for each run."""

    folder: Path

    def path(self, run_id: str) -> Path:
        """The file of a run's network."""
        return self.folder / f"{run_id}.safetensors"

    def observe(self, event: Event) -> None:
        """Keeps the network of a run that has ended."""
        if isinstance(event, RunFinished) and event.network is not None and event.record.measured:
            self.folder.mkdir(parents=True, exist_ok=True)
            event.network.save(self.path(event.run.run_id))

    def of(self, run_id: str, data: Dataset, config: TrainingConfig) -> Network:
        """A run's network; one that was lost is trained again, to the same bits."""
        if not self.path(run_id).exists():
            from fastfnn.training import train

            self.folder.mkdir(parents=True, exist_ok=True)
            train(data, config).network.save(self.path(run_id))
        return Network.load(self.path(run_id))


def look_at(data: Dataset) -> Array:
    """Inputs (N, K) of a network: validation examples, enough to see which units ever open."""
    split = data.validation or data.train
    rows = split.features[split.indices[:EXAMPLES_LOOKED_AT]]
    return np.asarray(rows, dtype=np.float32) * np.float32(data.scale)


def dead_units(network: Network, x: Array) -> tuple[int, ...]:
    """For each hidden layer, the number of units that are zero for all of the inputs x (N, K)."""
    p, batchnorm = network.parameters, network.config.batchnorm
    layers = zip(p.weights[:-1], p.biases[:-1], strict=True)

    def normalise(layer: int, values: Array) -> Array:
        deviation = np.sqrt(p.running_variance[layer] + BATCHNORM_EPSILON)
        return np.asarray((values - p.running_mean[layer]) / deviation * p.scale[layer] + p.shift[layer])

    return count_dead(layers, x, **({} if batchnorm == "off" else {batchnorm: normalise}))


def count_dead(
    layers: Iterable[Layer], x: Array, after: Normalise | None = None, before: Normalise | None = None
) -> tuple[int, ...]:
    """For each hidden layer, the number of units that are zero for all of the inputs x (N, K).

    Args:
        layers: weights and biases of the hidden layers.
        x: the inputs of the first.
        after, before: what batch norm does to the outputs (N, H) of a layer's ReLU, or to its inputs.
    """
    counts = []
    for layer, (weights, biases) in enumerate(layers):
        z = x @ weights + biases
        x = np.maximum(before(layer, z) if before else z, 0)
        counts.append(int((x.max(axis=0) == 0).sum()))
        x = after(layer, x) if after else x
    return tuple(counts)


def dead_at_the_start(data: Dataset, config: TrainingConfig, seeds: int) -> NDArray[np.int64]:
    """How many of so many seeds have 0, 1, ... dead units in the last hidden layer before training."""
    x = look_at(data)
    counts = np.zeros(config.hidden[-1] + 1, dtype=np.int64)
    for seed in range(seeds):
        p = initialise(config, data.n_features, data.n_classes, seed)
        counts[count_dead(zip(p.weights[:-1], p.biases[:-1], strict=True), x)[-1]] += 1
    return counts


@dataclass(frozen=True)
class WeightSummary:
    """The weights of one layer in numbers.

    Attributes:
        deviation: standard deviation. mean_size, largest: of the absolute values.
        small: share with an absolute value below `NEXT_TO_NOTHING`.
        squares: sum of squares, which the penalty is a multiple of.
    """

    deviation: float
    mean_size: float
    largest: float
    small: float
    squares: float

    @classmethod
    def of(cls, weights: Array) -> WeightSummary:
        """The numbers of these weights."""
        sizes = np.abs(np.asarray(weights, dtype=np.float64))
        return cls(
            deviation=float(np.std(weights)),
            mean_size=float(sizes.mean()),
            largest=float(sizes.max()),
            small=float((sizes < NEXT_TO_NOTHING).mean()),
            squares=float(np.square(sizes).sum()),
        )
