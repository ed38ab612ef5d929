"""How soon a run gets there: seconds, steps and epochs to a target accuracy."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastfnn.sweeps.store import RunRecord, SweepResults

TARGET_STEP = 0.005
"""A default target is a multiple of this accuracy."""

History = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Reached:
    """Training seconds (evaluation excluded), steps and epochs of the first record at or above a target."""

    seconds: float
    steps: int
    epochs: float


@dataclass(frozen=True)
class TimeToTarget:
    """One setting's way to a target.

    Attributes:
        target: the accuracy, in 0..1.
        reached: number of runs that got there.
        runs: number of runs, diverged ones included.
        seconds, steps, epochs: medians over the runs, with infinity for a run that never got there; so infinite when
            half of the runs or more did not.
    """

    target: float
    reached: int
    runs: int
    seconds: float
    steps: float
    epochs: float


def first_reached(history: History, target: float, column: str = "validation_accuracy") -> Reached | None:
    """Where the history's `column` is at or above `target` for the first time; None when it never is.

    Records are not interpolated: a run has reached a target when it was seen to, so the answer is as fine as
    `evaluate_every`.
    """
    there = np.flatnonzero(np.asarray(history[column]) >= target)
    if not there.size:
        return None
    first = there[0]
    return Reached(float(history["seconds"][first]), int(history["step"][first]), float(history["epoch"][first]))


def time_to_target(
    results: SweepResults, runs: Sequence[RunRecord], target: float, column: str = "validation_accuracy"
) -> TimeToTarget:
    """Medians over the runs of one setting.

    A diverged run counts as one that never got there, whatever it had reached before; failed and interrupted runs are
    left out.
    """
    ended = _ended(runs)
    answers = [first_reached(results.history(run.run_id), target, column) for run in ended if run.measured]
    reached = [answer for answer in answers if answer is not None]
    return TimeToTarget(
        target=target,
        reached=len(reached),
        runs=len(ended),
        seconds=_median([answer.seconds for answer in reached], len(ended)),
        steps=_median([answer.steps for answer in reached], len(ended)),
        epochs=_median([answer.epochs for answer in reached], len(ended)),
    )


def default_target(results: SweepResults, column: str = "validation_accuracy") -> float | None:
    """The highest multiple of 0.5 % that at least two thirds of the settings reach with most of their runs.

    Low enough that most settings have a time to compare, high enough that the time is not that of the first epoch.
    Taken from each run's best record; a setting counts with the lower median of its runs, a diverged run with 0. None
    when nothing was recorded or no such multiple is above 0.
    """
    typical = []
    for settings in results.settings():
        bests = [_best(results, run, column) for run in _ended(results.runs_at(settings))]
        if bests:
            typical.append(statistics.median_low(bests))
    if not typical:
        return None
    reached_by_most = sorted(typical, reverse=True)[math.ceil(2 / 3 * len(typical)) - 1]
    target = math.floor(reached_by_most / TARGET_STEP + 1e-9) * TARGET_STEP
    return round(target, 6) if target > 0 else None


def _ended(runs: Sequence[RunRecord]) -> list[RunRecord]:
    return [run for run in runs if run.measured or run.status == "diverged"]


def _best(results: SweepResults, run: RunRecord, column: str) -> float:
    values = np.asarray(results.history(run.run_id)[column]) if run.measured else np.empty(0)
    return float(np.max(values, initial=0.0, where=np.isfinite(values)))


def _median(reached: Sequence[float], runs: int) -> float:
    """The median over all runs, of which those not in `reached` count as infinite."""
    values = [*reached, *[math.inf] * (runs - len(reached))]
    return statistics.median(values) if values else math.inf
