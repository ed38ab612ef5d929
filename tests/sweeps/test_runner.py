import os
import signal
import threading
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from fastfnn.config import SweepConfig, TrainingConfig
from fastfnn.errors import ConfigError, StoreError
from fastfnn.sweeps import run_sweep
from fastfnn.sweeps.events import RunFinished, RunProgress, RunStarted, SweepFinished, SweepStarted
from fastfnn.sweeps.store import Store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.sqlite"


def statuses(results):
    return [run.status for run in results.runs]


def test_every_run_is_done_once(data, sweep, path, trainer):
    results = run_sweep(data, sweep, path, jobs=2)
    assert sorted(config.to_json() for config in trainer.trained) == sorted(c.to_json() for c in sweep.runs())
    assert (statuses(results), results.missing) == (["completed"] * 4, 0)
    assert results.environment["jobs"] == 2
    assert results.runs[0].started_at <= results.runs[0].finished_at


def test_a_second_sweep_does_nothing_and_returns_the_same(data, sweep, path, trainer):
    first = run_sweep(data, sweep, path)
    second = run_sweep(data, sweep, path)
    assert len(trainer.trained) == 4
    assert [run.run_id for run in first.runs] == [run.run_id for run in second.runs]
    assert first.environment == second.environment


def test_a_larger_grid_adds_only_what_is_missing(data, sweep, path, trainer):
    run_sweep(data, sweep, path)
    results = run_sweep(data, sweep.replace(grid={"batch_size": (16, 64, 128)}, seeds=3), path)
    assert len(trainer.trained) == len(results.runs) == 9


def test_a_failed_run_does_not_stop_the_others_and_is_done_again(data, sweep, path, trainer):
    def fail(config):
        if config.batch_size == 64 and config.seed == 0:
            raise MemoryError("no room")
        return "completed"

    trainer.behave = fail
    results = run_sweep(data, sweep, path, jobs=1)
    assert statuses(results) == ["completed", "completed", "failed", "completed"]
    assert results.runs[2].error == "MemoryError: no room"
    trainer.behave = lambda config: "completed"
    assert statuses(run_sweep(data, sweep, path)) == ["completed"] * 4
    assert len(trainer.trained) == 5


def test_diverged_is_kept_and_interrupted_is_done_again(data, sweep, path, trainer):
    trainer.behave = lambda config: "diverged" if config.batch_size == 16 else "interrupted"
    assert statuses(run_sweep(data, sweep, path)) == ["diverged"] * 2 + ["interrupted"] * 2
    trainer.behave = lambda config: "stopped"
    assert statuses(run_sweep(data, sweep, path)) == ["diverged"] * 2 + ["stopped"] * 2
    assert len(trainer.trained) == 6


@pytest.mark.usefixtures("ctrl_c_raises")
@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_stops_the_runs_and_keeps_the_finished_ones(data, sweep, path, trainer, jobs):
    trainer.behave = lambda config: "wait" if config.seed == 1 else "completed"

    def press() -> None:
        trainer.waiting.wait(10)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(KeyboardInterrupt):
        run_sweep(data, sweep, path, jobs=jobs)
    presser.join()
    with Store.open(path) as store:
        results = store.load()
    assert {run.seed for run in results.runs} == {0}
    assert statuses(results) == ["completed"] * 2
    trainer.behave = lambda config: "completed"
    assert run_sweep(data, sweep, path).missing == 0


def test_an_observer_that_raises_ends_the_sweep_but_loses_no_run(data, sweep, path, trainer):
    def observer(event):
        if isinstance(event, RunFinished):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_sweep(data, sweep, path, jobs=1, observer=observer)
    with Store.open(path) as store:
        assert len(store.load().runs) >= 1


def test_events_come_in_order_and_in_the_calling_thread(data, sweep, path, trainer):
    events, threads = [], set()

    def observer(event):
        events.append(event)
        threads.add(threading.current_thread())

    run_sweep(data, sweep, path, jobs=2, observer=observer)
    assert threads == {threading.main_thread()}
    assert isinstance(events[0], SweepStarted)
    assert (events[0].total, events[0].finished, len(events[0].missing), events[0].jobs) == (4, 0, 4, 2)
    assert isinstance(events[-1], SweepFinished)
    for run in events[0].missing:
        kinds = [type(event) for event in events[1:-1] if event.run == run and not isinstance(event, RunProgress)]
        assert kinds == [RunStarted, RunFinished]


def test_progress_reaches_the_observer_while_a_run_goes_on(data, path, trainer, monkeypatch):
    monkeypatch.setattr("fastfnn.sweeps.runner.SECONDS_BETWEEN_LOOKS", 0.01)
    seen = threading.Event()

    def behave(config):
        assert seen.wait(10)
        return "completed"

    def observer(event):
        if isinstance(event, RunProgress):
            assert (event.progress.step, event.run.config.batch_size) == (10, 16)
            seen.set()

    trainer.behave = behave
    results = run_sweep(data, SweepConfig(batch_size=[16], seeds=1), path, observer=observer)
    assert statuses(results) == ["completed"]


def test_a_store_of_other_data_is_refused_before_any_run(data, sweep, path, trainer):
    run_sweep(data, sweep, path)
    with pytest.raises(StoreError, match="store of its own"):
        run_sweep(type(data)(fingerprint="0" * 64), sweep, path)
    assert len(trainer.trained) == 4


def test_jobs_below_one_are_refused(data, sweep, path, trainer):
    with pytest.raises(ConfigError, match="jobs: expected at least 1, found 0"):
        run_sweep(data, sweep, path, jobs=0)
    assert not path.exists()


def test_jobs_default_to_the_cores_but_not_more_than_the_runs(data, path, trainer, monkeypatch):
    monkeypatch.setattr("fastfnn.sweeps.runner.usable_cores", lambda: 64)
    assert run_sweep(data, SweepConfig(batch_size=[16, 32], seeds=1), path).environment["jobs"] == 2


def test_runs_of_several_threads_share_the_cores(data, path, trainer, monkeypatch):
    monkeypatch.setattr("fastfnn.sweeps.runner.usable_cores", lambda: 7)
    sweep = SweepConfig(training=TrainingConfig(threads=2), batch_size=[16, 32], seeds=3)
    assert run_sweep(data, sweep, path).environment["jobs"] == 3


def test_blas_gets_one_thread_during_the_sweep(data, sweep, path, trainer):
    def behave(config):
        assert all(info["num_threads"] == 1 for info in threadpool_info() if info["user_api"] == "blas")
        return "completed"

    trainer.behave = behave
    assert statuses(run_sweep(data, sweep, path)) == ["completed"] * 4


def test_a_thread_pool_of_the_caller_is_used_and_left_open(data, sweep, path, trainer):
    with ThreadPoolExecutor(1) as pool:
        assert statuses(run_sweep(data, sweep, path, executor=pool)) == ["completed"] * 4
        assert pool.submit(int, "7").result() == 7


def test_a_process_pool_gives_the_same_runs(data, sweep, path, trainer):
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        results = run_sweep(data, sweep, path, executor=pool)
    assert [(run.status, run.error) for run in results.runs] == [("completed", None)] * 4
    assert all(run.shared_machine for run in results.runs)


class Broken(Executor):
    """Loses every run."""

    def submit(self, function, /, *args, **kwargs):
        future = Future()
        future.set_exception(RuntimeError("the worker died"))
        return future


def test_lost_workers_are_failed_runs(data, sweep, path, trainer):
    results = run_sweep(data, sweep, path, executor=Broken())
    assert {run.error for run in results.runs} == {"RuntimeError: the worker died"}


def test_real_runs_end_to_end(tmp_path):
    datasets = pytest.importorskip("sklearn.datasets")
    from fastfnn.data import Dataset

    digits = datasets.load_digits()
    data = Dataset.from_arrays(digits.data.astype(np.float32), digits.target, validation=0.2, scale=1 / 16)
    sweep = SweepConfig(
        training=TrainingConfig(hidden=(12,), learning_rate=0.1, epochs=2), batch_size=[16, 64], seeds=2
    )
    together = run_sweep(data, sweep, tmp_path / "together.sqlite", jobs=2)
    alone = run_sweep(data, sweep, tmp_path / "alone.sqlite", jobs=1)
    assert statuses(together) == statuses(alone) == ["completed"] * 4
    assert not any(run.shared_machine for run in alone.runs)
    for first, second in zip(together.runs, alone.runs, strict=True):
        assert first.validation == second.validation
        np.testing.assert_array_equal(
            together.history(first.run_id)["train_cost"], alone.history(second.run_id)["train_cost"]
        )
