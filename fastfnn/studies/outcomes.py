"""One run of a study, whichever way it was done."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastfnn.analysis import Estimate, estimate
from fastfnn.results import Evaluation

Curves = Mapping[str, NDArray[Any]]

COLLAPSED = 0.2
"""Below this accuracy a network has learnt next to nothing: of ten classes it tells two apart at best."""


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        status: "completed", "stopped", "diverged" or "failed".
        train, validation, test: evaluations of the final network.
        train_seconds: of the training steps. evaluation_seconds: of the checks and the final evaluation.
        dead_units: for each hidden layer, the units that are zero for every example of the validation set.
        curves: columns of `fastfnn.results.History`.
    """

    seed: int
    status: str
    steps: int
    epochs: float
    train: Evaluation
    validation: Evaluation
    test: Evaluation
    train_seconds: float
    evaluation_seconds: float
    dead_units: tuple[int, ...] = ()
    curves: Curves = field(default_factory=dict, repr=False, compare=False)

    @property
    def seconds(self) -> float:
        """Training with its checks: what a stopwatch shows, compilation and loading aside."""
        return self.train_seconds + self.evaluation_seconds

    @property
    def measured(self) -> bool:
        """Whether it ended as planned."""
        return self.status in ("completed", "stopped")

    @property
    def collapsed(self) -> bool:
        """Whether it learnt next to nothing, or diverged."""
        return not self.test.accuracy >= COLLAPSED

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"curves": {name: np.asarray(column).tolist() for name, column in self.curves.items()}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        splits = {name: Evaluation(**_numbers(values[name])) for name in ("train", "validation", "test")}
        curves = {name: np.array(column, dtype=float) for name, column in values["curves"].items()}
        return cls(**{**values, **splits, "dead_units": tuple(values["dead_units"]), "curves": curves})


def _numbers(values: Mapping[str, float | None]) -> dict[str, float]:
    """JSON has no NaN: null stands for it."""
    return {name: math.nan if value is None else value for name, value in values.items()}


def accuracy_of(outcomes: Sequence[Outcome], split: str = "test") -> Estimate:
    """Median accuracy over the seeds; a diverged run has none and is left out."""
    return estimate(getattr(outcome, split).accuracy for outcome in outcomes if outcome.measured)


def seconds_of(outcomes: Sequence[Outcome]) -> Estimate:
    """Median time over the seeds."""
    return estimate(outcome.seconds for outcome in outcomes if outcome.measured)


def epochs_of(outcomes: Sequence[Outcome]) -> Estimate:
    """Median epochs over the seeds."""
    return estimate(outcome.epochs for outcome in outcomes if outcome.measured)
