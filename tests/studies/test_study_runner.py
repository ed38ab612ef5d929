"""Running a study: everything once, and only what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_study import OTHERS, SIZES, FakeCourse, make_study, synthetic_outcome

from fastfnn.data import Dataset
from fastfnn.network import Network
from fastfnn.parameters import initialise
from fastfnn.studies.definitions import STUDIES
from fastfnn.studies.networks import WeightSummary, dead_at_the_start, dead_units, look_at
from fastfnn.studies.outcomes import Outcome
from fastfnn.studies.plan import missing_runs
from fastfnn.studies.results import StudyResults
from fastfnn.studies.runner import run_study
from fastfnn.studies.study import Conventions, Study
from fastfnn.studies.textbook_runs import TextbookRun, TextbookRuns
from fastfnn.sweeps.events import Event, SweepStarted


def test_every_row_has_every_seed_both_ways(results: StudyResults) -> None:
    for row in results.study.rows:
        assert [outcome.seed for outcome in results.proper(row)] == [0, 1]
        assert [outcome.seed for outcome in results.textbook(row)] == [0, 1]


def test_outcomes_are_those_of_the_stored_runs(results: StudyResults) -> None:
    for record, outcome in zip(results.records(SIZES[0]), results.proper(SIZES[0]), strict=True):
        assert (outcome.steps, outcome.test, outcome.train_seconds) == (
            record.steps,
            record.test,
            record.train_seconds,
        )
        assert outcome.seconds == record.train_seconds + record.evaluation_seconds
        assert outcome.curves["step"][-1] == record.steps
        assert len(outcome.dead_units) == 2


def test_a_second_time_nothing_is_done(tiny_data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, course, missing = make_study(), FakeCourse(), []
    monkeypatch.setitem(STUDIES, study.name, study)

    @contextmanager
    def view(name: str, *_: Any) -> Iterator[Any]:
        def observe(event: Event) -> None:
            if isinstance(event, SweepStarted):
                missing.append(len(event.missing))

        yield observe

    assert missing_runs(study.name, tiny_data, tmp_path, [0]) == (11, 11)  # one row is in two experiments
    run_study(study, tiny_data, tmp_path, seeds=[0], view=view, train=course)
    assert missing_runs(study.name, tiny_data, tmp_path, [0]) == (11, 0)
    assert missing_runs(study.name, tiny_data, tmp_path) == (22, 11)
    run_study(study, tiny_data, tmp_path, seeds=[0], view=view, train=course)
    assert missing == [2, 4, 0, 0]
    assert len(course.done) == 5


def test_an_interrupted_study_goes_on(study: Study, tiny_data: Dataset, tmp_path: Path) -> None:
    class Interrupted(FakeCourse):
        def __call__(self, data: Dataset, run: TextbookRun) -> Outcome:
            if len(self.done) == 2:
                raise KeyboardInterrupt
            return super().__call__(data, run)

    with pytest.raises(KeyboardInterrupt):
        run_study(study, tiny_data, tmp_path, seeds=[0], train=Interrupted())
    course = FakeCourse()
    run_study(study, tiny_data, tmp_path, seeds=[0], train=course)
    assert len(course.done) == 3


def test_a_lost_network_is_trained_again_to_the_same_bits(results: StudyResults) -> None:
    record = results.records(OTHERS[1])[0]
    path = results.folder.networks.path(record.run_id)
    kept = results.network(record).parameters.tensors()
    path.unlink()
    again = results.network(record).parameters.tensors()
    assert {name: array.tobytes() for name, array in again.items()} == {n: a.tobytes() for n, a in kept.items()}


@pytest.mark.parametrize("row", OTHERS[:2], ids=["plain", "batch-norm"])
def test_dead_units_are_those_that_no_example_opens(row: Any, results: StudyResults) -> None:
    network = results.network(results.records(row)[0])
    x = look_at(results.data)
    network.parameters.biases[0][:] = 100
    network.parameters.biases[1][:] = 1e6
    assert dead_units(network, x) == (0, 0)
    network.parameters.biases[0][:3] = -1e6
    network.parameters.biases[1][0] = -1e6
    assert dead_units(network, x) == (3, 1)
    network.parameters.biases[1][:] = -1e6
    assert dead_units(network, x) == (3, 5)


def test_networks_compute_dead_units_as_they_predict(results: StudyResults) -> None:
    """With all units of a layer dead, every example gets the same answer."""
    network: Network = results.network(results.records(OTHERS[1])[0])
    network.parameters.biases[1][:] = -1e6
    assert dead_units(network, look_at(results.data))[1] == 5
    assert len(np.unique(network.predict(results.data.test.features))) == 1


def test_dead_units_at_the_start(tiny_data: Dataset, results: StudyResults) -> None:
    config = results.study.sweeps["sizes"].training
    counts = dead_at_the_start(tiny_data, config, 20)
    assert counts.sum() == 20
    assert len(counts) == 6
    x, expected = look_at(tiny_data), []
    for seed in range(20):
        p = initialise(config, tiny_data.n_features, tiny_data.n_classes, seed)
        a = np.maximum(np.maximum(x @ p.weights[0], 0) @ p.weights[1], 0)
        expected.append(int((a == 0).all(axis=0).sum()))
    assert counts.tolist() == np.bincount(expected, minlength=6).tolist()


def test_weight_summary_by_hand() -> None:
    summary = WeightSummary.of(np.array([[3.0, -1.0], [0.005, 0.0]]))
    assert summary.largest == 3
    assert summary.small == 0.5
    assert summary.mean_size == pytest.approx(4.005 / 4)
    assert summary.squares == pytest.approx(10.000025)
    assert summary.deviation == pytest.approx(np.std([3.0, -1.0, 0.005, 0.0]))


CONVENTIONS = Conventions(epochs=2, tolerance=1e-4)


def test_equal_rows_are_done_once(tmp_path: Path) -> None:
    runs = TextbookRuns(tmp_path, "f")
    twin = TextbookRun(make_study().rows[1], CONVENTIONS, 0)
    same = TextbookRun(OTHERS[0], CONVENTIONS, 0)  # batch size 16 without anything, too
    assert len(runs.missing([twin, same, TextbookRun(OTHERS[1], CONVENTIONS, 0)])) == 2


@pytest.mark.parametrize(
    ("conventions", "seed", "fingerprint"),
    [(Conventions(epochs=3, tolerance=1e-4), 0, "f"), (CONVENTIONS, 1, "f"), (CONVENTIONS, 0, "g")],
)
def test_ids_of_textbook_runs_differ(conventions: Conventions, seed: int, fingerprint: str) -> None:
    one = TextbookRun(OTHERS[0], CONVENTIONS, 0).run_id("f")
    assert TextbookRun(OTHERS[0], conventions, seed).run_id(fingerprint) != one


def test_textbook_runs_come_back(tiny_data: Dataset, tmp_path: Path) -> None:
    nan = float("nan")
    diverged = synthetic_outcome(curves={"step": np.array([100.0]), "train_cost": np.array([nan])}, status="diverged")
    runs, run = TextbookRuns(tmp_path, "f"), TextbookRun(OTHERS[0], CONVENTIONS, 0)
    assert runs.outcome(run) is None
    assert runs.do(run, tiny_data, lambda data, run: diverged) == diverged
    found = runs.outcome(run)
    assert found == diverged
    np.testing.assert_array_equal(found.curves["train_cost"], [nan])
