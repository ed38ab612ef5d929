"""What a running sweep shows."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fastfnn.cli.progress import SweepState, finished_line, frame, opening, sweep_view, table_headers, table_rows
from fastfnn.config import SweepConfig
from fastfnn.progress import Progress
from fastfnn.results import NOT_EVALUATED, Evaluation
from fastfnn.sweeps.events import RunFinished, RunProgress, RunStarted, SweepStarted
from fastfnn.sweeps.plan import PlannedRun, plan_runs
from fastfnn.sweeps.store import RunRecord

SWEEP = SweepConfig(grid={}, batch_size=[16, 64], l2=[0.0, 0.1], dtype="float64", seeds=2)
RUNS = plan_runs(SWEEP, "f")


def record(run: PlannedRun, status: str = "completed", accuracy: float = 0.9) -> RunRecord:
    result = Evaluation(0.5, 0.5, accuracy)
    return RunRecord(
        run_id=run.run_id,
        settings=run.settings,
        seed=run.config.seed,
        config=run.config,
        status=status,
        error="ValueError: bad" if status == "failed" else None,
        steps=100,
        epochs=10.0,
        best_step=None,
        train=result,
        validation=result,
        test=result if status == "completed" else NOT_EVALUATED,
        train_seconds=2.0,
        evaluation_seconds=0.0,
        compile_seconds=0.0,
        load_seconds=0.0,
        shared_machine=False,
        started_at="",
        finished_at="",
    )


@pytest.fixture
def state() -> SweepState:
    """A sweep of 8 runs, of which the first was found; the second is done, the third half way, the fourth started."""
    clock = iter(range(1000))
    state = SweepState(SWEEP, lambda: float(next(clock)))
    state.observe(SweepStarted(8, 1, tuple(RUNS[1:]), 2))
    state.observe(RunStarted(RUNS[1]))
    state.observe(RunFinished(RUNS[1], record(RUNS[1])))
    state.observe(RunStarted(RUNS[2]))
    state.observe(RunProgress(RUNS[2], Progress(50, 100, 5.0, 1.0)))
    state.observe(RunStarted(RUNS[3]))
    return state


def test_rows(state: SweepState) -> None:
    assert table_headers(state)[:3] == ("batch size", "L2", "seeds")
    assert table_rows(state) == [
        ("16", "0", "2/2", "", "90.00 %", "90.00 %", "0.200 s", ""),
        ("16", "0.1", "0/2", "50 % 0 %", "-", "-", "-", ""),
        ("64", "0", "0/2", "", "-", "-", "-", ""),
        ("64", "0.1", "0/2", "", "-", "-", "-", ""),
    ]
    state.observe(RunFinished(RUNS[2], record(RUNS[2], "diverged")))
    assert table_rows(state)[1] == ("16", "0.1", "1/2", "0 %", "-", "-", "-", "diverged")


def test_opening(state: SweepState) -> None:
    store = Path("out/runs.sqlite")
    assert opening(state, store) == "1 of 8 runs found in out/runs.sqlite, 7 to do, 2 at a time"
    state.found = 0
    assert opening(state, store) == "8 runs to do, 2 at a time"
    state.found = 8
    assert opening(state, store) == "8 of 8 runs found in out/runs.sqlite, nothing to do"


def test_lines(state: SweepState) -> None:
    line = finished_line(state, record(RUNS[1]))
    assert line.startswith("[2/8] batch size 16, L2 0, seed 1: validation 90.00 %, test 90.00 %, 2.00 s; about ")
    assert ": failed: ValueError: bad; about" in finished_line(state, record(RUNS[1], "failed"))


def test_a_high_table_shows_the_rows_that_move(state: SweepState) -> None:
    console = Console(file=io.StringIO(), width=100)
    console.print(frame(state, 8))
    shown = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len([line for line in shown if line.startswith(("16", "64"))]) == 3
    assert shown[1].startswith("16          0.1")
    assert shown[-1].startswith("2 of 8 runs, about ")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()])
def test_views(stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    one = replace(RUNS[0])
    with sweep_view(SweepState(SWEEP), Path("store"), stream) as observe:
        observe(SweepStarted(1, 0, (one,), 1))
        observe(RunStarted(one))
        observe(RunProgress(one, Progress(50, 100, 5.0, 1.0)))
        observe(RunFinished(one, record(one)))
    assert "1 run to do" in stream.getvalue()
    assert "90.00 %" in stream.getvalue()


def test_quiet_shows_nothing() -> None:
    stream = io.StringIO()
    state = SweepState(SWEEP)
    with sweep_view(state, Path("store"), stream, quiet=True) as observe:
        observe(SweepStarted(1, 0, (RUNS[0],), 1))
    assert stream.getvalue() == ""
    assert state.total == 1
