"""Figures that compare the runs of a sweep along one axis of the grid: accuracy, runtime, time to a target.

Every run is a visible point. Lines are medians over seeds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from fastfnn.analysis.intervals import estimate
from fastfnn.analysis.targets import Reached, default_target, first_reached
from fastfnn.report.formatting import percent
from fastfnn.report.series import lines, main_axis
from fastfnn.report.style import (
    FAILURE_COLOUR,
    FAINT,
    categorical,
    legend_below,
    new_figure,
    per_cent_axis,
    plain_log_axis,
    say,
    style,
)
from fastfnn.sweeps.store import RunRecord, SweepResults

Measure = Callable[[RunRecord], float]

WIDTH, HEIGHT = 7.6, 4.4
"""Inches of a figure with one panel."""

SHIFT = 0.03
"""Distance between lines at one value of the main axis, as a share of that to the next value."""

RUNS = "runs"
"""The gid of marks that stand for one run each."""

APART = 0.035
"""Distance of stacked marks, as a share of the panel's height."""

INTERVALS = "interval over seeds"

NOT_COUNTED = Reached(math.nan, 0, math.nan)

FAILURE_MARKERS = {"diverged": "x", "failed": "P", "interrupted": "v"}


def accuracy(results: SweepResults) -> Figure:
    """Test accuracy of every run, with the median and an interval over seeds.

    When a few runs are far below the others, a second panel shows all of them and the first only the others.
    """
    with style():
        scores = [value for run in results.runs if not math.isnan(value := score(run))]
        floor = _floor_of_most(scores)
        figure = new_figure(WIDTH, HEIGHT if floor is None else HEIGHT + 1.5)
        panels = [figure.subplots()] if floor is None else list(figure.subplots(2, 1, height_ratios=(3, 1.2)))
        for panel in panels:
            _draw(panel, results, score, band=True)
            per_cent_axis(panel)
            panel.set_ylabel("test accuracy (%)")
        _draw_failures(panels[-1], results)
        if floor is not None:
            highest = max(scores)
            panels[0].set_ylim(floor, highest + 0.1 * (highest - floor))
            panels[0].set(xlabel="", title="most runs")
            panels[1].set(title="all runs")
        _legend(figure, panels)
    return figure


def runtime(results: SweepResults) -> Figure:
    """Training time of every run that ended as planned, whole and for each epoch."""
    with style():
        figure = new_figure(1.45 * WIDTH, HEIGHT)
        left, right = figure.subplots(1, 2)
        _draw(left, results, train_seconds)
        _draw(right, results, epoch_seconds)
        left.set(title="one run", ylabel="training time (s)")
        right.set(title="one epoch", ylabel="training time (s)")
        for panel in (left, right):
            plain_log_axis(panel)
        _legend(figure, [left, right])
    return figure


def target(results: SweepResults, accuracy: float | None = None) -> Figure:
    """Steps and training time of every run to a validation accuracy, by default that of the summary.

    A run that never got there is an open mark above the others.
    """
    with style():
        figure = new_figure(1.45 * WIDTH, HEIGHT)
        left, right = figure.subplots(1, 2)
        accuracy = default_target(results) if accuracy is None else accuracy
        if accuracy is None:
            for panel in (left, right):
                main_axis(results).label(panel)
                say(panel, "no run has a validation accuracy")
            return figure
        reached = _reached(results, accuracy)
        for panel, unit, label in ((left, "steps", "steps"), (right, "seconds", "training time (s)")):
            _draw(panel, results, _amount(reached, unit))
            panel.set(title=f"to {percent(accuracy, 1)} validation accuracy", ylabel=label)
            plain_log_axis(panel)
            _draw_censored(panel, results, reached)
        _legend(figure, [left, right])
    return figure


def score(run: RunRecord) -> float:
    """Accuracy on the test split, or on the validation split of data without one."""
    accuracy = run.validation.accuracy if math.isnan(run.test.accuracy) else run.test.accuracy
    return accuracy if run.measured else math.nan


def train_seconds(run: RunRecord) -> float:
    """Time in the training kernels."""
    return run.train_seconds if run.measured else math.nan


def epoch_seconds(run: RunRecord) -> float:
    """Training time divided by the epochs done."""
    return run.train_seconds / run.epochs if run.measured and run.epochs else math.nan


def _reached(results: SweepResults, accuracy: float) -> dict[str, Reached | None]:
    """Where each run got there, by its id; as in the summary, a diverged run never did and failed ones do not count."""
    ended = [run for run in results.runs if run.measured or run.status == "diverged"]
    return {run.run_id: first_reached(results.history(run.run_id), accuracy) if run.measured else None for run in ended}


def _amount(reached: Mapping[str, Reached | None], unit: str) -> Measure:
    """The steps or seconds to the target: infinite for a run that never got there, NaN for one that does not count."""

    def measure(run: RunRecord) -> float:
        there = reached.get(run.run_id)
        never = math.inf if run.run_id in reached else math.nan
        return never if there is None else float(getattr(there, unit))

    return measure


def _draw(panel: Axes, results: SweepResults, measure: Measure, *, band: bool = False) -> None:
    """One line for each setting of the other axes, through the runs for which the measure is not NaN."""
    axis, all_lines = main_axis(results), lines(results)
    axis.label(panel)
    for index, (line, colour) in enumerate(zip(all_lines, categorical(len(all_lines)), strict=True)):
        shift = SHIFT * (index - (len(all_lines) - 1) / 2)
        groups = [
            (axis.shifted(group.x, shift), values)
            for group in line.groups
            if (values := [measure(run) for run in group.runs if not math.isnan(measure(run))])
        ]
        if groups:
            _draw_groups(panel, groups, Stroke(colour, line.label, connected=axis.logarithmic and len(groups) > 1))
            if band:
                _draw_intervals(panel, groups, colour, connected=axis.logarithmic)
    if not panel.lines:
        say(panel, "no run ended as planned" if results.runs else "no runs yet")


@dataclass(frozen=True)
class Stroke:
    """How medians are drawn: `connected` by a line, or as short dashes where a line would mean nothing."""

    colour: str
    label: str
    connected: bool


def _draw_groups(panel: Axes, groups: Sequence[tuple[float, list[float]]], stroke: Stroke) -> None:
    """Medians and runs. An infinite median (most runs never got there) breaks the line; infinite runs are left out."""
    medians = [statistics.median(values) for _, values in groups]
    panel.plot(
        [x for x, _ in groups],
        [median if math.isfinite(median) else math.nan for median in medians],
        linestyle="-" if stroke.connected else "none",
        marker="" if stroke.connected else "_",
        markersize=16,
        markeredgewidth=1.8,
        color=stroke.colour,
        label=stroke.label,
        zorder=3,
    )
    points = [(x, value) for x, values in groups for value in values if math.isfinite(value)]
    # See-through, so that equal runs get darker.
    xs, ys = zip(*points, strict=True) if points else ((), ())
    panel.plot(xs, ys, "o", color=stroke.colour, markersize=5.5, alpha=0.5, markeredgewidth=0, zorder=4, gid=RUNS)


def _draw_intervals(panel: Axes, groups: Sequence[tuple[float, list[float]]], colour: str, *, connected: bool) -> None:
    estimates = [(x, estimate(values)) for x, values in groups if len(values) > 1]
    xs = [x for x, _ in estimates]
    low, high = [each.low for _, each in estimates], [each.high for _, each in estimates]
    labels = "; ".join(dict.fromkeys(each.label for _, each in estimates))
    if connected and len(xs) > 1:
        panel.fill_between(xs, low, high, color=colour, alpha=0.13, linewidth=0, zorder=1, label=labels)
    elif xs:
        panel.vlines(xs, low, high, color=colour, alpha=0.3, linewidth=7, zorder=1, label=labels)


def _draw_failures(panel: Axes, results: SweepResults) -> None:
    """A mark at the foot of the panel for each run that did not end as planned, one shape a status."""
    groups = [group for line in lines(results) for group in line.groups]
    failed = [(group.x, run.status) for group in groups for run in group.runs if not run.measured]
    ranks = _ranks([x for x, _ in failed])
    for status, marker in FAILURE_MARKERS.items():
        places = [(x, 0.025 + APART * n) for (x, ending), n in zip(failed, ranks, strict=True) if ending == status]
        _mark(panel, places, marker, f"{status} run", FAILURE_COLOUR)


def _draw_censored(panel: Axes, results: SweepResults, reached: Mapping[str, Reached | None]) -> None:
    """An open mark at the top of the panel for each run that never got there."""
    groups = [group for line in lines(results) for group in line.groups]
    never = [group.x for group in groups for run in group.runs if reached.get(run.run_id, NOT_COUNTED) is None]
    if never:
        bottom, top = panel.get_ylim()
        panel.set_ylim(bottom, top * (top / bottom) ** 0.25)
    _mark(panel, [(x, 0.975 - APART * n) for x, n in zip(never, _ranks(never), strict=True)], "^", "not reached", FAINT)


def _ranks(xs: Sequence[float]) -> list[int]:
    """For each x, how many before it are equal: marks at the same x are stacked."""
    return [list(xs[:i]).count(x) for i, x in enumerate(xs)]


def _mark(panel: Axes, places: Sequence[tuple[float, float]], marker: str, label: str, colour: str) -> None:
    """Open marks at x positions and heights of the panel in 0..1, whatever the scale of y."""
    if places:
        xs, heights = zip(*places, strict=True)
        panel.plot(
            xs,
            heights,
            marker,
            color=colour,
            markerfacecolor="none",
            label=label,
            gid=RUNS,
            transform=panel.get_xaxis_transform(),
            clip_on=False,
            zorder=5,
        )


def _floor_of_most(values: Sequence[float]) -> float | None:
    """Where a zoomed panel should begin, or None when all values fit one panel well."""
    if len(values) < 4:
        return None
    lower_quartile = statistics.quantiles(values, n=4)[0]
    spread = max(max(values) - lower_quartile, 0.01)
    return lower_quartile - 0.5 * spread if max(values) - min(values) > 5 * spread else None


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """One legend under the figure: the lines when there are several, then what marks and bands mean."""
    named = {str(handle.get_label()): handle for panel in panels for handle in panel.lines}
    handles: list[Any] = [handle for label, handle in named.items() if label and not label.startswith("_")]
    dot = Line2D([], [], color=FAINT, marker="o", linestyle="none", alpha=0.5, markersize=5.5, label="one run")
    handles += [dot, Line2D([], [], color=FAINT, label="median over seeds")]
    intervals = dict.fromkeys(str(band.get_label()) for panel in panels for band in panel.collections)
    if intervals:
        handles.append(Patch(color=FAINT, alpha=0.2, label=next(iter(intervals)) if len(intervals) == 1 else INTERVALS))
    legend_below(figure, handles)
