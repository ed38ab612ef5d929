"""What a run of `L_layer_model` leaves behind besides its parameters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

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
