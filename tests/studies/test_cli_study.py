"""`fastfnn study` and the presets that are studies, in this process."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from runs import X, Y
from tiny_study import FakeCourse, make_study

from fastfnn.cli import main
from fastfnn.config import SweepConfig, TrainingConfig
from fastfnn.data import Dataset
from fastfnn.studies.definitions import STUDIES

FAST = SweepConfig(
    training=TrainingConfig(evaluate_every="end", learning_rate=0.1, batch_size=16),
    hidden=[(8,), (4, 4)],
    epochs=[2, 3],
    seeds=2,
)


class Printed(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def course(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeCourse:
    """Studies and presets of the test's own; no figure becomes a file."""
    course = FakeCourse()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fastfnn.kernels.machine_code.steps_are_not_compiled", lambda: False)
    monkeypatch.setitem(STUDIES, "study-c", make_study("study-c"))
    monkeypatch.setattr("fastfnn.studies.course.train", course)
    monkeypatch.setattr("fastfnn.studies.write.render", lambda figure, kind: b"drawn")
    for module in ("fastest", "plan"):
        monkeypatch.setattr(f"fastfnn.studies.{module}.load_preset", lambda name: FAST)
    data = Dataset.from_arrays(X, Y, test=(X[:30], Y[:30]), name="tiny")
    monkeypatch.setattr("fastfnn.data.load_dataset", lambda *_, **__: data)
    return course


@pytest.fixture
def fastfnn(capsys: pytest.CaptureFixture[str]) -> Callable[..., Printed]:
    def run(*arguments: object) -> Printed:
        capsys.readouterr()
        return Printed(main([str(argument) for argument in arguments]), *capsys.readouterr())

    return run


def test_a_preset_that_is_a_study_runs_all_of_it(fastfnn: Any, tmp_path: Path) -> None:
    printed = fastfnn("sweep", "--preset", "study-c", "--quick", "--out", "out")
    assert (printed.status, printed.err) == (0, "")
    assert printed.out.startswith("study-c, sizes\n2 runs to do\n[1/2] batch size")
    assert "study-c, under its conventions\n[1/5] batch size 8, seed 0: stopped, test 90.00 %, 0.750 s\n" in printed.out
    assert "\nA tiny study\n  - 1 of 2 published accuracies" in printed.out
    assert printed.out.endswith("Written in out: study-c.md, study-c/, README.md\n")
    page = (tmp_path / "out/study-c.md").read_text()
    assert "fastfnn sweep --preset study-c --quick\n" in page


def test_the_same_again_does_nothing(fastfnn: Any, course: FakeCourse) -> None:
    fastfnn("sweep", "--preset", "study-c", "--quick", "-q")
    done = len(course.done)
    printed = fastfnn("study", "study-c", "--seeds", "1")
    assert "2 of 2 runs found in fastfnn-studies/study-c/runs/sizes.sqlite, nothing to do" in printed.out
    assert len(course.done) == done


def test_json(fastfnn: Any) -> None:
    printed = fastfnn("study", "study-c", "--quick", "--json", "--quiet")
    document = json.loads(printed.out)["studies"][0]
    assert printed.err == ""
    assert document["tally"]["met"] == 1
    assert document["seeds"] == [0]


def test_a_plan(fastfnn: Any, tmp_path: Path) -> None:
    printed = fastfnn("study", "study-c", "fast-98", "--dry-run")
    assert printed.out == "study-c  22 runs, of which 22 to do\nfast-98  8 runs, of which 8 to do\n"
    assert not list(tmp_path.iterdir())
    printed = fastfnn("sweep", "--preset", "study-c", "--quick", "--dry-run", "--json")
    assert json.loads(printed.out) == {"studies": {"study-c": {"runs": 11, "to_do": 11}}}


def test_the_fastest_network(fastfnn: Any, tmp_path: Path) -> None:
    printed = fastfnn("study", "fast-98", "--out", "out")
    assert printed.status == 0
    assert "Best you can do" in printed.out
    page = (tmp_path / "out/fast-98.md").read_text()
    assert "compares 4 settings (hidden layers 8, 4-4; epochs 2, 3), each with 2 seeds" in page
    assert "## tiny" in page
    assert len((tmp_path / "out/fast-98/results-tiny.csv").read_text().splitlines()) == 9
    assert "fast-98.md" in (tmp_path / "out/README.md").read_text()


def test_failed_runs_exit_1(fastfnn: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise MemoryError("no room")

    monkeypatch.setattr("fastfnn.sweeps.runner.train", fail)
    printed = fastfnn("study", "fast-98", "--quick", "-q")
    assert printed.status == 1
    assert printed.err == "fastfnn: 4 runs failed; give the command again to repeat them\n"


def test_an_interrupt_keeps_what_is_done(fastfnn: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(data: Any, run: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("fastfnn.studies.course.train", interrupt)
    printed = fastfnn("study", "study-c", "--quick", "-q")
    assert printed.status == 130
    kept = "finished runs are kept in fastfnn-studies/study-c/runs"
    assert printed.err == f"fastfnn: interrupted: {kept}; give the command again to go on\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("study", "studi-c"), "study: expected one of study-a, .*found 'studi-c'; did you mean 'study-c'"),
        (("study", "--quick", "--seeds", "2"), "--quick and --seeds both say which seeds"),
        (("sweep", "--quick", "--seeds", "2"), "--quick and --seeds both say which seeds"),
        (("sweep", "--preset", "study-c", "--epochs", "3"), "its settings are those of the study; found --epochs"),
        (("sweep", "--preset", "study-c", "--config", "a.toml"), "its settings are those of the study; found --config"),
        (("sweep", "--preset", "study-x"), "preset: expected one of default, fast-98, study-a"),
    ],
)
def test_mistakes(fastfnn: Any, arguments: tuple[str, ...], message: str) -> None:
    printed = fastfnn(*arguments)
    assert printed.status == 2
    assert printed.err.startswith("fastfnn: error: ")
    assert re.search(message, printed.err), printed.err
