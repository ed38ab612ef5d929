"""Synthetic sweeps: plausible curves for any grid, without training anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastfnn.config import SweepConfig, TrainingConfig
from fastfnn.results import NOT_EVALUATED, Evaluation, History
from fastfnn.sweeps.plan import PlannedRun, plan_runs
from fastfnn.sweeps.store import RunRecord, SweepResults

EXAMPLES = 48_000
NAN = float("nan")


def synthetic_history(config: TrainingConfig) -> dict[str, NDArray[Any]]:
    """Curves that rise faster for small batches, one record an epoch."""
    rng = np.random.default_rng([config.seed, config.batch_size])
    steps_per_epoch = config.steps_per_epoch(EXAMPLES)
    epoch = np.arange(1, config.epochs + 1, dtype=float)
    step = (epoch * steps_per_epoch).astype(int)
    speed = step / (1500 * (1 + 0.3 * rng.random()))
    loss = 0.22 + 2.1 * np.exp(-speed) + 0.02 * rng.standard_normal(len(step)) / np.sqrt(epoch)
    accuracy = np.clip(0.1 + 0.84 * (1 - np.exp(-speed)) + 0.004 * rng.standard_normal(len(step)), 0, 1)
    seconds = epoch * (0.05 + 2.4 / config.batch_size) * (1 + 0.1 * rng.random())
    history = History(step=list(step), epoch=list(epoch), seconds=list(seconds))
    for split, gap in (("train", 0.97), ("validation", 1.0)):
        setattr(history, f"{split}_cost", list(loss * gap + config.l2))
        setattr(history, f"{split}_loss", list(loss * gap))
        setattr(history, f"{split}_accuracy", list(accuracy))
    return {name: history[name] for name in History.columns()}


def synthetic_run(planned: PlannedRun, status: str) -> RunRecord:
    """A record that agrees with the synthetic history; one that diverged or failed has no evaluation."""
    config, history = planned.config, synthetic_history(planned.config)
    evaluation = Evaluation(*(float(history[f"validation_{measure}"][-1]) for measure in ("cost", "loss", "accuracy")))
    measured = status in ("completed", "stopped")
    return RunRecord(
        run_id=planned.run_id,
        settings=planned.settings,
        seed=config.seed,
        config=config,
        status=status,
        error="MemoryError: <no room>" if status == "failed" else None,
        steps=int(history["step"][-1]) if measured else 17,
        epochs=float(config.epochs) if measured else 0.01,
        best_step=None,
        train=evaluation if measured else NOT_EVALUATED,
        validation=evaluation if measured else NOT_EVALUATED,
        test=replace(evaluation, accuracy=evaluation.accuracy + 0.002) if measured else NOT_EVALUATED,
        train_seconds=float(history["seconds"][-1]) if status != "failed" else NAN,
        evaluation_seconds=0.2,
        compile_seconds=0.0,
        load_seconds=0.01,
        shared_machine=True,
        started_at="2026-01-01T10:00:00.000+00:00",
        finished_at="2026-01-01T10:00:05.000+00:00",
    )


def synthetic_results(
    sweep: SweepConfig, status: Callable[[TrainingConfig], str] = lambda _: "completed", missing: int = 0
) -> SweepResults:
    """Results of the whole grid; `status` says how each run ended."""
    data = {"name": "synthetic <data>", "fingerprint": "f" * 64, "train": EXAMPLES, "classes": 10}
    plan = plan_runs(sweep, data["fingerprint"])
    runs = tuple(synthetic_run(planned, status(planned.config)) for planned in plan)
    configs = {planned.run_id: planned.config for planned in plan}
    return SweepResults(
        sweep=sweep,
        data=data,
        environment={"python": "3.11", "processor": "Test & Sons CPU", "versions": {"numpy": "2.4.6"}},
        runs=runs[: len(runs) - missing],
        missing=missing,
        read_history=lambda run_id: synthetic_history(configs[run_id]),
    )


def synthetic_sweep(**axes: Any) -> SweepConfig:
    """A sweep with 12 epochs and these axes."""
    return SweepConfig(training=TrainingConfig(epochs=12), **({"grid": {}} | axes))


@pytest.fixture(scope="session")
def results() -> SweepResults:
    """Four batch sizes and three seeds, all completed."""
    return synthetic_results(synthetic_sweep(batch_size=[16, 64, 256, 1024], seeds=3))


@pytest.fixture(scope="session")
def two_axes() -> SweepResults:
    """Three batch sizes, two penalties and two seeds; one run diverged, one failed."""

    def status(config: TrainingConfig) -> str:
        if config.l2 == 0 or config.batch_size != 16:
            return "completed"
        return "diverged" if config.seed else "failed"

    return synthetic_results(synthetic_sweep(l2=[0.0, 1e-4], batch_size=[16, 64, 256], seeds=2), status)


@pytest.fixture(scope="session")
def all_diverged() -> SweepResults:
    """Two batch sizes and three seeds; every run diverged."""
    return synthetic_results(synthetic_sweep(batch_size=[16, 64], seeds=3), lambda _: "diverged")


@pytest.fixture(scope="session")
def categories() -> SweepResults:
    """No batch sizes to compare, but three placements of batch norm."""
    return synthetic_results(synthetic_sweep(batchnorm=["off", "before", "after"], seeds=2))


@pytest.fixture(scope="session")
def single() -> SweepResults:
    """One setting, one seed."""
    return synthetic_results(synthetic_sweep(batch_size=[64], seeds=1))
