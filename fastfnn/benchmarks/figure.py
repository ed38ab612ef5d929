"""The figure of the short form: time of an epoch against the batch size, and the ratio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fastfnn.benchmarks.epochs import network_text
from fastfnn.benchmarks.short_form import ShortForm
from fastfnn.report.formatting import count
from fastfnn.report.style import CATEGORICAL, FAINT, INK, label_ticks, legend_below, new_figure, plain_log_axis, style

WIDTH, HEIGHT = 9.6, 4.4
OURS, THEIRS = CATEGORICAL[0], CATEGORICAL[1]


def short_form_figure(measured: ShortForm) -> Figure:
    """Every time is a point, lines are minima, a dashed line is what the dense products alone would take."""
    with style():
        figure = new_figure(WIDTH, HEIGHT)
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        _draw_epochs(left, measured)
        _draw_ratios(right, measured)
        batch_size_axis(left, [row.batch_size for row in measured.rows])
        dot = Line2D([], [], color=FAINT, marker="o", linestyle="none", alpha=0.5, markersize=5, label="one epoch")
        named = [line for line in left.lines if not str(line.get_label()).startswith("_")]
        legend_below(figure, [*named, dot])
    return figure


def _draw_epochs(panel: Axes, measured: ShortForm) -> None:
    sizes = [row.batch_size for row in measured.rows]
    draw_times(panel, sizes, [row.fast for row in measured.rows], OURS, "fastfnn")
    draw_times(panel, sizes, [row.reference for row in measured.rows], THEIRS, "NumPy reference")
    draw_limit(panel, measured.dense_seconds)
    examples, network = count(len(measured.data.train)), network_text(measured.data, measured.config)
    panel.set(ylabel="time of an epoch (ms)", title=f"{network} on {examples} examples")
    plain_log_axis(panel)


def _draw_ratios(panel: Axes, measured: ShortForm) -> None:
    places = range(len(measured.rows))
    ratios = [row.ratio for row in measured.rows]
    bars = panel.bar(places, ratios, width=0.6, color=OURS)
    panel.bar_label(bars, [f"{ratio:.1f}" for ratio in ratios], padding=2, fontsize=9, color=INK)
    panel.grid(visible=False, axis="x")
    panel.set(xlabel="batch size", ylabel="NumPy reference / fastfnn", title="ratio of the minima")
    label_ticks(panel, places, [str(row.batch_size) for row in measured.rows])


def draw_times(
    panel: Axes,
    sizes: Sequence[float],
    seconds: Sequence[Sequence[float]],
    colour: str,
    label: str,
    *,
    width: float = 1.8,
    line_style: Any = "-",
) -> None:
    """A line through the fastest of the times at each size, in milliseconds, and a see-through dot for every time."""
    minima = [1e3 * min(each) for each in seconds]
    panel.plot(sizes, minima, line_style, color=colour, label=label, linewidth=width, zorder=3)
    dots = [(size, 1e3 * value) for size, each in zip(sizes, seconds, strict=True) for value in each]
    panel.plot(*zip(*dots, strict=True), "o", color=colour, markersize=4.5, alpha=0.4, markeredgewidth=0, zorder=2)


def batch_size_axis(panel: Axes, sizes: Sequence[int]) -> None:
    """A logarithmic axis with a tick for each batch size."""
    panel.set_xscale("log")
    label_ticks(panel, sizes, [str(size) for size in sizes])
    panel.set_xlabel("batch size")


def draw_limit(panel: Axes, seconds: float) -> None:
    """A line at the time that the dense products of an epoch would take at the rate of large ones."""
    label = "dense products at sgemm rate"
    panel.axhline(1e3 * seconds, color=FAINT, linestyle="--", linewidth=1.2, label=label, zorder=1)
