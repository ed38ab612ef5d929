"""A row of a study as its authors trained it: by the textbook's functions, with their conventions.

Shapes: X (K, m) and Y (C, m), examples as columns.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastfnn import textbook as nn
from fastfnn.data import Dataset, Split
from fastfnn.errors import ConfigError
from fastfnn.results import NOT_EVALUATED, Evaluation
from fastfnn.studies.networks import count_dead, look_at
from fastfnn.studies.outcomes import Curves, Outcome
from fastfnn.studies.study import Conventions
from fastfnn.studies.textbook_runs import TextbookRun

Array = NDArray[Any]
Parameters = dict[str, Array]

BATCHNORM_EPSILON = 1e-8


class Columns(NamedTuple):
    """One split as the course has it."""

    X: Array
    Y: Array


def train(data: Dataset, run: TextbookRun) -> Outcome:
    """Trains one network under the conventions of its study, and evaluates it on every split.

    The time is that of the one call, which prepares its arrays as well.
    """
    sizes = [data.n_features, *run.conventions.hidden, data.n_classes]
    _compile(data, run, sizes)
    started = time.perf_counter()
    try:
        parameters, _, history = _model(data, run, sizes, run.conventions.epochs)
    except ConfigError:  # the cost was not finite: what else could be wrong is fixed by the definitions
        return _diverged(run, time.perf_counter() - started)
    seconds = time.perf_counter() - started
    return Outcome(
        seed=run.seed,
        status=history.stop_reason,
        steps=history.iterations,
        epochs=history.epochs,
        **{name: _evaluate(data, name, parameters, run) for name in ("train", "validation", "test")},
        train_seconds=seconds,
        evaluation_seconds=0.0,
        dead_units=_dead_units(data, parameters, batchnorm=run.row.batchnorm),
        curves=_curves(history),
    )


def _model(data: Dataset, run: TextbookRun, sizes: list[int], epochs: int) -> Any:
    """The parameters, costs and history of `L_layer_model`."""
    row, conventions = run.row, run.conventions
    return nn.L_layer_model(
        *_columns(data, "train"),
        sizes,
        conventions.learning_rate,
        epochs,
        row.batch_size,
        row.batchnorm,
        lambd=row.l2,
        dropout=_dropout(run) if row.dropout else None,
        validation=_columns(data, "validation"),
        stopping=_stopping(conventions),
        random_state=run.seed,
        return_history=True,
    )


def _compile(data: Dataset, run: TextbookRun, sizes: list[int]) -> None:
    """Does one epoch, once for each kind of network, so that no run's time has the compilation in it."""
    kind = "course kernels", run.row.batchnorm, bool(run.row.dropout)

    def compile_now() -> None:
        with suppress(ConfigError):  # a cost that is not finite; the run itself will say so
            _model(data, run, sizes, epochs=1)

    data.derived(kind, compile_now)


def _dropout(run: TextbookRun) -> nn.Dropout:
    """Its masks have a stream of their own, so that the initial weights are those of a run without it."""
    stream = np.random.default_rng([run.seed, 1])
    only_gradient = run.conventions.gradient_only_dropout
    return nn.Dropout(probability=run.row.dropout, only_gradient=only_gradient, random_state=stream)


def _stopping(conventions: Conventions) -> nn.Stopping:
    return nn.Stopping(
        rule=conventions.rule,
        tol=conventions.tolerance,
        every=conventions.every,
        patience=conventions.patience,
        patience_in="checks",
        metric=conventions.metric,
    )


def _columns(data: Dataset, name: str) -> Columns:
    """A split in float64, made once."""

    def make() -> Columns:
        split: Split = data.splits()[name]
        rows = np.asarray(split.features[split.indices], dtype=np.float64) * data.scale
        return Columns(rows.T, np.eye(data.n_classes)[split.labels[split.indices]].T)

    return data.derived(("course columns", name), make)


def _evaluate(data: Dataset, name: str, parameters: Parameters, run: TextbookRun) -> Evaluation:
    """By the course's functions: batch norm takes its statistics from the whole split."""
    if name not in data.splits():
        return NOT_EVALUATED
    X, Y = _columns(data, name)
    AL, _ = nn.L_model_forward(X, parameters, run.row.batchnorm)
    accuracy = float((AL.argmax(axis=0) == Y.argmax(axis=0)).mean())
    cost = nn.compute_cost(AL, Y, parameters, run.row.l2) if run.row.l2 else nn.compute_cost(AL, Y)
    return Evaluation(float(cost), float(nn.compute_cost(AL, Y)), accuracy)


def _dead_units(data: Dataset, parameters: Parameters, *, batchnorm: bool) -> tuple[int, ...]:
    hidden = range(1, len(parameters) // 2)
    layers = [(parameters[f"W{layer}"].T, parameters[f"b{layer}"].ravel()) for layer in hidden]

    def normalise(layer: int, a: Array) -> Array:
        return np.asarray((a - a.mean(axis=0)) / np.sqrt(a.var(axis=0) + BATCHNORM_EPSILON)) if batchnorm else a

    return count_dead(layers, look_at(data), normalise)


def _curves(history: Any) -> Curves:
    """The history in the columns of `fastfnn.results.History`; its training cost is that of the batch at hand."""
    costs = dict(zip(history.cost_steps, history.costs, strict=True))
    epochs_of_a_step = history.epochs / history.iterations if history.iterations else 0.0
    columns = {
        "step": history.steps,
        "epoch": [step * epochs_of_a_step for step in history.steps],
        "train_cost": [costs.get(step, math.nan) for step in history.steps],
        "train_accuracy": history.train_accuracy,
        "validation_cost": history.validation_cost,
        "validation_accuracy": history.validation_accuracy,
    }
    return {name: np.asarray(values, dtype=float) for name, values in columns.items()}


def _diverged(run: TextbookRun, seconds: float) -> Outcome:
    return Outcome(run.seed, "diverged", 0, 0.0, NOT_EVALUATED, NOT_EVALUATED, NOT_EVALUATED, seconds, 0.0)
