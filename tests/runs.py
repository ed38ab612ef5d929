"""Short training runs on small data, and what they have in common."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastfnn
from fastfnn import reference
from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.results import History, TrainingResult
from fastfnn.schedules import learning_rates
from fastfnn.streams import dropout_keys, epoch_order
from fastfnn.stretch import Engine, Stretch, Totals

Train = Callable[..., TrainingResult]
TRAINERS = [pytest.param(fastfnn.train, id="kernels"), pytest.param(reference.train, id="reference")]

rng = np.random.default_rng(0)
X = rng.random((200, 6)).astype(np.float32)
Y = (X @ rng.normal(size=(6, 3)) + rng.gumbel(size=(200, 3)) / 5).argmax(axis=1)


def config(**options: Any) -> TrainingConfig:
    return TrainingConfig(**{"hidden": (8,), "batch_size": 16, "epochs": 3, "learning_rate": 0.05, **options})


def do_steps(
    engine: Engine, data: Dataset, config: TrainingConfig, steps: int, rates_of: Callable[..., Any] = learning_rates
) -> list[Totals]:
    """The first steps of a run, epoch by epoch."""
    per_epoch, done, totals = config.steps_per_epoch(len(data.train)), 0, []
    while done < steps:
        epoch = done // per_epoch
        order = epoch_order(config.seed, epoch, data.train.indices, shuffle=config.shuffle)
        last = min(per_epoch, steps - epoch * per_epoch)
        rates = rates_of(config, per_epoch, done, done + last)
        keys = dropout_keys(config.seed, epoch, len(config.hidden))
        totals.append(engine.run(Stretch(order, 0, last, done, rates, keys)))
        done += last
    return totals


def stop_at(step: int) -> dict[str, Any]:
    """Arguments of `train` that interrupt it once so many steps are done."""
    seen = [0]
    return {"observer": lambda progress: seen.append(progress.step), "should_stop": lambda: seen[-1] >= step}


def assert_close_tensors(found: Mapping[str, Any], expected: Mapping[str, Any], tolerance: float) -> None:
    """Each differs from the expected one by at most the tolerance, relative to its largest number."""
    for name, tensor in found.items():
        largest = max(np.abs(expected[name]).max(), 1e-3)  # the gradient of a bias before batch norm is rounding alone
        np.testing.assert_allclose(tensor, expected[name], rtol=0, atol=tolerance * largest, err_msg=name)


def bits(result: TrainingResult) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in result.network.parameters.tensors().items()}


def squared_weights(result: TrainingResult) -> float:
    return float(sum((w.astype(np.float64) ** 2).sum() for w in result.network.parameters.weights))


def assert_same_run(a: TrainingResult, b: TrainingResult) -> None:
    """The same bits in everything but the times."""
    assert (a.status, a.steps, a.epochs, a.best_step) == (b.status, b.steps, b.epochs, b.best_step)
    for column in History.columns():
        if column != "seconds":
            np.testing.assert_array_equal(a.history[column], b.history[column], err_msg=column)
    assert bits(a) == bits(b)
    assert (a.train, a.validation, a.test) == (b.train, b.validation, b.test)


def child(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A process that trains and says "step N" now and then."""
    preamble = (
        "import signal, sys, time, fastfnn\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "data = fastfnn.load_dataset('mnist')\n"
        "def tell(p): print('step', p.step, flush=True)\n"
    )
    command = [sys.executable, "-W", "error", "-c", preamble + code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_steps(process: subprocess.Popen[str], lines: int) -> int:
    """The number of steps that the child has done after it has reported so often."""
    assert process.stdout is not None
    reports = [process.stdout.readline() for _ in range(lines)]
    if not reports[-1]:
        raise AssertionError(process.communicate()[1])
    return int(reports[-1].split()[1])


def interrupted(data: Dataset, path: Path) -> bytes:
    """The checkpoint of a run that was interrupted."""
    fastfnn.train(data, config(), checkpoint=path, **stop_at(10))
    return path.read_bytes()
