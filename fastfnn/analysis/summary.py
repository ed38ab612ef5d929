"""A line for each setting: how well, how long, and how sure."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastfnn.analysis.intervals import Estimate, estimate
from fastfnn.analysis.targets import TimeToTarget, default_target, time_to_target
from fastfnn.sweeps.store import RunRecord, SweepResults


@dataclass(frozen=True)
class SettingSummary:
    """One setting over its seeds. Measures are of completed and stopped runs; accuracies are in 0..1, times in seconds.

    Attributes:
        seeds: seeds of the measured runs.
        statuses: number of runs by status.
        missing: planned runs that are not in the store.
        train_seconds: kernels only, without evaluation and compilation.
        seconds_per_epoch: median, NaN without a measured run.
        to_target: None when there is no target.
        shared_machine: whether any of the runs shared the machine, so that the times are not those of a run alone.
    """

    settings: dict[str, Any]
    seeds: tuple[int, ...]
    statuses: dict[str, int]
    missing: int
    validation_accuracy: Estimate
    test_accuracy: Estimate
    train_seconds: Estimate
    epochs: Estimate
    seconds_per_epoch: float
    to_target: TimeToTarget | None
    shared_machine: bool


def summarise(results: SweepResults, target: float | None = None) -> list[SettingSummary]:
    """One summary for each setting, in the order of the grid.

    `target` is the accuracy, in 0..1, whose time is asked for; by default `default_target`.
    """
    target = default_target(results) if target is None else target
    return [_summarise_one(results, settings, target) for settings in results.settings()]


def _summarise_one(results: SweepResults, settings: dict[str, Any], target: float | None) -> SettingSummary:
    runs = results.runs_at(settings)
    measured = [run for run in runs if run.measured]
    return SettingSummary(
        settings=settings,
        seeds=tuple(run.seed for run in measured),
        statuses=dict(Counter(run.status for run in runs)),
        missing=len(results.sweep.seeds) - len(runs),
        validation_accuracy=estimate(run.validation.accuracy for run in measured),
        test_accuracy=estimate(run.test.accuracy for run in measured),
        train_seconds=estimate(run.train_seconds for run in measured),
        epochs=estimate(run.epochs for run in measured),
        seconds_per_epoch=_seconds_per_epoch(measured),
        to_target=None if target is None else time_to_target(results, runs, target),
        shared_machine=any(run.shared_machine for run in measured),
    )


def _seconds_per_epoch(runs: Sequence[RunRecord]) -> float:
    values = [run.train_seconds / run.epochs for run in runs if run.epochs]
    return statistics.median(values) if values else math.nan


def describe_settings(settings: Mapping[str, Any], axes: Sequence[str] = ()) -> str:
    """`batch_size=64, l2=0.0001`: the values on these axes, or on all when none are given."""
    names = [name for name in axes if name in settings] or list(settings)
    return ", ".join(f"{name}={settings[name]}" for name in names) or "the only setting"
