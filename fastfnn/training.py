"""The thin loop: Python decides what the next stretch of steps is, an engine runs it.

The loop owns order, schedule, stopping, history, checkpoints and times; an `Engine` owns the arithmetic. `train` runs
it on the compiled kernels, `fastfnn.reference.train` on NumPy.
"""

from __future__ import annotations

import math
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastfnn.checkpoint import Checkpoint
from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset, Split
from fastfnn.engine import KernelEngine
from fastfnn.errors import ConfigError
from fastfnn.interrupts import interruptible
from fastfnn.network import Network
from fastfnn.progress import Observer, Progress, progress_bar
from fastfnn.results import NOT_EVALUATED, Evaluation, History, Status, TrainingResult
from fastfnn.schedules import learning_rates
from fastfnn.stopping import StoppingRule
from fastfnn.streams import dropout_keys, epoch_order
from fastfnn.stretch import Engine, Stretch, Totals

Array = NDArray[Any]
ShouldStop = Callable[[], bool]

# Multiply-adds between two returns to the interpreter: about half a second for wide networks, whole epochs for small
# ones, so that Ctrl-C and the progress bar stay prompt. A fixed amount of work, not of time, keeps runs reproducible.
WORK_PER_STRETCH = 10**10


def train(
    data: Dataset,
    config: TrainingConfig | None = None,
    *,
    progress: bool = False,
    checkpoint: str | Path | None = None,
    should_stop: ShouldStop | None = None,
    observer: Observer | None = None,
) -> TrainingResult:
    """Trains one network on the compiled kernels.

    Args:
        data: the data set; its training split is trained on, the others are evaluated.
        config: the run; defaults to `TrainingConfig()`.
        progress: whether to show a bar on standard error (plain lines when it is not a terminal).
        checkpoint: a file that is written now and then, and continued from when it exists; removed at the end.
        should_stop: asked between stretches of steps; true ends the run as "interrupted".
        observer: called with a `Progress` between stretches of steps.

    Ctrl-C in the main thread ends the run as "interrupted" and keeps its result; a second one raises.

    Raises:
        ConfigError: when the configuration does not fit the data, e.g. batch norm on a last batch of one example.
        DataError: when the checkpoint is damaged or belongs to another run.
    """
    return run(data, config or TrainingConfig(), KernelEngine, progress, checkpoint, should_stop, observer)


def warm_up(data: Dataset, config: TrainingConfig) -> float:
    """Compiles, or loads from the cache, what a run needs, and prepares the shared rows; the seconds it took."""
    engine = KernelEngine(data, config)
    return engine.compile_seconds + engine.load_seconds


def run(
    data: Dataset,
    config: TrainingConfig,
    make_engine: Callable[[Dataset, TrainingConfig], Engine],
    progress: bool = False,
    checkpoint: str | Path | None = None,
    should_stop: ShouldStop | None = None,
    observer: Observer | None = None,
) -> TrainingResult:
    """`train` on any engine."""
    check_fits(data, config)
    saved = Checkpoint.at(checkpoint, data, config, make_engine.__name__) if checkpoint else None
    loop = Loop(data, config, make_engine(data, config), saved)
    with interruptible() as interrupted, progress_bar(config, enabled=progress) as bar, running_alone() as is_alone:
        observers = [watch for watch in (bar, observer) if watch]

        def stop() -> bool:
            return interrupted() or bool(should_stop and should_stop())

        status = loop.train(stop, lambda seen: [watch(seen) for watch in observers])
    return loop.result(status, shared_machine=not is_alone())


def check_fits(data: Dataset, config: TrainingConfig) -> None:
    """Refuses configurations that this data set cannot be trained with.

    Raises:
        ConfigError: naming the field, what the data requires and what to change.
    """
    n = len(data.train)
    if config.early_stopping and data.validation is None:
        raise ConfigError("early_stopping: needs a validation split, and the data has none; pass validation=0.2")
    smallest_batch = n % config.batch_size or min(n, config.batch_size)
    if config.last_batch == "drop" and n >= config.batch_size:
        smallest_batch = config.batch_size
    if config.batchnorm != "off" and smallest_batch % (config.batchnorm_group or config.batch_size) == 1:
        raise ConfigError(
            f"batchnorm: the last batch of {n} examples in batches of {config.batch_size} leaves a group of one "
            "example, whose variance is 0; use last_batch='drop' or another batch_size"
        )


def steps_at_once(data: Dataset, config: TrainingConfig) -> int:
    """The most steps between two returns to the interpreter."""
    sizes = [data.n_features, *config.hidden, data.n_classes]
    return math.ceil(WORK_PER_STRETCH / (config.batch_size * sum(k * h for k, h in pairwise(sizes))))


class Loop:
    """One run in progress."""

    def __init__(self, data: Dataset, config: TrainingConfig, engine: Engine, checkpoint: Checkpoint | None) -> None:
        self.data, self.config, self.engine, self.checkpoint = data, config, engine, checkpoint
        self.steps_per_epoch = config.steps_per_epoch(len(data.train))
        self.total_steps = config.epochs * self.steps_per_epoch
        self.step = 0
        self.history = History()
        self.rule = StoppingRule(config.early_stopping) if config.early_stopping else None
        self.best_state: dict[str, Array] | None = None
        self.pending: list[Totals] = []  # since the last record
        self.order: tuple[int, NDArray[np.int64]] | None = None  # of the epoch of this number
        self.train_seconds = 0.0
        self.evaluation_seconds = 0.0
        if checkpoint:
            checkpoint.resume(self)

    def train(self, should_stop: ShouldStop, observe: Observer) -> Status:
        """Runs until the last step, the stopping rule, divergence or an interrupt."""
        observe(self._progress())
        while self.step < self.total_steps:
            if should_stop():
                return "interrupted"
            status = self._next_status()
            observe(self._progress())
            if status:
                return status
            if self.checkpoint:
                self.checkpoint.save_if_due(self)
        return "completed"

    def _next_status(self) -> Status | None:
        """Runs a stretch, does what is due after it, and says whether and how the run ends with it."""
        if self._run_stretch().diverged:
            self._record(NOT_EVALUATED)
            return "diverged"
        stopped = self._after_stretch()
        if not self.pending and not self._is_finite():
            return "diverged"
        return "stopped" if stopped else None

    def _is_finite(self) -> bool:
        """Whether the costs of the latest record are, as far as there are splits to have costs."""
        costs = [self.history.train_cost[-1]]
        if self.data.validation is not None:
            costs.append(self.history.validation_cost[-1])
        return all(map(math.isfinite, costs))

    def _run_stretch(self) -> Totals:
        epoch, first = divmod(self.step, self.steps_per_epoch)
        last = first + self._stretch_length()
        started = time.perf_counter()
        stretch = Stretch(
            order=self._order(epoch),
            first=first,
            last=last,
            step=self.step,
            learning_rates=learning_rates(self.config, self.steps_per_epoch, self.step, self.step + last - first),
            dropout_keys=dropout_keys(self.config.seed, epoch, len(self.config.hidden)),
        )
        totals = self.engine.run(stretch)
        self.train_seconds += time.perf_counter() - started
        self.step += totals.steps
        self.pending.append(totals)
        return totals

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """The order of an epoch, drawn once for all its stretches."""
        if self.order is None or self.order[0] != epoch:
            indices = self.data.train.indices
            self.order = epoch, epoch_order(self.config.seed, epoch, indices, shuffle=self.config.shuffle)
        return self.order[1]

    def _stretch_length(self) -> int:
        """Steps to the next event: end of the epoch, record, check of the stopping rule, or enough work."""
        events = [self.steps_per_epoch]
        if isinstance(self.config.evaluate_every, int):
            events.append(self.config.evaluate_every)
        if self.rule:
            events.append(self.rule.config.every)
        return min(steps_at_once(self.data, self.config), *(every - self.step % every for every in events))

    def _after_stretch(self) -> bool:
        """Evaluates, records and checks what is due at this step; true when the stopping rule says stop."""
        check_due = self.rule is not None and self.step % self.rule.config.every == 0
        record_due = check_due or self._is_record_due()
        if not record_due:
            return False
        validation = self.evaluate(self.data.validation)
        self._record(validation)
        return check_due and self._check(validation)

    def _is_record_due(self) -> bool:
        every = self.config.evaluate_every
        if every == "epoch":
            every = self.steps_per_epoch
        return self.step == self.total_steps or (every != "end" and self.step % every == 0)

    def _check(self, validation: Evaluation) -> bool:
        assert self.rule is not None
        stop = self.rule.check(self.step, validation)
        if self.rule.config.restore_best and self.rule.is_best(self.step):
            self.best_state = self.engine.state()
        return stop

    def _record(self, validation: Evaluation) -> None:
        """Adds a record: training means since the last one, and the validation set's evaluation."""
        examples = sum(totals.examples for totals in self.pending)
        weight = math.fsum(totals.weight for totals in self.pending)
        loss = math.fsum(totals.loss for totals in self.pending) / weight if weight else 0.0
        accuracy = sum(totals.correct for totals in self.pending) / examples
        train = Evaluation(loss + self._penalty(), loss, accuracy)
        self.history.append(self.step, self.step / self.steps_per_epoch, self.train_seconds, train, validation)
        self.pending.clear()

    def _penalty(self) -> float:
        if self.config.l2 == 0:
            return 0.0
        return self.config.l2 / (2 * self.config.l2_divisor) * self.engine.squared_weights()

    def evaluate(self, split: Split | None) -> Evaluation:
        """The current parameters on a whole split."""
        if split is None:
            return NOT_EVALUATED
        started = time.perf_counter()
        loss, accuracy = self.engine.evaluate(split)
        self.evaluation_seconds += time.perf_counter() - started
        return Evaluation(loss + self._penalty(), loss, accuracy)

    def _progress(self) -> Progress:
        measures = ("train_cost", "train_accuracy", "validation_cost", "validation_accuracy")
        latest = [getattr(self.history, name)[-1] for name in measures] if len(self.history) else []
        return Progress(self.step, self.total_steps, self.step / self.steps_per_epoch, self.train_seconds, *latest)

    def _save_before_the_end(self, checkpoint: Checkpoint) -> None:
        """Saves what a resumed run goes on from; a disk that refuses must not cost the result."""
        try:
            checkpoint.save(self)
        except OSError as error:
            warnings.warn(f"{checkpoint.path}: the checkpoint could not be written: {error}", stacklevel=4)

    def result(self, status: Status, *, shared_machine: bool) -> TrainingResult:
        """Evaluates every split on the final (or the best) parameters and ends the run."""
        if self.checkpoint and status == "interrupted":
            self._save_before_the_end(self.checkpoint)
        if self.pending:
            self._record(self.evaluate(self.data.validation))
        best_step = self.rule.best_step if self.rule and self.rule.best_step >= 0 else None
        if self.best_state and status != "diverged":
            self.engine.restore(self.best_state)
        train, validation, test = map(self.evaluate, (self.data.train, self.data.validation, self.data.test))
        if not math.isfinite(train.cost):
            status = "diverged"  # by the very last step, after which no cost was computed
        if self.checkpoint and status != "interrupted":
            self.checkpoint.remove()
        network = Network(self.config, self.engine.parameters(), self.data.classes, self.data.scale)
        return TrainingResult(
            config=self.config,
            status=status,
            network=network,
            history=self.history,
            train=train,
            validation=validation,
            test=test,
            steps=self.step,
            epochs=self.step / self.steps_per_epoch,
            best_step=best_step,
            train_seconds=self.train_seconds,
            evaluation_seconds=self.evaluation_seconds,
            compile_seconds=self.engine.compile_seconds,
            load_seconds=self.engine.load_seconds,
            shared_machine=shared_machine,
        )


_running = 0
_overlaps = 0
_running_lock = threading.Lock()


@contextmanager
def running_alone() -> Iterator[Callable[[], bool]]:
    """Yields a question: has this run had the process to itself so far?"""
    global _running, _overlaps  # noqa: PLW0603  (one count for the process)
    with _running_lock:
        _running += 1
        _overlaps += _running > 1
        overlaps_before, alone_at_start = _overlaps, _running == 1
    try:
        yield lambda: alone_at_start and _overlaps == overlaps_before
    finally:
        with _running_lock:
            _running -= 1
