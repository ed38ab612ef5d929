"""`fastfnn sweep` and `fastfnn report`, end to end on a small grid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fastfnn.sweeps import Store

SWEEP = ("sweep", "--data", "digits", "--hidden", "8", "--epochs", "2", "--learning-rate", "0.1", "--out", "out")
GRID = ("--batch-size", "16,64", "--seeds", "2", "--jobs", "1")


@pytest.fixture(autouse=True)
def _fast(reference: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are tested where they are made."""
    monkeypatch.setattr("fastfnn.report.write.render", lambda figure, kind: b"<svg/>")


def test_a_sweep_and_the_same_again(fastfnn, tmp_path: Path) -> None:
    first = fastfnn(*SWEEP, *GRID)
    assert (first.status, first.err) == (0, "")
    lines = first.out.splitlines()
    assert lines[0] == "4 runs to do"
    assert [line[:5] for line in lines[1:5]] == ["[1/4]", "[2/4]", "[3/4]", "[4/4]"]
    assert "batch size 16, seed 0: validation " in first.out
    assert "\nRecommended: batch size " in first.out
    assert "\nBefore you trust it:\n" in first.out
    assert lines[-1] == "Written in out: runs.sqlite, results.csv, figures/, report.html"
    assert len((tmp_path / "out/results.csv").read_text().splitlines()) == 5

    again = fastfnn(*SWEEP, *GRID)
    assert again.out.splitlines()[0] == "4 of 4 runs found in out/runs.sqlite, nothing to do"
    assert again.out.split("\n\n", 1)[1] == first.out.split("\n\n", 1)[1]

    more = fastfnn(*SWEEP, "--batch-size", "16,64", "--seeds", "3", "--quiet", "--json")
    document = json.loads(more.out)
    assert more.err == ""
    assert document["runs"] == {"planned": 6, "missing": 0, "completed": 6}
    assert document["recommendation"]["settings"]["batch_size"] in (16, 64)
    assert [row["settings"]["batch_size"] for row in document["settings"]] == [16, 64]


def test_json_keeps_progress_off_stdout(fastfnn) -> None:
    outcome = fastfnn(*SWEEP, "--batch-size", "64", "--seeds", "1", "--json")
    assert json.loads(outcome.out)["runs"]["completed"] == 1
    assert "[1/1] batch size 64, seed 0" in outcome.err


def test_a_report_is_made_again(fastfnn, tmp_path: Path) -> None:
    fastfnn(*SWEEP, *GRID)
    (tmp_path / "out/report.html").unlink()
    outcome = fastfnn("report", "out")
    assert outcome.status == 0
    assert outcome.out.endswith("Written in out: results.csv, figures/, report.html\n")
    assert (tmp_path / "out/report.html").exists()
    assert json.loads(fastfnn("report", "out/runs.sqlite", "--json").out)["axes"] == ["batch_size"]


def test_dry_run_does_nothing(fastfnn, tmp_path: Path) -> None:
    outcome = fastfnn(*SWEEP, *GRID, "--batchnorm", "after", "--dry-run")
    assert outcome.status == 0
    assert "runs           4, of which 4 to do" in outcome.out
    assert "fastfnn: warning: batchnorm" in outcome.err
    assert not (tmp_path / "out").exists()
    fastfnn(*SWEEP, "--batch-size", "16", "--seeds", "2", "-q")
    document = json.loads(fastfnn(*SWEEP, *GRID, "--dry-run", "--json").out)
    assert document["to_do"] == 2
    assert [(run["batch_size"], run["found"]) for run in document["runs"]] == [(16, True)] * 2 + [(64, False)] * 2


def test_failed_runs_exit_1(fastfnn, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastfnn.reference import train

    def fail(data: Any, config: Any, **options: Any) -> Any:
        if config.seed == 1:
            raise MemoryError("no room")
        return train(data, config, **options)

    monkeypatch.setattr("fastfnn.sweeps.runner.train", fail)
    outcome = fastfnn(*SWEEP, *GRID)
    assert outcome.status == 1
    assert "seed 1: failed: MemoryError: no room" in outcome.out
    assert outcome.err == "fastfnn: 2 of 4 runs failed, the first with MemoryError: no room\n"


def test_an_interrupt_keeps_what_is_done(fastfnn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastfnn.cli import progress

    line = progress.finished_line

    def interrupt(state: progress.SweepState, record: Any) -> str:
        if state.done == 2:
            raise KeyboardInterrupt
        return line(state, record)

    monkeypatch.setattr(progress, "finished_line", interrupt)
    outcome = fastfnn(*SWEEP, *GRID)
    assert outcome.status == 130
    assert outcome.err == (
        "fastfnn: interrupted: 2 of 4 runs are kept in out/runs.sqlite; give the command again to go on\n"
    )
    with Store.open(tmp_path / "out/runs.sqlite") as store:
        assert len(store.finished_ids()) >= 2


def test_other_data_in_the_same_folder_is_a_mistake(fastfnn) -> None:
    fastfnn(*SWEEP, "--batch-size", "64", "--seeds", "1", "-q")
    outcome = fastfnn(*SWEEP, "--batch-size", "64", "--seeds", "1", "-q", "--split-seed", "1")
    assert outcome.status == 2
    assert outcome.err.startswith("fastfnn: error: out/runs.sqlite: expected runs on the data set 'digits'")
