"""The stopping rules of `EarlyStopping`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fastfnn.config import EarlyStopping
from fastfnn.results import Evaluation


@dataclass
class StoppingRule:
    """Sees the validation set's evaluation at every check and says when to stop."""

    config: EarlyStopping
    best: float = math.inf
    previous: float = math.inf
    checks_since_best: int = 0
    best_step: int = -1

    def check(self, step: int, evaluation: Evaluation) -> bool:
        """Records the check made after `step` steps; true when the run should stop."""
        score = evaluation.cost if self.config.metric == "validation_cost" else -evaluation.accuracy
        change, self.previous = abs(score - self.previous), score
        if score < self.best - self.config.min_delta or self.best_step < 0:
            self.best, self.best_step, self.checks_since_best = score, step, 0
        else:
            self.checks_since_best += 1
        if self.config.rule == "plateau":
            return change < self.config.min_delta
        return self.checks_since_best >= self.config.patience

    def is_best(self, step: int) -> bool:
        """Whether the check made after `step` steps is the best so far."""
        return step == self.best_step
