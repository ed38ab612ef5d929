"""Learning curves of a study: accuracy and cost on both splits, under its conventions and properly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from fastfnn.report.curves import median_curve, thinned
from fastfnn.report.style import FAINT, legend_below, new_figure, style
from fastfnn.studies.figures.series import Way, accuracy_axis, log_axis, ways
from fastfnn.studies.outcomes import Outcome
from fastfnn.studies.results import StudyResults
from fastfnn.studies.study import Row
from fastfnn.studies.tables import row_label

SPLITS = {"train": "--", "validation": "-"}
MEASURES = {"accuracy": "accuracy (%)", "cost": "cost"}
WIDTHS = {"train": 1.1, "validation": 1.7}


def curves_figure(results: StudyResults, rows: Sequence[Row]) -> Figure:
    """A column for each row of the study: accuracy above, cost below, against epochs."""
    with style():
        figure = new_figure(max(6.4, 3.5 * len(rows)), 6.4)
        grid: Any = figure.subplots(2, len(rows), sharex="col", squeeze=False)
        for panel in grid[0, 1:]:  # costs may be of different sizes, since penalties are in them
            panel.sharey(grid[0, 0])
            panel.tick_params(labelleft=False)
        for column, row in zip(grid.T, rows, strict=True):
            for panel, measure in zip(column, MEASURES, strict=True):
                for way in ways(results):
                    _draw(panel, way.of(row), measure, way)
            column[0].set_title(row_label(row, rows).replace(", ", "\n"))
            column[1].set_xlabel("epochs")
            column[1].xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        for panels, title in zip(grid, MEASURES.values(), strict=True):
            panels[0].set_ylabel(title)
        accuracy_axis(grid[0, 0])
        for panel in grid[1]:
            log_axis(panel)
        legend_below(figure, _handles(results))
    return figure


def _draw(panel: Axes, outcomes: Sequence[Outcome], measure: str, way: Way) -> None:
    """Thin lines are runs, thick ones medians; the training split is dashed."""
    curves = [outcome.curves for outcome in outcomes if outcome.measured and len(outcome.curves.get("step", ()))]
    for split, line_style in SPLITS.items():
        name = f"{split}_{measure}"
        if split == "validation":
            for curve in curves:
                panel.plot(*thinned(curve["epoch"], curve[name]), line_style, color=way.colour, lw=0.7, alpha=0.35)
        if curves:
            panel.plot(*median_curve(curves, "epoch", name), line_style, color=way.colour, lw=WIDTHS[split])


def _handles(results: StudyResults) -> list[Line2D]:
    colours = [Line2D([], [], color=way.colour, label=way.label) for way in ways(results)]
    splits = [
        Line2D([], [], color=FAINT, linestyle="-", label="validation, median over seeds"),
        Line2D([], [], color=FAINT, linestyle="--", label="training, median over seeds"),
        Line2D([], [], color=FAINT, linewidth=0.7, alpha=0.6, label="validation, one seed"),
    ]
    return [*colours, *splits]
