"""What a run of `L_layer_model` leaves behind besides its parameters, and when it stops."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from fastfnn.textbook.options import Stopping

StopReason = Literal["completed", "stopped"]


@dataclass
class Curves:
    """The history of a run.

    Attributes:
        steps: after how many steps the validation columns were taken.
        train_accuracy: over the batches since the entry before, as they were trained on.
        validation_cost, validation_accuracy: of the whole validation set.
        cost_steps, costs: the cost of a batch before its step, every 100 steps.
        iterations, epochs: steps and epochs done.
        stop_reason: "completed" (all steps) or "stopped" (by the stopping rule).
    """

    steps: list[int] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    validation_cost: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    cost_steps: list[int] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    iterations: int = 0
    epochs: float = 0.0
    stop_reason: StopReason = "completed"


@dataclass
class Rule:
    """A stopping rule that has seen some checks."""

    options: Stopping
    best: float = math.inf
    previous: float = math.inf
    best_step: int = 0
    checks_since_best: int = 0

    def check(self, step: int, cost: float, accuracy: float) -> bool:
        """Takes the check after `step` steps; true when the run should stop."""
        value = cost if self.options.metric == "validation_cost" else -accuracy
        change, self.previous = abs(value - self.previous), value
        if value < self.best - self.options.tol:
            self.best, self.best_step, self.checks_since_best = value, step, 0
        else:
            self.checks_since_best += 1
        if self.options.rule == "plateau":
            return change < self.options.tol
        waited = step - self.best_step if self.options.patience_in == "steps" else self.checks_since_best
        return waited >= self.options.patience
