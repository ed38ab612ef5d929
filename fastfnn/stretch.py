"""What the training loop asks of an engine, and what it gets back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fastfnn.data import Split
from fastfnn.parameters import Parameters

Array = NDArray[np.generic]


@dataclass(frozen=True)
class Stretch:
    """Consecutive steps of one epoch.

    Attributes:
        order: (N,) example numbers in the order of the epoch.
        first, last: the steps first..last-1 of the epoch; step s takes order[s * batch_size : (s + 1) * batch_size].
        step: number of steps done before `first`, from the start of the run.
        learning_rates: (last - first,) one a step.
        dropout_keys: (L - 1,) the epoch's key for each hidden layer.
    """

    order: NDArray[np.int64]
    first: int
    last: int
    step: int
    learning_rates: NDArray[np.float64]
    dropout_keys: NDArray[np.uint32]


@dataclass(frozen=True)
class Totals:
    """Sums over a stretch: weighted cross-entropy and correct answers of `examples` examples in `steps` steps.

    `steps` is less than asked for when a cost was not finite: that step is the last one counted.
    """

    loss: float
    correct: int
    examples: int
    weight: float  # of the examples
    steps: int
    diverged: bool


class Engine(Protocol):
    """The arithmetic behind the loop; it holds the parameters and the optimiser's state of one run."""

    compile_seconds: float
    load_seconds: float

    def run(self, stretch: Stretch) -> Totals:
        """Does the steps of the stretch."""

    def evaluate(self, split: Split) -> tuple[float, float]:
        """Mean cross-entropy and accuracy on a split, with running statistics and without dropout."""

    def squared_weights(self) -> float:
        """The sum of squared weights, of which the penalty is a multiple."""

    def parameters(self) -> Parameters:
        """A copy of the parameters."""

    def state(self) -> dict[str, Array]:
        """A copy of everything that later steps depend on."""

    def restore(self, state: dict[str, Array]) -> None:
        """Goes back to a `state`."""
