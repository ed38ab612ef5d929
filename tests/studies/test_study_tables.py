"""Verdicts, tables and sentences."""

from __future__ import annotations

import dataclasses
import math

import pytest
from tiny_study import OTHERS, SIZES, synthetic_outcome

from fastfnn.studies.findings import Tally, run_rows, sentences
from fastfnn.studies.networks import WeightSummary
from fastfnn.studies.results import StudyResults
from fastfnn.studies.study import Published
from fastfnn.studies.tables import (
    Verdict,
    batchnorm_table,
    comparison_table,
    full_label,
    learning_table,
    row_label,
    shapes_table,
    weights_table,
)


def with_published(accuracy: float | None, seconds: float | None = None) -> object:
    return dataclasses.replace(SIZES[0], published=Published(accuracy, seconds))


@pytest.mark.parametrize(
    ("published", "scores", "met"),
    [
        (0.9, [0.8, 0.9, 0.95], True),
        (0.9, [0.8, 0.89994, 0.95], False),
        (0.9, [0.8, 0.89996, 0.95], True),  # as printed
        (0.9, [0.8, 0.8, 0.95], False),
        (None, [0.8], None),
    ],
)
def test_the_median_meets_an_accuracy(published: float | None, scores: list[float], met: bool | None) -> None:
    outcomes = [synthetic_outcome(seed, score) for seed, score in enumerate(scores)]
    assert Verdict.of(with_published(published), outcomes).accuracy_met is met


def test_diverged_runs_count_against_an_accuracy() -> None:
    outcomes = [synthetic_outcome(0, 0.95), *(synthetic_outcome(s, 0.95, status="diverged") for s in (1, 2))]
    assert Verdict.of(with_published(0.9), outcomes).accuracy_met is False


def test_times_count_training_with_its_checks() -> None:
    verdict = Verdict.of(with_published(None, 30.0), [synthetic_outcome(seed) for seed in range(3)])
    assert verdict.times_faster == pytest.approx(40)
    assert verdict.fast_enough
    assert Verdict.of(with_published(None, 20.0), [synthetic_outcome()]).fast_enough is False
    assert Verdict.of(with_published(0.9), [synthetic_outcome()]).fast_enough is None


def test_labels_name_what_differs() -> None:
    assert row_label(OTHERS[1], OTHERS) == "batch norm, no L2"
    assert row_label(SIZES[0], SIZES) == "batch size 8"
    assert row_label(SIZES[0], [SIZES[0]]) == "batch size 8"
    assert full_label(OTHERS[3]) == "batch size 16, batch norm, L2 0.1"


def test_comparison_says_published_and_both_ways(results: StudyResults) -> None:
    lines = comparison_table(results, results.study.rows).splitlines()
    assert len(lines) == 2 + len(results.study.rows)
    easy, hard = lines[2], lines[5]
    assert "| 5.00 | 1e+06 | 50.00 (10.00 to 90.00) |" in easy
    assert "accuracy met" in easy
    assert "**not met**, 0 times faster" in hard


def test_tally_and_sentences(results: StudyResults) -> None:
    tally = Tally.of(results)
    assert (tally.accuracies, tally.met, tally.times, tally.beaten) == (2, 1, 2, 1)
    assert tally.least_times_faster < 1
    said = sentences(results)
    assert said[0] == "1 of 2 published accuracies are met or beaten by the median of our seeds."
    assert said[1].startswith("1 of 2 published times are beaten by 30 times or more; the least is")
    assert said[2] == (
        f"Batch norm does not lose in {tally.gains} of 1 comparisons with none, by the median of the differences seed "
        "by seed."
    )
    assert said[3].startswith("Not met: batch size 16, batch norm, no L2")
    assert "anywhere from 10.00 % to 90.00 %" in said[4]


def test_seeds_that_learn_nothing_are_counted(results: StudyResults) -> None:
    line = learning_table(results, SIZES).splitlines()[2]
    assert line.startswith("| batch size 8, no batch norm, no L2 | 1 of 2 | 0, 1 |")


def test_batch_norm_is_compared_seed_by_seed(results: StudyResults) -> None:
    having, without = ([run.test.accuracy for run in results.proper(row)] for row in (OTHERS[1], OTHERS[0]))
    differences = [a - b for a, b in zip(having, without, strict=True)]
    line = batchnorm_table(results, [(OTHERS[1], OTHERS[0])]).splitlines()[2]
    assert line.startswith(f"| batch size 16, batch norm | {50 * sum(differences):+.2f} | ")
    assert f"| {sum(difference > 0 for difference in differences)} of 2 |" in line


def test_shapes_by_hand() -> None:
    lines = shapes_table([784, 20, 7, 5, 10], 128).splitlines()
    assert lines[3] == "| hidden 1, ReLU | (784, 20) | (20,) | (128, 20) | 15,700 |"
    assert lines[-2] == "| output, softmax | (5, 10) | (10,) | (128, 10) | 60 |"
    assert lines[-1] == "| all |  |  |  | 15,947 |"


def test_weights_are_medians_over_seeds() -> None:
    def summaries(largest: float) -> list[WeightSummary]:
        return [WeightSummary(0.1, 0.2, largest, 0.5, 4.0)]

    table = weights_table([summaries(value) for value in (1, 2, 9)], [summaries(0.5)])
    assert table.splitlines()[2] == "| 1 | no L2 | 0.1 | 0.2 | 2 | 50.00 | 4 |"
    assert table.splitlines()[3] == "|  | L2 | 0.1 | 0.2 | 0.5 | 50.00 | 4 |"


def test_csv_has_published_lines_and_every_run(results: StudyResults) -> None:
    rows = run_rows(results)
    columns = [list(row) for row in rows]
    assert all(each == columns[0] for each in columns)
    per_row = {"published": 3, "as published": 2 * 8, "properly": 2 * 8}  # 8 lines of rows in 3 experiments
    assert {way: sum(row["way"] == way for row in rows) for way in per_row} == per_row
    assert all(math.isfinite(row["test_accuracy"]) for row in rows if row["way"] != "published")
