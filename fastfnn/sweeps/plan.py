"""From a grid to runs: what each is called, in which order they are done, and what to know before comparing them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fastfnn._version import __version__
from fastfnn.config import SweepConfig, TrainingConfig


@dataclass(frozen=True)
class PlannedRun:
    """A run of a sweep.

    Attributes:
        run_id: 16 hex digits, equal for equal configuration, data and version.
        settings: value of each axis of the grid, without the seed.
    """

    run_id: str
    settings: dict[str, Any]
    config: TrainingConfig


def run_id(config: TrainingConfig, fingerprint: str, version: str = __version__) -> str:
    """The first 16 hex digits of the SHA-256 of configuration, data and version: what determines a run's numbers."""
    identity = "\n".join((config.content_hash(), fingerprint, version))
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def plan_runs(sweep: SweepConfig, fingerprint: str, version: str = __version__) -> list[PlannedRun]:
    """One run for each point of the grid and each seed, in the order of the grid, seeds fastest."""
    return [
        PlannedRun(run_id(config, fingerprint, version), {axis: getattr(config, axis) for axis in sweep.grid}, config)
        for config in sweep.runs()
    ]


def in_order_of_execution(runs: Iterable[PlannedRun], seeds: tuple[int, ...]) -> list[PlannedRun]:
    """All settings of the first seed, then all of the next; within a seed the longest runs first.

    A sweep that is stopped half way has then compared every setting with fewer seeds, instead of some settings with
    all. Longest first within a seed leaves short runs for the end, when workers run dry (Graham 1969: the makespan of
    longest-first list scheduling is within a third of the best).
    """
    return sorted(runs, key=lambda run: (seeds.index(run.config.seed), -expected_work(run.config)))


def expected_work(config: TrainingConfig) -> float:
    """The relative duration of a run: good enough for an order, in no unit.

    An epoch costs a fixed amount for each example and unit, and for each step the overhead of about 16 examples.
    """
    units = 10 + sum(config.hidden)
    return config.epochs * units * (1 + 16 / config.batch_size)


def warnings(sweep: SweepConfig) -> list[str]:
    """What changes with the batch size besides the batch size: sentences to print beside a comparison.

    Empty when the sweep has one batch size, or controls what it can.
    """
    if not compares_batch_sizes(sweep):
        return []
    checks = ((_per_batch_l2, _L2_WARNING), (_batch_statistics, _BATCHNORM_WARNING))
    return [text for applies, text in checks if any(applies(config) for config in sweep.runs())]


def notes(sweep: SweepConfig) -> list[str]:
    """What a reader of a comparison should know without being alarmed."""
    if compares_batch_sizes(sweep) and any(config.lr_rule == "none" for config in sweep.runs()):
        return [_LEARNING_RATE_NOTE]
    return []


def compares_batch_sizes(sweep: SweepConfig) -> bool:
    """Whether the grid has more than one batch size."""
    return len(sweep.grid.get("batch_size", ())) > 1


def _per_batch_l2(config: TrainingConfig) -> bool:
    return config.l2_convention == "per_batch" and config.l2 > 0


def _batch_statistics(config: TrainingConfig) -> bool:
    return config.batchnorm != "off" and config.batchnorm_group is None


_L2_WARNING = (
    "l2_convention='per_batch' divides the penalty by the batch size: larger batches are regularised less, so these "
    "batch sizes differ in regularisation too; use l2_convention='fixed' to compare batch sizes alone"
)
_BATCHNORM_WARNING = (
    "batchnorm takes its statistics over the batch, so they get less noisy as the batch grows and these batch sizes "
    "differ in that too; set batchnorm_group to a common divisor of the batch sizes to hold it fixed"
)
_LEARNING_RATE_NOTE = (
    "the learning rate is the same for every batch size (lr_rule='none'), so an epoch of larger batches makes fewer "
    "steps of the same size; a learning rate tuned for each batch size could rank them differently"
)
