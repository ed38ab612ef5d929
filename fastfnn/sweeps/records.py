"""A run as a sweep remembers it, and the results of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from fastfnn.config import SweepConfig, TrainingConfig
from fastfnn.errors import StoreError
from fastfnn.results import Evaluation

MEASURED = ("completed", "stopped")
"""Statuses of runs whose evaluations compare with others'."""

FINISHED = (*MEASURED, "diverged")
"""Statuses of runs that a later sweep does not repeat; "interrupted" and "failed" runs are done again."""


@dataclass(frozen=True)
class RunRecord:
    """One run as the store keeps it, without its history.

    Attributes:
        run_id: 16 hex digits, from configuration, data and version.
        settings: value of each axis of the grid, without the seed.
        status: "completed", "stopped", "diverged", "interrupted" or "failed".
        error: message of a failed run, else None.
        train, validation, test: evaluations of the final network, NaN where absent.
        shared_machine: whether other runs ran at the same time, so that times are longer than those of a run alone.
        started_at, finished_at: ISO 8601, UTC.
    """

    run_id: str
    settings: dict[str, Any]
    seed: int
    config: TrainingConfig
    status: str
    error: str | None
    steps: int
    epochs: float
    best_step: int | None
    train: Evaluation
    validation: Evaluation
    test: Evaluation
    train_seconds: float
    evaluation_seconds: float
    compile_seconds: float
    load_seconds: float
    shared_machine: bool
    started_at: str
    finished_at: str

    @property
    def measured(self) -> bool:
        """Whether the run ended as planned, so that its evaluations compare with those of other runs."""
        return self.status in MEASURED


def _no_history(run_id: str) -> dict[str, NDArray[Any]]:
    raise StoreError(f"run {run_id}: these results were made without histories")


@dataclass(frozen=True)
class SweepResults:
    """The runs of a sweep that a store holds, in the order of the grid, seeds fastest.

    Attributes:
        data: description of the data set, with its "name" and "fingerprint".
        environment: where the latest of these runs ran: versions, processor, jobs.
        missing: planned runs that are not in the store.
        other_environments: where earlier ones of these runs ran, if elsewhere or at another time.
        read_history: gives the history of a run by its id; histories stay in the store until they are asked for.
    """

    sweep: SweepConfig
    data: dict[str, Any]
    environment: dict[str, Any]
    runs: tuple[RunRecord, ...]
    missing: int
    other_environments: tuple[dict[str, Any], ...] = ()
    read_history: Callable[[str], dict[str, NDArray[Any]]] = field(default=_no_history, repr=False, compare=False)

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes of the grid with more than one value, `batch_size` first when it is one."""
        varied = [name for name, values in self.sweep.grid.items() if len(values) > 1]
        return tuple(sorted(varied, key=lambda name: name != "batch_size"))

    def history(self, run_id: str) -> dict[str, NDArray[Any]]:
        """The history of one run: each column of `fastfnn.results.History` as an array of shape (records,).

        Raises:
            StoreError: when the store has no such run or cannot be read.
        """
        return self.read_history(run_id)

    def settings(self) -> list[dict[str, Any]]:
        """The distinct settings of the runs, in the order of the grid."""
        distinct: list[dict[str, Any]] = []
        for run in self.runs:
            if run.settings not in distinct:
                distinct.append(run.settings)
        return distinct

    def runs_at(self, settings: Mapping[str, Any]) -> list[RunRecord]:
        """The runs of one setting, by seed."""
        return sorted((run for run in self.runs if run.settings == settings), key=lambda run: run.seed)
