"""The definitions against what the studies published."""

from __future__ import annotations

import pytest

from fastfnn.config import TrainingConfig
from fastfnn.studies import STUDIES, Study
from fastfnn.studies.study import Row

ALL = pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)


def config_of(study: Study, row: Row) -> TrainingConfig:
    return study.sweeps[row.sweep].training.replace(**row.point)


@ALL
def test_every_row_is_a_point_of_a_sweep(study: Study) -> None:
    for row in study.rows:
        grid = study.sweeps[row.sweep].grid
        assert set(row.point) == set(grid)
        assert all(value in grid[axis] for axis, value in row.point.items()), row


@ALL
def test_proper_runs_keep_network_batch_size_and_learning_rate(study: Study) -> None:
    for row in study.rows:
        config = config_of(study, row)
        assert (config.hidden, config.learning_rate, config.batch_size) == ((20, 7, 5), 0.009, row.batch_size)
        assert (config.batchnorm != "off", max(config.dropout_by_layer)) == (row.batchnorm, row.dropout)
        if row.done_as_published:
            assert (config.batchnorm, config.dropout) == ("before" if row.batchnorm else "off", row.dropout)
        assert (config.l2 > 0) == (row.l2 > 0)
        assert (config.optimizer, config.lr_schedule, config.threads) == ("sgd", "constant", 1)


@ALL
def test_proper_runs_do_what_the_studies_did_not(study: Study) -> None:
    for row in study.rows:
        config = config_of(study, row)
        assert config.l2_convention == "fixed"
        assert config.early_stopping is not None
        assert config.early_stopping.rule == "improvement"


@ALL
def test_a_penalty_is_the_same_for_every_batch_size(study: Study) -> None:
    penalties = {(row.l2, config_of(study, row).l2) for row in study.rows}
    assert len(penalties) == len({published for published, _ in penalties})


@ALL
def test_presets_have_five_seeds(study: Study) -> None:
    assert {sweep.seeds for sweep in study.sweeps.values()} == {(0, 1, 2, 3, 4)}


@ALL
def test_rows_that_are_drawn_or_compared_are_rows_of_the_study(study: Study) -> None:
    known = {id(row) for row in study.rows}
    mentioned = [*study.curves, *(row for pair in study.comparisons for row in pair), *(study.weights or ())]
    assert {id(row) for row in mentioned} <= known
    assert all(having.batchnorm and not without.batchnorm for having, without in study.comparisons)


def published(name: str) -> dict[tuple[int, bool, float, float], tuple[float | None, float | None]]:
    return {
        (row.batch_size, row.batchnorm, row.l2, row.dropout): (row.published.test_accuracy, row.published.seconds)
        for row in STUDIES[name].rows
        if row.published.test_accuracy is not None or row.published.seconds is not None
    }


def test_published_numbers_of_study_a() -> None:
    assert published("study-a") == {
        (16, False, 0, 0): (0.9212, 37.5),
        (32, False, 0, 0): (0.8796, 21.1),
        (64, False, 0, 0): (None, 23.8),
        (128, False, 0, 0): (0.9063, 42.6),
        (256, False, 0, 0): (None, 40.1),
        (512, False, 0, 0): (None, 32.3),
        (128, True, 0, 0): (0.913, 65.8),
        (16, False, 0.05, 0): (0.9388, 112),
        (64, True, 0.05, 0): (0.915, 112),
    }


def test_published_numbers_of_the_other_studies() -> None:
    assert published("study-b") == {}
    assert published("study-c") == {
        (128, False, 0, 0): (0.934, 235),
        (128, True, 0, 0): (0.807, 158),
        (128, False, 0.01, 0): (0.932, 257),
    }
    assert [accuracy for accuracy, _ in published("study-d").values()] == [
        *(0.1028, 0.8564, 0.8718, 0.8877, 0.9099, 0.8892, 0.6945, 0.2733),
        *(0.8927, 0.8374, 0.6710),
    ]
    assert published("study-e") == {(32, False, 0.01, 0): (0.9293, None)}
