"""Does the runs of a sweep that its store does not have yet, on any executor, and keeps each as it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from threadpoolctl import threadpool_limits

from fastfnn.config import SweepConfig, TrainingConfig
from fastfnn.data import Dataset
from fastfnn.errors import ConfigError, StoreError
from fastfnn.interrupts import interruptible
from fastfnn.progress import Progress
from fastfnn.results import TrainingResult
from fastfnn.sweeps.environment import describe_environment, usable_cores
from fastfnn.sweeps.events import (
    Event,
    Observer,
    RunFinished,
    RunProgress,
    RunStarted,
    SweepFinished,
    SweepStarted,
)
from fastfnn.sweeps.plan import PlannedRun, in_order_of_execution, plan_runs
from fastfnn.sweeps.store import FINISHED, RunRecord, Store, SweepResults, utc_now
from fastfnn.training import train, warm_up

SECONDS_BETWEEN_LOOKS = 0.2
"""How often progress and Ctrl-C are looked at; often enough for the eye, too seldom to slow the runs."""


def run_sweep(
    data: Dataset,
    sweep: SweepConfig,
    store: str | Path = "runs.sqlite",
    executor: Executor | None = None,
    jobs: int | None = None,
    observer: Observer | None = None,
) -> SweepResults:
    """Does every run of the sweep that the store does not have, and returns the results of all.

    Runs share nothing but the data, so their numbers do not depend on `jobs` or the executor; their times do.
    Ctrl-C stops the runs in progress, keeps what is finished, and raises; the next call goes on from there. A run that
    raises becomes a record of status "failed", and is done again by the next call.

    Args:
        data: the data set of every run.
        sweep: the grid and the seeds.
        store: the SQLite file that receives the runs; made where there is none.
        executor: any `concurrent.futures.Executor`. By default threads of this process, which share the data and work
            in parallel because the kernels release the interpreter's lock. Other than threads get pickled data, cannot
            be told to stop, and report no progress within a run.
        jobs: runs at a time; by default the cores that this process may use, divided by the threads of a run.
        observer: called with each event (see `fastfnn.sweeps.events`) in the calling thread.

    Raises:
        StoreError: when the store cannot be used, or belongs to another data set.
        ConfigError: when `jobs` is less than 1.
    """
    if jobs is not None and jobs < 1:
        raise ConfigError(f"jobs: expected at least 1, found {jobs}")
    notify = observer or _ignore
    with Store.create(store) as opened:
        opened.set_manifest(sweep, data.describe())
        plan = plan_runs(sweep, data.fingerprint)
        finished = opened.finished_ids()
        missing = in_order_of_execution((run for run in plan if run.run_id not in finished), sweep.seeds)
        jobs = _jobs(executor, jobs, missing)
        notify(SweepStarted(len(plan), len(plan) - len(missing), tuple(missing), jobs))
        if missing:
            opened.set_environment(describe_environment(jobs))
            # An executor of our own is shut down at the end, another's is left as it is.
            with ThreadPoolExecutor(jobs) if executor is None else nullcontext(executor) as pool:
                _do(missing, data, opened, pool, observer)
        results = opened.load()
    notify(SweepFinished(results))
    return results


def _ignore(event: Event) -> None:
    """The observer of those who want none."""


def _jobs(executor: Executor | None, jobs: int | None, runs: Sequence[PlannedRun]) -> int | None:
    """Runs at a time, None when only a foreign executor knows."""
    if executor is None:
        threads = max((run.config.threads for run in runs), default=1)
        return max(1, min(jobs or usable_cores() // threads, len(runs)))
    return jobs or getattr(executor, "_max_workers", None)


def _do(runs: list[PlannedRun], data: Dataset, store: Store, executor: Executor, observer: Observer | None) -> None:
    workers: _Threads | _Elsewhere = _Elsewhere(data, executor, alone=len(runs) == 1)
    if isinstance(executor, ThreadPoolExecutor):
        workers = _Threads(data, executor)
        _warm_up(data, runs)
    with threadpool_limits(limits=1, user_api="blas"):  # after the warm-up, which loads what is to be limited
        _Session(store, workers, observer).do(runs)


def _warm_up(data: Dataset, runs: Iterable[PlannedRun]) -> None:
    """Compiles what the runs need before the first starts, so that compilation is in no run's time."""
    for config in {run.config.replace(seed=0).content_hash(): run.config for run in runs}.values():
        # The run itself will fail for the same reason, and its record will say so.
        with suppress(Exception):
            warm_up(data, config)


@dataclass(frozen=True)
class Outcome:
    """What a worker hands back: a result or the message of an error, and when (ISO 8601, UTC)."""

    result: TrainingResult | None
    error: str | None
    started_at: str
    finished_at: str


class _Threads:
    """Workers in this process: they share the data, stop when told, and leave their progress to be collected."""

    shared_machine = None  # the runs themselves see each other
    interruptible = staticmethod(interruptible)

    def __init__(self, data: Dataset, executor: ThreadPoolExecutor) -> None:
        self._data, self._executor = data, executor
        self._stop = threading.Event()
        self._latest: dict[str, Progress] = {}

    def submit(self, run: PlannedRun) -> Future[Outcome]:
        return self._executor.submit(self._train, run)

    def stop(self) -> None:
        """Runs in progress end soon, as "interrupted"."""
        self._stop.set()

    def collect(self) -> dict[str, Progress]:
        """The latest progress of each run that has moved since the last call."""
        return {run_id: self._latest.pop(run_id) for run_id in list(self._latest)}

    def _train(self, run: PlannedRun) -> Outcome:
        def remember(progress: Progress) -> None:
            # One assignment, which is atomic: a worker never waits for the observer or for another worker.
            self._latest[run.run_id] = progress

        started_at = utc_now()
        try:
            result = train(self._data, run.config, should_stop=self._stop.is_set, observer=remember)
        except Exception as error:
            return Outcome(None, _message(error), started_at, utc_now())
        return Outcome(result, None, started_at, utc_now())


class _Elsewhere:
    """Workers in other processes or on other machines, of which nothing is known but their results."""

    def __init__(self, data: Dataset, executor: Executor, *, alone: bool) -> None:
        self._data, self._executor = data, executor
        # Nobody can tell whether two of them sat on one machine, so times are not claimed to be those of a run alone.
        self.shared_machine = not alone

    def interruptible(self) -> AbstractContextManager[Callable[[], bool]]:
        """Ctrl-C stays Python's own: a handler of ours would be inherited by forked workers and hide it from them."""
        return nullcontext(lambda: False)

    def submit(self, run: PlannedRun) -> Future[Outcome]:
        return self._executor.submit(train_elsewhere, self._data, run.config)

    def stop(self) -> None:
        """Nothing can be told to them; a Ctrl-C in the terminal reaches local processes by itself."""

    def collect(self) -> dict[str, Progress]:
        return {}


def train_elsewhere(data: Dataset, config: TrainingConfig) -> Outcome:
    """The task of a worker in another process: a function of a module, so that it can be pickled."""
    started_at = utc_now()
    try:
        with threadpool_limits(limits=1, user_api="blas"):
            result = train(data, config)
    except Exception as error:
        return Outcome(None, _message(error), started_at, utc_now())
    return Outcome(result, None, started_at, utc_now())


class _Session:
    """The calling thread's part: it hands out runs, writes the store and calls the observer, all by itself."""

    def __init__(self, store: Store, workers: _Threads | _Elsewhere, observer: Observer | None) -> None:
        self._store, self._workers = store, workers
        self._notify = observer or _ignore
        self._pending: dict[Future[Outcome], PlannedRun] = {}
        self._announced: dict[str, PlannedRun] = {}
        self._submitted_at = utc_now()

    def do(self, runs: Iterable[PlannedRun]) -> None:
        """Does the runs; whatever ends this early, the runs that were finished are in the store."""
        with self._workers.interruptible() as interrupted:
            try:
                for run in runs:
                    self._pending[self._workers.submit(run)] = run
                while self._pending and not interrupted():
                    self._look()
                if interrupted():
                    raise KeyboardInterrupt
            except BaseException:
                self._abandon()
                raise

    def _look(self) -> None:
        done, _ = wait(self._pending, timeout=SECONDS_BETWEEN_LOOKS, return_when=FIRST_COMPLETED)
        for future in done:
            self._finish(future)
        self._report()

    def _finish(self, future: Future[Outcome]) -> None:
        """Saves a run, then forgets its result, so that only results of unsaved runs are in memory."""
        run = self._pending[future]
        outcome = self._outcome(future)
        record = self._save(run, outcome)
        del self._pending[future]
        self._announce(run)
        del self._announced[run.run_id]
        self._notify(RunFinished(run, record, outcome.result.network if outcome.result else None))

    def _save(self, run: PlannedRun, outcome: Outcome) -> RunRecord:
        started_at, finished_at = outcome.started_at, outcome.finished_at
        if outcome.result is None:
            error = outcome.error or "no result"
            return self._store.save_failure(run, error, started_at=started_at, finished_at=finished_at)
        shared = self._workers.shared_machine
        return self._store.save(
            run, outcome.result, started_at=started_at, finished_at=finished_at, shared_machine=shared
        )

    def _outcome(self, future: Future[Outcome]) -> Outcome:
        """A worker that died has no outcome of its own."""
        try:
            return future.result()
        except Exception as error:
            return Outcome(None, _message(error), self._submitted_at, utc_now())

    def _report(self) -> None:
        for future, run in self._pending.items():
            if future.running():
                self._announce(run)
        for run_id, progress in self._workers.collect().items():
            if run_id in self._announced:
                self._notify(RunProgress(self._announced[run_id], progress))

    def _announce(self, run: PlannedRun) -> None:
        if run.run_id not in self._announced:
            self._announced[run.run_id] = run
            self._notify(RunStarted(run))

    def _abandon(self) -> None:
        """Stops the runs in progress and keeps those that were finished meanwhile."""
        self._workers.stop()
        running = [future for future in self._pending if not future.cancel()]
        wait(running)
        for future in running:
            outcome = None if future.exception() else future.result()
            if outcome and outcome.result and outcome.result.status in FINISHED:
                with suppress(StoreError):  # which may be what ended the sweep
                    self._save(self._pending[future], outcome)


def _message(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
