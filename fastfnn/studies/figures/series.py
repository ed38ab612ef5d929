"""What the studies' figures share: three ways of doing a row, each with its colour, and an axis for accuracies."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from fastfnn.report.style import CATEGORICAL, FAINT, INK, plain_log_axis, say
from fastfnn.studies.outcomes import Outcome
from fastfnn.studies.results import StudyResults
from fastfnn.studies.study import Row

PROPER, TEXTBOOK, PUBLISHED = CATEGORICAL[0], CATEGORICAL[1], INK
PROPER_LABEL, TEXTBOOK_LABEL, PUBLISHED_LABEL = "properly", "as published, by fastfnn", "published, one run"

ROUND_ACCURACIES = (0.1, 0.3, 0.5, 0.7, 0.8, 0.85, *(percent / 100 for percent in range(90, 100)))
FINE_ACCURACIES = tuple(thousandths / 1000 for thousandths in range(100, 1000, 5))
FINEST_ACCURACIES = tuple(thousandths / 1000 for thousandths in range(100, 1000))
FEW_TICKS = 4
ROOM = 0.07
"""Least distance of two ticks, as a share of the axis."""
HIGHEST = 0.9999

Measure = Callable[[Outcome], float]


@dataclass(frozen=True)
class Way:
    """One way of doing rows: our runs of it, its colour and label, and how far it stands aside."""

    of: Callable[[Row], Sequence[Outcome]]
    colour: str
    label: str
    shift: float


def ways(results: StudyResults) -> tuple[Way, Way]:
    """Under the study's conventions, and properly."""
    return (
        Way(results.textbook, TEXTBOOK, TEXTBOOK_LABEL, -1),
        Way(results.proper, PROPER, PROPER_LABEL, 1),
    )


def draw_runs(
    panel: Axes, xs: Sequence[float], values: Sequence[Sequence[float]], way: Way, *, connected: bool
) -> None:
    """A dot for each run, and medians as a line, or as dashes where a line would mean nothing."""
    dots = [(x, value) for x, each in zip(xs, values, strict=True) for value in each]
    medians = [(x, statistics.median(each)) for x, each in zip(xs, values, strict=True) if each]
    if not dots:
        return
    line_style, marker = ("-", "") if connected else ("none", "_")
    looks: dict[str, Any] = {"linestyle": line_style, "marker": marker, "markersize": 15, "markeredgewidth": 1.8}
    panel.plot(*zip(*medians, strict=True), color=way.colour, label=way.label, zorder=3, **looks)
    panel.plot(*zip(*dots, strict=True), "o", color=way.colour, markersize=5, alpha=0.5, markeredgewidth=0, zorder=4)


def draw_published(panel: Axes, xs: Sequence[float], values: Sequence[float | None]) -> None:
    """A cross for each published number."""
    there = [(x, value) for x, value in zip(xs, values, strict=True) if value is not None]
    if there:
        panel.plot(
            *zip(*there, strict=True), "x", color=PUBLISHED, label=PUBLISHED_LABEL, markersize=7, markeredgewidth=1.8
        )


def accuracy_axis(panel: Axes) -> None:
    """Accuracies by the size of the error, so that 93 and 95 % stand as far apart as 30 and 50 %. Call it last."""
    drawn = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in _shown(panel)] or [np.array([0.5])])
    low, high = _spread(np.array([np.nanmin(drawn), np.nanmax(drawn)]))
    margin = max(0.05, 0.06 * (high - low))
    panel.set_yscale("function", functions=(_spread, _gathered))
    panel.set_ylim(*_gathered(np.array([max(0.0, low - margin), high + margin])))
    panel.yaxis.set_major_locator(FixedLocator(_ticks(low - margin, high + margin)))
    panel.yaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g}"))


def _shown(panel: Axes) -> list[Line2D]:
    """Lines of all panels that share the axis."""
    return [line for each in panel.get_shared_y_axes().get_siblings(panel) for line in each.lines]


def _ticks(low: float, high: float) -> list[float]:
    """Accuracies in these limits of the spread axis, as many as have room, the roundest that are not too few."""
    for candidates in (ROUND_ACCURACIES, FINE_ACCURACIES, FINEST_ACCURACIES):
        chosen = _with_room(candidates, low, high)
        if len(chosen) >= FEW_TICKS:
            break
    return chosen


def _with_room(candidates: Sequence[float], low: float, high: float) -> list[float]:
    chosen: list[float] = []
    last = -np.inf
    for tick, place in zip(candidates, _spread(np.array(candidates)), strict=True):
        if low <= place <= high and place - last > ROOM * (high - low):
            chosen.append(tick)
            last = place
    return chosen


def _spread(accuracy: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(-np.log(1 - np.minimum(accuracy, HIGHEST)))


def _gathered(spread: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 - np.exp(-np.asarray(spread)))


def log_axis(panel: Axes, which: Literal["x", "y"] = "y") -> None:
    """A logarithmic axis, or a remark where there is nothing to draw."""
    if panel.lines:
        plain_log_axis(panel, which)
    else:
        say(panel, "no run ended as planned")


def legend_handles(panels: Sequence[Axes]) -> list[Line2D]:
    """One handle for each label of the panels, and one for the dots."""
    named = {str(line.get_label()): line for panel in panels for line in panel.lines}
    handles = [line for label, line in named.items() if not label.startswith("_")]
    dot = Line2D([], [], color=FAINT, marker="o", linestyle="none", alpha=0.5, markersize=5, label="one run, one seed")
    return [*handles, dot]
