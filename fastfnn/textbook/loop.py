"""The loop of `L_layer_model`: which steps come next, what is recorded, when it ends."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from fastfnn.config import EarlyStopping
from fastfnn.errors import ConfigError
from fastfnn.results import Evaluation
from fastfnn.stopping import StoppingRule
from fastfnn.textbook.curves import Curves
from fastfnn.textbook.options import Generator, Stopping
from fastfnn.textbook.runners import Examples, Runner
from fastfnn.textbook.splits import Columns

RECORD_EVERY = 100  # steps


@dataclass(frozen=True)
class Schedule:
    """How many steps there are, of `examples` examples an epoch."""

    examples: int
    batch_size: int
    last_batch: Literal["keep", "drop"]
    count: Literal["epochs", "steps"]
    iterations: int

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch; one where a batch is larger than an epoch."""
        batches = self.examples / self.batch_size
        return max(1, math.floor(batches) if self.last_batch == "drop" else math.ceil(batches))

    @property
    def steps(self) -> int:
        """Of the whole run."""
        return self.iterations * (self.steps_per_epoch if self.count == "epochs" else 1)

    def needed(self, examples: Examples) -> Examples:
        """The examples that a run of less than an epoch sees, if they are the first columns."""
        seen = self.steps * self.batch_size
        if self.steps >= self.steps_per_epoch or isinstance(examples.validation, np.ndarray):
            return examples
        return Examples(examples.X[:, :seen], examples.Y[:, :seen], examples.train[:seen], examples.validation)


@dataclass
class Run:
    """One run in progress.

    Attributes:
        validates: whether the validation set is looked at.
        shuffler: draws the order of each epoch; None where it is that of the columns.
    """

    runner: Runner
    train: Columns
    schedule: Schedule
    stopping: Stopping | None
    validates: bool
    shuffler: Generator | None
    curves: Curves = field(default_factory=Curves)
    correct: int = 0  # since the last entry of the curves
    seen: int = 0

    def complete(self) -> Curves:
        """Runs to the last step, or until the stopping rule says stop.

        Raises:
            ConfigError: when the cost is no longer finite.
        """
        rule = rule_of(self.stopping) if self.stopping else None
        order, curves = self.train, self.curves
        while curves.iterations < self.schedule.steps:
            epoch_step = curves.iterations % self.schedule.steps_per_epoch
            if self.shuffler is not None and epoch_step == 0:
                order = self.train[self.shuffler.permutation(len(self.train))]
            self._stretch(order, epoch_step)
            if self.validates and curves.iterations % self._every == 0 and self._check(rule):
                curves.stop_reason = "stopped"
                break
        curves.epochs = curves.iterations / self.schedule.steps_per_epoch
        self._require_finite()
        return curves

    @property
    def _every(self) -> int:
        """Steps between two looks at the validation set."""
        return self.stopping.every if self.stopping else RECORD_EVERY

    def _stretch(self, order: Columns, first: int) -> None:
        """Does the steps to the next event: the end of the epoch or of the run, a record, a check."""
        step, curves = self.curves.iterations, self.curves
        events = [self.schedule.steps_per_epoch - first, self.schedule.steps - step, RECORD_EVERY - step % RECORD_EVERY]
        if self.validates:
            events.append(self._every - step % self._every)
        steps, record = min(events), step % RECORD_EVERY == 0
        outcome = self.runner.run(order, first, first + steps, record=record)
        curves.iterations += steps
        self.correct += outcome.correct
        self.seen += outcome.examples
        if outcome.cost is None:
            return
        if not math.isfinite(outcome.cost):
            raise self._diverged()
        curves.cost_steps.append(step)
        curves.costs.append(outcome.cost)

    def _check(self, rule: StoppingRule | None) -> bool:
        """Looks at the validation set; true when the stopping rule says stop."""
        cost, accuracy = self.runner.validate()
        curves = self.curves
        curves.steps.append(curves.iterations)
        curves.train_accuracy.append(self.correct / self.seen)
        curves.validation_cost.append(cost)
        curves.validation_accuracy.append(accuracy)
        self.correct = self.seen = 0
        return rule is not None and rule.check(curves.iterations, Evaluation(cost, cost, accuracy))

    def _require_finite(self) -> None:
        if not all(np.isfinite(array).all() for array in self.runner.parameters().values()):
            raise self._diverged()

    def _diverged(self) -> ConfigError:
        return ConfigError(
            f"learning_rate: the cost was no longer finite within {self.curves.iterations} steps; "
            "use a smaller learning_rate, smaller initial weights, or X divided by its largest value"
        )


def rule_of(stopping: Stopping) -> StoppingRule:
    """The stopping rule, which counts its patience in checks."""
    in_steps = stopping.patience_in == "steps"
    patience = math.ceil(stopping.patience / stopping.every) if in_steps else stopping.patience
    config = EarlyStopping(
        metric=stopping.metric, every=stopping.every, min_delta=stopping.tol, patience=patience, rule=stopping.rule
    )
    return StoppingRule(config)
