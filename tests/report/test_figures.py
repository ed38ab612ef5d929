"""The data that figures hold, read back from their axes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fastfnn.report import figures
from fastfnn.report.style import render
from fastfnn.sweeps.store import SweepResults


def points(panel: Axes) -> list[tuple[float, float]]:
    """The marks that stand for runs."""
    return [xy for line in panel.lines if line.get_gid() == figures.RUNS for xy in zip(*line.get_data(), strict=True)]


def labels(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_accuracy_shows_every_run_and_the_median(results: SweepResults) -> None:
    figure = figures.accuracy(results)
    panel = figure.axes[-1]
    expected = {(run.config.batch_size, run.test.accuracy) for run in results.runs}
    assert {(round(x), y) for x, y in points(panel)} == expected
    median = next(line for line in panel.lines if line.get_gid() is None)
    accuracies = [[run.test.accuracy for run in results.runs_at(settings)] for settings in results.settings()]
    np.testing.assert_allclose(median.get_ydata(), np.median(accuracies, axis=1))
    assert [tick.get_text() for tick in panel.get_xticklabels()] == ["16", "64", "256", "1024"]
    assert labels(figure) == ["one run", "median over seeds", "range over 3 seeds"]


def test_runs_without_an_evaluation_are_marked(two_axes: SweepResults) -> None:
    figure = figures.accuracy(two_axes)
    assert len(points(figure.axes[-1])) == len(two_axes.runs)
    assert {"diverged run", "failed run", "L2 0", "L2 0.0001"} <= set(labels(figure))


def test_an_outlier_gets_a_panel_of_its_own(results: SweepResults) -> None:
    runs = [replace(run, test=replace(run.test, accuracy=0.94 + i / 1000)) for i, run in enumerate(results.runs)]
    runs[0] = replace(runs[0], test=replace(runs[0].test, accuracy=0.1))
    zoomed, whole = figures.accuracy(replace(results, runs=tuple(runs))).axes
    assert zoomed.get_ylim()[0] > 0.9
    assert whole.get_ylim()[0] < 0.1


def test_without_a_test_split_the_validation_accuracy_is_shown(results: SweepResults) -> None:
    nan = replace(results.runs[0].test, accuracy=float("nan"))
    runs = tuple(replace(run, test=nan) for run in results.runs)
    panel = figures.accuracy(replace(results, runs=runs)).axes[-1]
    assert {y for _, y in points(panel)} == {run.validation.accuracy for run in runs}


def test_runtime_shows_every_measured_run(two_axes: SweepResults) -> None:
    measured = [run for run in two_axes.runs if run.measured]
    whole, epoch = figures.runtime(two_axes).axes
    assert sorted(y for _, y in points(whole)) == sorted(run.train_seconds for run in measured)
    assert sorted(y for _, y in points(epoch)) == sorted(run.train_seconds / run.epochs for run in measured)
    assert whole.get_yscale() == "log"


def test_target_marks_the_runs_that_never_got_there(results: SweepResults) -> None:
    for panel, column in zip(figures.target(results, 0.8).axes, ("step", "seconds"), strict=True):
        reached = []
        for run in results.runs:
            history = results.history(run.run_id)
            reached += history[column][history["validation_accuracy"] >= 0.8][:1].tolist()
        dots = next(line for line in panel.lines if line.get_gid() == figures.RUNS)
        assert 0 < len(reached) < len(results.runs)
        assert sorted(dots.get_ydata()) == pytest.approx(sorted(reached))
        assert len(points(panel)) == len(results.runs)


def test_a_failed_run_is_not_one_that_never_got_there(two_axes: SweepResults) -> None:
    panel = figures.target(two_axes).axes[0]
    assert len(points(panel)) == len([run for run in two_axes.runs if run.status != "failed"])


@pytest.mark.parametrize("draw", [figures.accuracy, figures.runtime, figures.target])
def test_nothing_measured_is_said(draw: Any, all_diverged: SweepResults) -> None:
    texts = [text.get_text() for panel in draw(all_diverged).axes for text in panel.texts]
    assert texts
    assert all(text.startswith("no run") for text in texts)


@pytest.mark.parametrize("draw", [figures.accuracy, figures.runtime, figures.target])
def test_categories_have_no_line_between_them(draw: Any, categories: SweepResults) -> None:
    panel = draw(categories).axes[0]
    assert [tick.get_text() for tick in panel.get_xticklabels()] == ["off", "before", "after"]
    assert panel.get_xscale() == "linear"
    assert {line.get_linestyle() for line in panel.lines} == {"None"}


@pytest.mark.parametrize("draw", [figures.accuracy, figures.runtime, figures.target])
def test_one_run_is_a_figure(draw: Any, single: SweepResults) -> None:
    assert len(points(draw(single).axes[0])) == 1
    assert render(draw(single), "png").startswith(b"\x89PNG")
    assert b"<svg" in render(draw(single), "svg")


def test_the_same_figure_has_the_same_bytes(results: SweepResults) -> None:
    first, second = (render(figures.accuracy(results), "svg") for _ in range(2))
    assert first == second
