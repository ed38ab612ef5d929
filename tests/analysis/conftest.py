"""Results made by hand: accuracies and times for each setting and seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastfnn.config import SweepConfig, TrainingConfig
from fastfnn.results import NOT_EVALUATED, Evaluation, History
from fastfnn.sweeps.plan import PlannedRun, plan_runs
from fastfnn.sweeps.store import RunRecord, SweepResults

NAN = float("nan")


def make_history(accuracies: list[float], seconds: float) -> dict[str, NDArray[Any]]:
    """One record an epoch of ten steps, `seconds` for all of them."""
    n = len(accuracies)
    epoch = np.arange(1, n + 1, dtype=float)
    history = {name: np.full(n, NAN) for name in History.columns()}
    history.update(step=10 * np.arange(1, n + 1), epoch=epoch, seconds=seconds * epoch / n)
    history.update(validation_accuracy=np.array(accuracies, dtype=float))
    return history


def make_record(run: PlannedRun, status: str, validation: float, test: float, seconds: float) -> RunRecord:
    measured = status in ("completed", "stopped")
    return RunRecord(
        run_id=run.run_id,
        settings=run.settings,
        seed=run.config.seed,
        config=run.config,
        status=status,
        error="ValueError: no" if status == "failed" else None,
        steps=40,
        epochs=4.0,
        best_step=None,
        train=NOT_EVALUATED,
        validation=Evaluation(0.1, 0.1, validation) if measured else NOT_EVALUATED,
        test=Evaluation(0.1, 0.1, test) if measured else NOT_EVALUATED,
        train_seconds=seconds,
        evaluation_seconds=0.1,
        compile_seconds=0.0,
        load_seconds=0.0,
        shared_machine=False,
        started_at="2026-01-01T10:00:00.000+00:00",
        finished_at="2026-01-01T10:00:05.000+00:00",
    )


def build(
    accuracy: dict[int, list[float]],
    seconds: dict[int, float] | None = None,
    status: dict[tuple[int, int], str] | None = None,
    test: float = 0.5,
    training: TrainingConfig | None = None,
) -> SweepResults:
    """Results of `accuracy[batch_size][seed]`; a run rises to its accuracy in four equal steps.

    `status` maps (batch size, seed) to a status other than "completed"; "missing" is a run that the store lacks.
    """
    status = status or {}
    seeds = max(map(len, accuracy.values()))
    sweep = SweepConfig(training=training or TrainingConfig(), batch_size=list(accuracy), seeds=seeds)
    records, histories = [], {}
    plan = plan_runs(sweep, "abc")
    for run in plan:
        size, seed = run.config.batch_size, run.config.seed
        how = status.get((size, seed), "completed")
        if how == "missing":
            continue
        final, duration = accuracy[size][seed], (seconds or {}).get(size, 4.0)
        histories[run.run_id] = make_history([final * part for part in (0.25, 0.5, 0.75, 1.0)], duration)
        records.append(make_record(run, how, final, test, duration))
    return SweepResults(
        sweep=sweep,
        data={"name": "made", "fingerprint": "abc"},
        environment={"cpu": "one"},
        runs=tuple(records),
        missing=len(plan) - len(records),
        read_history=histories.__getitem__,
    )


@pytest.fixture
def results_of() -> Callable[..., SweepResults]:
    return build


@pytest.fixture
def history_of() -> Callable[..., dict[str, NDArray[Any]]]:
    return make_history
