"""Training by whole epochs, which is how scikit-learn counts, with the stopping rule of its `MLPClassifier`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.engine import KernelEngine
from fastfnn.interrupts import interruptible
from fastfnn.parameters import Parameters
from fastfnn.schedules import learning_rates
from fastfnn.streams import dropout_keys, epoch_order
from fastfnn.stretch import Stretch, Totals
from fastfnn.training import steps_at_once

Array = NDArray[Any]
Ending = Literal["converged", "exhausted", "interrupted", "diverged"]

# Of the adaptive learning rate, as in scikit-learn: what it is divided by, and where it is not divided any more.
ADAPTIVE_DIVISOR = 5.0
SMALLEST_ADAPTIVE_RATE = 1e-6


@dataclass
class RunState:
    """What a later call needs in order to go on where the last one ended.

    Attributes:
        seed: of the orders and the dropout masks, which `epochs`, the number of epochs done, picks.
        steps: of the optimiser, since it was last started anew.
        examples: training examples seen.
        reductions: how often the adaptive learning rate was divided.
        losses, scores, costs: one an epoch: training loss, validation accuracy, validation cost.
        best: the best score so far if `by_score`, else the best loss, negated.
        stale_epochs: consecutive epochs that were not better than the best by the tolerance.
        moments: of `optimizer`, each in the shape of the parameters.
    """

    seed: int
    epochs: int = 0
    steps: int = 0
    examples: int = 0
    reductions: int = 0
    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    by_score: bool = False
    best: float = -math.inf
    stale_epochs: int = 0
    optimizer: str = ""
    moments: list[Parameters] = field(default_factory=list)

    def copy(self) -> RunState:
        """One that the next epochs may change, so that a call that fails leaves this one as it is."""
        return replace(self, losses=[*self.losses], scores=[*self.scores], costs=[*self.costs])

    def restart_optimizer(self) -> None:
        """Forgets moments, steps and reductions; a new `fit` does, also when it goes on from given weights."""
        self.steps, self.reductions, self.moments = 0, 0, []

    def moments_for(self, parameters: Parameters, optimizer: str) -> list[Parameters]:
        """The moments, unless they belong to another optimiser or to parameters of other shapes."""
        expected = {name: array.shape for name, array in parameters.tensors().items() if "running" not in name}
        fit = all({name: a.shape for name, a in m.tensors().items()} == expected for m in self.moments)
        return self.moments if fit and optimizer == self.optimizer else []


@dataclass(frozen=True)
class Rules:
    """How the learning rate changes between epochs, and when to stop.

    Attributes:
        decay: "invscaling" or "adaptive" for scikit-learn's rules, else the schedule of the configuration alone.
        power: the exponent of "invscaling".
        tolerance, patience: `patience` epochs in a row may be no better than the best one by more than `tolerance`.
        by_score: whether the validation score is meant by that, and the best epoch's weights are kept.
        verbose: whether to print a line for each epoch.
    """

    decay: str
    power: float
    tolerance: float
    patience: float
    by_score: bool
    verbose: bool

    def rate_factor(self, state: RunState) -> float:
        """What the scheduled learning rates of the next epoch are multiplied by."""
        if self.decay == "invscaling":
            return float((state.examples + 1) ** -self.power)
        return float(ADAPTIVE_DIVISOR**-state.reductions)


class EpochLoop:
    """Epochs over one data set."""

    def __init__(
        self, data: Dataset, config: TrainingConfig, parameters: Parameters, state: RunState, rules: Rules
    ) -> None:
        self.data, self.config, self.state, self.rules = data, config, state, rules
        moments = state.moments_for(parameters, config.optimizer)
        self.engine = KernelEngine(data, config, parameters, moments)
        self.steps_per_epoch = config.steps_per_epoch(len(data.train))
        self.stride = steps_at_once(data, config)
        self.best = self.engine.state() if rules.by_score else None
        self.epochs = 0
        if state.by_score != rules.by_score:
            state.by_score, state.best, state.stale_epochs = rules.by_score, -math.inf, 0

    def train(self, epochs: int) -> Ending:
        """Runs that many epochs, or fewer where there is a reason to stop."""
        with interruptible() as interrupted:
            ending: Ending | None = None
            while ending is None:
                ending = self._epoch(interrupted) or ("exhausted" if self.epochs == epochs else None)
        return ending

    def finish(self) -> Parameters:
        """The parameters, of the best epoch under early stopping; moments go into the state."""
        if self.best is not None:
            self.engine.restore(self.best)
        self.state.optimizer, self.state.moments = self.config.optimizer, self.engine.moments()
        return self.engine.parameters()

    def _epoch(self, interrupted: Callable[[], bool]) -> Ending | None:
        parts = self._steps(interrupted)
        if interrupted():
            return "interrupted"
        weight = sum(totals.weight for totals in parts)
        penalty = self._penalty(weight / self.steps_per_epoch)
        loss = math.fsum(totals.loss for totals in parts) / weight if weight else 0.0
        self._record(loss + penalty, sum(totals.examples for totals in parts))
        if parts[-1].diverged or not math.isfinite(self.state.losses[-1]):
            return "diverged"
        self._validate(penalty)
        return self._ending()

    def _steps(self, interrupted: Callable[[], bool]) -> list[Totals]:
        """The steps of an epoch, in stretches short enough for Ctrl-C."""
        state, parts = self.state, list[Totals]()
        order = epoch_order(state.seed, state.epochs, self.data.train.indices, shuffle=self.config.shuffle)
        keys = self._dropout_keys()
        factor = self.rules.rate_factor(state)
        for first in range(0, self.steps_per_epoch, self.stride):
            last = min(first + self.stride, self.steps_per_epoch)
            rates = learning_rates(self.config, self.steps_per_epoch, state.steps, state.steps + last - first)
            parts.append(self.engine.run(Stretch(order, first, last, state.steps, factor * rates, keys)))
            state.steps += parts[-1].steps
            if parts[-1].diverged or interrupted():
                break
        return parts

    def _dropout_keys(self) -> NDArray[np.uint32]:
        """Those of the next epoch; drawing them takes longer than an epoch over a few rows."""
        if not any(self.config.dropout_by_layer):
            return np.zeros(len(self.config.hidden), np.uint32)
        return dropout_keys(self.state.seed, self.state.epochs, len(self.config.hidden))

    def _penalty(self, batch_weight: float) -> float:
        """The penalty of the current weights; "per_batch" divides it by the (mean) weight of a batch."""
        if self.config.l2 == 0:
            return 0.0
        divisor = batch_weight if self.config.l2_convention == "per_batch" and batch_weight else 1.0
        return self.config.l2 / (2 * divisor) * self.engine.squared_weights()

    def _record(self, loss: float, examples: int) -> None:
        self.epochs += 1
        self.state.epochs += 1
        self.state.examples += examples
        self.state.losses.append(loss)
        self._say(f"Iteration {self.epochs}, loss = {loss:.8f}")

    def _validate(self, penalty: float) -> None:
        if self.data.validation is None:
            return
        loss, score = self.engine.evaluate(self.data.validation)
        self.state.costs.append(loss + penalty)
        self.state.scores.append(score)
        self._say(f"Validation score: {score:f}, cost: {loss + penalty:f}")

    def _ending(self) -> Ending | None:
        """Whether this epoch was one too many without an improvement."""
        state, rules = self.state, self.rules
        value = state.scores[-1] if rules.by_score else -state.losses[-1]
        state.stale_epochs = state.stale_epochs + 1 if value < state.best + rules.tolerance else 0
        if value > state.best:
            state.best = value
            self.best = self.engine.state() if rules.by_score else None
        if state.stale_epochs <= rules.patience:
            return None
        return None if self._reduces_rate() else "converged"

    def _reduces_rate(self) -> bool:
        """Divides the adaptive learning rate, if it is adaptive and still large enough."""
        rate = self.config.base_learning_rate * self.rules.rate_factor(self.state)
        if self.rules.decay != "adaptive" or rate <= SMALLEST_ADAPTIVE_RATE:
            return False
        self.state.reductions += 1
        self.state.stale_epochs = 0
        self._say(f"Learning rate reduced to {rate / ADAPTIVE_DIVISOR:g}")
        return True

    def _say(self, line: str) -> None:
        if self.rules.verbose:
            print(line)
