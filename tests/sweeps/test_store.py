import multiprocessing
import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fastfnn.config import SweepConfig, TrainingConfig
from fastfnn.errors import StoreError
from fastfnn.results import History
from fastfnn.sweeps.plan import plan_runs
from fastfnn.sweeps.store import Store

DATA = {"name": "fake", "fingerprint": "f" * 64, "density": float("nan"), "classes": np.arange(3)}
TIMES = {"started_at": "2026-01-01T10:00:00.000+00:00", "finished_at": "2026-01-01T10:00:05.000+00:00"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.sqlite"


@pytest.fixture
def plan(sweep):
    return plan_runs(sweep, DATA["fingerprint"])


@pytest.fixture
def filled(path, sweep, plan, make_result):
    with Store.create(path) as store:
        store.set_manifest(sweep, DATA)
        store.set_environment({"cpu": "first"})
        for run in plan:
            store.save(run, make_result(run.config), **TIMES)
    return path


def test_what_is_saved_comes_back(filled, sweep, plan, make_result):
    with Store.open(filled) as store:
        results = store.load()
    assert results.sweep == sweep
    assert results.data == {"name": "fake", "fingerprint": "f" * 64, "density": None, "classes": [0, 1, 2]}
    assert (results.missing, results.environment) == (0, {"cpu": "first"})
    assert [run.run_id for run in results.runs] == [run.run_id for run in plan]
    first, expected = results.runs[0], make_result(plan[0].config)
    assert first.config == plan[0].config
    assert first.settings == {"batch_size": 16}
    assert first.validation == expected.validation
    assert np.isnan(first.test.accuracy)
    assert (first.train_seconds, first.load_seconds, first.started_at) == (1.5, 0.125, TIMES["started_at"])
    history = results.history(first.run_id)
    assert list(history) == History.columns()
    assert history["step"].dtype == np.int64
    for column in History.columns():
        np.testing.assert_array_equal(history[column], expected.history[column])


def test_results_by_setting(filled):
    with Store.open(filled) as store:
        results = store.load()
    assert results.axes == ("batch_size",)
    assert results.settings() == [{"batch_size": 16}, {"batch_size": 64}]
    assert [run.seed for run in results.runs_at({"batch_size": 64})] == [0, 1]


def test_batch_size_is_the_first_axis_and_the_grid_keeps_its_order(path):
    sweep = SweepConfig(l2=[1e-4, 0], hidden=[(20, 7, 5)], batch_size=[32, 16], seeds=1)
    with Store.create(path) as store:
        store.set_manifest(sweep, DATA)
        results = store.load()
    assert results.axes == ("batch_size", "l2")
    assert list(results.sweep.grid) == list(sweep.grid)
    assert (results.sweep, results.missing) == (sweep, 4)


def test_not_finite_numbers_survive(path, sweep, plan, make_result):
    result = make_result(plan[0].config, "diverged")
    result.history.train_cost[-1], result.history.validation_cost[-1] = float("inf"), float("nan")
    with Store.create(path) as store:
        store.set_manifest(sweep, DATA)
        store.save(plan[0], result, **TIMES)
        history = store.load().history(plan[0].run_id)
    assert history["train_cost"][-1] == np.inf
    assert np.isnan(history["validation_cost"][-1])


def test_unfinished_runs_are_replaced_and_finished_ones_are_not(path, sweep, plan, make_result):
    run = plan[0]
    with Store.create(path) as store:
        store.set_manifest(sweep, DATA)
        store.save_failure(run, "MemoryError: no room", **TIMES)
        assert store.finished_ids() == set()
        failed = store.load().runs[0]
        assert (failed.status, failed.error, failed.measured) == ("failed", "MemoryError: no room", False)
        assert store.history(run.run_id)["step"].shape == (0,)
        for status in ("interrupted", "diverged", "completed"):
            store.save(run, make_result(run.config, status), **TIMES)
        assert store.finished_ids() == {run.run_id}
        assert store.load().runs[0].status == "diverged"
        assert len(store.history(run.run_id)["step"]) == 3


def test_a_larger_grid_keeps_the_old_runs(filled, sweep):
    larger = sweep.replace(grid={"batch_size": (16, 64, 128), "l2": (0.0, 1e-4)})
    with Store.create(filled) as store:
        store.set_manifest(larger, DATA)
        results = store.load()
    assert (len(results.runs), results.missing) == (4, 8)
    assert results.runs[0].settings == {"batch_size": 16, "l2": 0.0}


def test_runs_remember_where_they_were_done(filled, sweep, make_result):
    larger = sweep.replace(grid={"batch_size": (16, 64, 128)})
    run = plan_runs(larger, DATA["fingerprint"])[-1]
    with Store.create(filled) as store:
        store.set_manifest(larger, DATA)
        store.set_environment({"cpu": "second"})
        store.save(run, make_result(run.config), **TIMES)
        results = store.load()
    assert (results.environment, results.other_environments) == ({"cpu": "second"}, ({"cpu": "first"},))


def test_results_of_an_earlier_version_are_still_shown(path, sweep, make_result):
    run = plan_runs(sweep, DATA["fingerprint"], "0.0.1")[0]
    with Store.create(path) as store:
        store.set_manifest(sweep, DATA, version="0.0.1")
        store.save(run, make_result(run.config), **TIMES)
        assert len(store.load().runs) == 1


def test_a_run_is_written_whole_or_not_at_all(path, sweep, plan, make_result):
    result = make_result(plan[0].config)
    result.history.validation_cost[1] = "not a number"  # refused by the table's type, after the run's row is written
    with Store.create(path) as store:
        store.set_manifest(sweep, DATA)
        with pytest.raises(StoreError, match=r"runs\.sqlite"):
            store.save(plan[0], result, **TIMES)
        assert store.load().missing == 4
        store.save(plan[0], make_result(plan[0].config), **TIMES)
        assert store.load().missing == 3


def test_threads_write_one_store_through_stores_of_their_own(path, sweep, plan, make_result):
    def work(run):
        with Store.create(path) as store:
            store.set_manifest(sweep, DATA)
            store.save(run, make_result(run.config), **TIMES)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, plan))
    with Store.open(path) as store:
        assert store.load().missing == 0


def write_all(path, sweep, make_result, barrier):
    barrier.wait(timeout=20)
    for run in plan_runs(sweep, DATA["fingerprint"]):
        with Store.create(path) as store:
            store.set_manifest(sweep, DATA)
            store.save(run, make_result(run.config), **TIMES)


def test_two_processes_write_one_store(path, make_result):
    sweep = SweepConfig(training=TrainingConfig(epochs=3), batch_size=[16, 32, 64], seeds=4)
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    workers = [context.Process(target=write_all, args=(path, sweep, make_result, barrier)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=30)
    assert [worker.exitcode for worker in workers] == [0, 0]
    with Store.open(path) as store:
        results = store.load()
    assert results.missing == 0
    assert all(len(results.history(run.run_id)["step"]) == 3 for run in results.runs)


def test_another_data_set_is_refused(filled, sweep):
    with Store.create(filled) as store, pytest.raises(StoreError, match=r"'other' .*found runs on 'fake'.*own"):
        store.set_manifest(sweep, {"name": "other", "fingerprint": "0" * 64})


def test_an_unknown_run_is_refused(filled):
    with Store.open(filled) as store, pytest.raises(StoreError, match="expected run 123, found no run"):
        store.history("123")


def test_a_store_without_a_sweep(path):
    Store.create(path).close()
    with Store.open(path) as store, pytest.raises(StoreError, match="found a store without one"):
        store.load()


def test_a_sweep_of_unknown_fields(filled):
    connection = sqlite3.connect(filled)
    with connection:
        connection.execute("UPDATE manifest SET sweep = '{\"grids\": {}}', version = '9.9'")
    connection.close()
    with Store.open(filled) as store, pytest.raises(StoreError, match=r"version 9\.9.*grids"):
        store.load()


def not_a_database(path):
    path.write_bytes(b"batch_size,accuracy\n" * 100)


def empty(path):
    path.write_bytes(b"")


def truncated(path):
    path.write_bytes(path.read_bytes()[:-5000])


def scribbled(path):
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)


def newer(path):
    execute(path, "PRAGMA user_version = 99")


def foreign(path):
    path.unlink()
    execute(path, "CREATE TABLE cities (name TEXT)")


def a_folder(path):
    path.unlink()
    path.mkdir()


def execute(path, statement):
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (not_a_database, "found a file of another kind; give another path"),
        (truncated, "found a damaged one .*restore a copy"),
        (scribbled, "found a damaged one .*restore a copy"),
        (newer, "schema version 1, found 99.*update fastfnn"),
        (foreign, "found an SQLite database of another program"),
        (a_folder, "choose another folder"),
    ],
)
@pytest.mark.parametrize("opening", [Store.open, Store.create])
def test_files_that_are_no_store(filled, damage, message, opening):
    damage(filled)
    with pytest.raises(StoreError, match=rf"runs\.sqlite: expected .*{message}"):
        opening(filled)


def test_an_empty_file_can_become_a_store_but_is_none(filled):
    empty(filled)
    with pytest.raises(StoreError, match="found an empty file"):
        Store.open(filled)
    with Store.create(filled) as store:
        assert store.finished_ids() == set()


def test_a_missing_file(path):
    with pytest.raises(StoreError, match="found no such file"):
        Store.open(path)
    assert not path.exists()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="expected a folder that can be written"):
        Store.create(tmp_path / "file" / "runs.sqlite")


def test_a_folder_that_cannot_be_written_can_be_read(filled, monkeypatch):
    before = filled.read_bytes()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with Store.open(filled) as store:
        results = store.load()
        assert len(results.history(results.runs[0].run_id)["step"]) == 3
        with pytest.raises(StoreError, match="expected a file in a folder that can be written"):
            store.set_environment({})
    assert filled.read_bytes() == before
    assert [file.name for file in filled.parent.iterdir()] == [filled.name]


def test_a_locked_store_says_so(filled, monkeypatch):
    monkeypatch.setattr("fastfnn.sweeps.database.BUSY_SECONDS", 0.05)
    holder = sqlite3.connect(filled, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with Store.open(filled) as store, pytest.raises(StoreError, match="locked by another process"):
        store.set_environment({})
    holder.close()


def test_a_path_with_special_characters(tmp_path, sweep):
    path = tmp_path / "50% of #1?" / "runs&mode=ro.sqlite"
    with Store.create(path) as store:
        store.set_manifest(sweep, DATA)
    with Store.open(path) as store:
        assert store.load().missing == 4


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {folder!r})
from fakes import FakeData, fake_result
from fastfnn.sweeps import runner
from fastfnn.config import SweepConfig, TrainingConfig
from fastfnn.sweeps.store import Store

def train(data, config, **options):
    return fake_result(config)

write = Store._write_history
def die_on_third(self, run_id, history):
    write(self, run_id, history)
    die_on_third.count += 1
    if die_on_third.count == 3:
        os.kill(os.getpid(), signal.SIGKILL)  # the run's rows are written, its transaction is not ended
die_on_third.count = 0
Store._write_history = die_on_third
runner.train, runner.warm_up = train, lambda data, config: 0.0
sweep = SweepConfig(training=TrainingConfig(epochs=3), batch_size=[16, 64], seeds=2)
runner.run_sweep(FakeData(), sweep, {path!r}, jobs=1)
"""


def test_a_killed_process_leaves_a_store_that_opens_and_resumes(path, sweep, data, trainer):
    from fastfnn.sweeps import run_sweep

    code = KILLED.format(folder=str(Path(__file__).parent), path=str(path))
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    with Store.open(path) as store:
        before = store.load()
    assert (len(before.runs), before.missing) == (2, 2)
    results = run_sweep(data, sweep, path, jobs=1)
    assert (len(trainer.trained), results.missing) == (2, 0)


def test_a_transaction_that_an_interrupt_left_open_does_not_block_the_next(path, sweep, plan, make_result):
    with Store.create(path) as store:
        store._connection.execute("BEGIN IMMEDIATE")
        store._connection.execute("INSERT INTO environment (description) VALUES ('half')")
        store.set_manifest(sweep, DATA)
        store.save(plan[0], make_result(plan[0].config), **TIMES)
        assert store.load().missing == 3
        assert store._one("SELECT 1 FROM environment") is None
