"""Accuracy and time of the rows of an experiment: published, under the study's conventions, properly."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fastfnn.report.style import label_ticks, legend_below, new_figure, sequential, style
from fastfnn.studies.figures.series import (
    Measure,
    Way,
    accuracy_axis,
    draw_published,
    draw_runs,
    legend_handles,
    log_axis,
    ways,
)
from fastfnn.studies.results import StudyResults
from fastfnn.studies.study import Experiment, Row
from fastfnn.studies.tables import row_label

AXIS_TITLES = {"batch_size": "batch size", "dropout": "probability of dropping a unit"}
ASIDE = {"batch_size": 0.04, "dropout": 0.006, None: 0.13}
"""How far our two ways stand apart, in the unit of the axis."""


CATEGORY_WIDTH, CATEGORY_FONT_SIZE = 13, 7.5
"""Letters of a line under a category, and their size."""


def comparison_figure(results: StudyResults, experiment: Experiment) -> Figure:
    """Test accuracy, and beside it the time of a run where there is a published one."""
    with style():
        timed = experiment.axis != "dropout"
        figure = new_figure(11.0 if timed else 7.6, 4.4)
        panels = list(figure.subplots(1, 2 if timed else 1, squeeze=False)[0])
        _draw(panels[0], results, experiment, lambda outcome: outcome.test.accuracy)
        draw_published(panels[0], _places(experiment), [row.published.test_accuracy for row in experiment.rows])
        panels[0].set(title="test accuracy", ylabel="test accuracy (%)")
        accuracy_axis(panels[0])
        if timed:
            _draw(panels[1], results, experiment, lambda outcome: outcome.seconds)
            draw_published(panels[1], _places(experiment), [row.published.seconds for row in experiment.rows])
            panels[1].set(title="time of a run", ylabel="training with its checks (s)")
            log_axis(panels[1])
        for panel in panels:
            _label(panel, experiment)
        legend_below(figure, legend_handles(panels))
    return figure


def _places(experiment: Experiment) -> list[float]:
    if experiment.axis is None:
        return [float(place) for place in range(len(experiment.rows))]
    return [float(getattr(row, experiment.axis)) for row in experiment.rows]


def _draw(panel: Axes, results: StudyResults, experiment: Experiment, measure: Measure) -> None:
    for way in ways(results):
        values = [[measure(outcome) for outcome in way.of(row) if outcome.measured] for row in experiment.rows]
        xs = [_aside(x, way.shift, experiment) for x in _places(experiment)]
        draw_runs(panel, xs, values, way, connected=experiment.axis is not None)


def _aside(x: float, shift: float, experiment: Experiment) -> float:
    distance = shift * ASIDE.get(experiment.axis, 0)
    return float(x * 2**distance) if experiment.axis == "batch_size" else x + distance


def _label(panel: Axes, experiment: Experiment) -> None:
    places = _places(experiment)
    if experiment.axis is None:
        panel.set_xticks(places, _category_labels(experiment.rows), fontsize=CATEGORY_FONT_SIZE)
        panel.set_xlim(-0.5, len(places) - 0.5)
        return
    texts = [f"{place:g}" for place in places]
    if experiment.axis == "batch_size":
        panel.set_xscale("log", base=2)
        label_ticks(panel, places, texts)
    else:
        panel.set_xticks(places, texts)
    panel.set_xlabel(AXIS_TITLES[experiment.axis])


def _category_labels(rows: Sequence[Row]) -> list[str]:
    lines = [row_label(row, rows).split(", ") for row in rows]
    return ["\n".join(textwrap.fill(part, CATEGORY_WIDTH) for part in parts) for parts in lines]


def grid_figure(results: StudyResults, experiments: Sequence[Experiment]) -> Figure:
    """Test accuracy against L2, a line for each batch size; a row of panels for each experiment."""
    with style():
        figure = new_figure(9.6, 3.4 * len(experiments) + 0.6)
        grid: Any = figure.subplots(len(experiments), 2, sharex=True, sharey=True, squeeze=False)
        for panels, experiment in zip(grid, experiments, strict=True):
            for panel, way in zip(panels, ways(results), strict=True):
                _draw_lines(panel, way.of, experiment)
                panel.set_title(f"{experiment.title.lower()}, {way.label}")
        for panels in grid:
            panels[0].set_ylabel("test accuracy (%)")
        for panel in grid[-1]:
            panel.set_xlabel("L2 as the study counts it")
        accuracy_axis(grid[0, 0])
        legend_below(figure, legend_handles([grid[0, 0]]))
    return figure


def _draw_lines(panel: Axes, of: Any, experiment: Experiment) -> None:
    sizes = list(dict.fromkeys(row.batch_size for row in experiment.rows))
    penalties = list(dict.fromkeys(row.l2 for row in experiment.rows))
    for index, (size, colour) in enumerate(zip(sizes, sequential(len(sizes)), strict=True)):
        rows = [row for row in experiment.rows if row.batch_size == size]
        xs = [penalties.index(row.l2) + 0.06 * (index - 1) for row in rows]
        values = [[outcome.test.accuracy for outcome in of(row) if outcome.measured] for row in rows]
        draw_runs(panel, xs, values, Way(of, colour, f"batch size {size}", 0), connected=True)
    published = [row for row in experiment.rows if row.published.test_accuracy is not None]
    draw_published(
        panel, [penalties.index(row.l2) for row in published], [r.published.test_accuracy for r in published]
    )
    label_ticks(panel, range(len(penalties)), [f"{l2:g}" for l2 in penalties])
