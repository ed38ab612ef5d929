"""Learning curves: of a whole sweep against epochs, steps and seconds, and of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from fastfnn.report.formatting import axis_title, setting
from fastfnn.report.series import lines, main_axis
from fastfnn.report.style import (
    CATEGORICAL,
    FAINT,
    LINE_STYLES,
    legend_below,
    new_figure,
    per_cent_axis,
    plain_log_axis,
    say,
    style,
)
from fastfnn.results import History
from fastfnn.sweeps.store import SweepResults

Columns = Mapping[str, NDArray[Any]]

MAX_POINTS = 300
"""Of a longer curve, evenly spaced records are drawn: more than the eye can tell apart only makes files large."""

XS = {"epoch": "epochs", "step": "steps", "seconds": "training time (s)"}
MEASURES = ("accuracy", "cost")


@dataclass(frozen=True)
class Bundle:
    """The curves of one setting, a mapping of columns for each seed, and how they are drawn."""

    colour: str
    line_style: str
    curves: tuple[Columns, ...]


def sweep_curves(results: SweepResults) -> Figure:
    """Validation accuracy and cost of every run against epochs, steps and seconds, thick where it is the median."""
    with style():
        figure = new_figure(11.5, 6.6)
        grid = figure.subplots(2, 3, sharex="col", sharey="row")
        bundles = _bundles(results)
        split = "validation" if _has(bundles, "validation_accuracy") else "train"
        for row, measure in zip(grid, MEASURES, strict=True):
            for panel, x in zip(row, XS, strict=True):
                _draw_bundles(panel, bundles, x, f"{split}_{measure}")
        _label_grid(grid, "validation" if split == "validation" else "training", bundles)
        _legend(figure, results)
    return figure


def learning_curves(history: History) -> Figure:
    """Accuracy and cost of one run on the training and the validation split, against epochs."""
    columns = {name: history[name] for name in history.columns()}
    with style():
        figure = new_figure(9.5, 3.9)
        left, right = figure.subplots(1, 2)
        for panel, measure in zip((left, right), MEASURES, strict=True):
            for split, label, colour in (("train", "training", 0), ("validation", "validation", 1)):
                _draw_curve(panel, thinned(columns["epoch"], columns[f"{split}_{measure}"]), label, CATEGORICAL[colour])
            panel.set(xlabel="epochs", ylabel=_title(measure))
            _whole_epochs(panel)
            if panel.lines:
                panel.legend()
            else:
                say(panel, "nothing was recorded")
        per_cent_axis(left)
        _scale_costs(right)
    return figure


def _bundles(results: SweepResults) -> list[Bundle]:
    axis = main_axis(results)
    colours = dict(zip(axis.values, axis.colours(), strict=True))
    return [
        Bundle(
            colours[group.value],
            LINE_STYLES[index % len(LINE_STYLES)],
            tuple(results.history(run.run_id) for run in group.runs if run.status != "failed"),
        )
        for index, line in enumerate(lines(results))
        for group in line.groups
    ]


def _has(bundles: Sequence[Bundle], column: str) -> bool:
    return any(np.isfinite(curve[column]).any() for bundle in bundles for curve in bundle.curves)


def _draw_bundles(panel: Axes, bundles: Sequence[Bundle], x: str, y: str) -> None:
    for bundle in bundles:
        for curve in bundle.curves:
            xs, ys = thinned(curve[x], curve[y])
            panel.plot(xs, ys, bundle.line_style, color=bundle.colour, linewidth=0.8, alpha=0.35, gid="run")
        if len(bundle.curves) > 1:
            panel.plot(*median_curve(bundle.curves, x, y), bundle.line_style, color=bundle.colour, linewidth=1.8)
        elif bundle.curves:
            panel.lines[-1].set(linewidth=1.8, alpha=1)


def thinned(x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """At most `MAX_POINTS` of the points, the first and the last among them; those without a number are left out."""
    kept = np.flatnonzero(np.isfinite(y))
    if len(kept) > MAX_POINTS:
        kept = kept[np.linspace(0, len(kept) - 1, MAX_POINTS).round().astype(int)]
    return x[kept], y[kept]


def median_curve(curves: Sequence[Columns], x: str, y: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """The median over seeds, record by record, as far as all seeds go: beyond, it would compare different runs."""
    n = min(len(curve["step"]) for curve in curves)
    same = np.all([curve["step"][:n] == curves[0]["step"][:n] for curve in curves], axis=0)
    xs, ys = (np.median([curve[column][:n][same] for curve in curves], axis=0) for column in (x, y))
    return thinned(xs, ys)


def _draw_curve(panel: Axes, points: tuple[NDArray[Any], NDArray[Any]], label: str, colour: str) -> None:
    xs, ys = points
    if len(xs):
        panel.plot(xs, ys, color=colour, label=label, marker="o" if len(xs) == 1 else "")


def _label_grid(grid: NDArray[Any], split: str, bundles: Sequence[Bundle]) -> None:
    for panel, title in zip(grid[-1], XS.values(), strict=True):
        panel.set_xlabel(title)
    for panel in grid[:, 1:].flat:
        if any(bundle.curves for bundle in bundles):
            plain_log_axis(panel, "x")
    for row, measure in zip(grid, MEASURES, strict=True):
        row[0].set_ylabel(f"{split} {_title(measure)}")
    _whole_epochs(grid[1, 0])
    per_cent_axis(grid[0, 0])
    _scale_costs(grid[1, 0])
    if not any(len(panel.lines) for panel in grid.flat):
        say(grid[0, 1], "no curves were recorded")


def _whole_epochs(panel: Axes) -> None:
    panel.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))


def _title(measure: str) -> str:
    return "accuracy (%)" if measure == "accuracy" else measure


def _scale_costs(panel: Axes) -> None:
    """Costs on a logarithmic axis; those of runs that blow up do not squeeze the others."""
    drawn = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in panel.lines] or [np.empty(0)])
    drawn = drawn[np.isfinite(drawn) & (drawn > 0)]
    if not len(drawn):
        return
    plain_log_axis(panel)
    top = np.quantile(drawn, 0.99)
    if drawn.max() > 5 * top:
        panel.set_ylim(top=2 * top)


def _legend(figure: Figure, results: SweepResults) -> None:
    """Colours for the values of the main axis, line styles for the settings of the others."""
    axis, others = main_axis(results), [line.label for line in lines(results)]
    colours = zip(axis.values, axis.colours(), strict=True)
    handles = [
        Line2D([], [], color=colour, label=f"{axis_title(axis.name)} {setting(value)}") for value, colour in colours
    ]
    if len(others) > 1:
        styles = [LINE_STYLES[index % len(LINE_STYLES)] for index in range(len(others))]
        handles += [Line2D([], [], color=FAINT, linestyle=s, label=o) for s, o in zip(styles, others, strict=True)]
    legend_below(figure, handles)
