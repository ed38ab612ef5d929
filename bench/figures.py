"""Figures of the benchmarks, each made from the measurements in one JSON document."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fastfnn.benchmarks.figure import batch_size_axis, draw_times
from fastfnn.report.formatting import seconds as seconds_text
from fastfnn.report.style import (
    CATEGORICAL,
    FAINT,
    INK,
    categorical,
    label_ticks,
    legend_below,
    new_figure,
    plain_log_axis,
    sequential,
    style,
)

Document = dict[str, Any]
Measurements = Sequence[dict[str, Any]]
Points = Sequence[tuple[int, int, float]]  # batch size, number, ratio

MEGABYTE = 1e6
INPUTS = {"sparse": "all features listed", "dense": "all features dense", "auto": 'as input="auto" decides'}
ONE_TIME = Line2D([], [], color=FAINT, marker="o", linestyle="none", alpha=0.5, markersize=5, label="one epoch")


def variants_figure(document: Document) -> Figure:
    """A bar for each variant and batch size: what it costs over plain SGD."""
    measured = [each for each in document["measurements"] if each["variant"] != "plain SGD"]
    names = list(dict.fromkeys(each["variant"] for each in measured))[::-1]
    sizes = list(dict.fromkeys(each["batch_size"] for each in measured))
    with style():
        figure = new_figure(8.2, 4.6)
        panel = figure.subplots()
        height = 0.8 / len(sizes)
        for index, (size, colour) in enumerate(zip(sizes, categorical(len(sizes)), strict=True)):
            costs = {each["variant"]: 100 * each["cost_of_minima"] for each in measured if each["batch_size"] == size}
            places = [place - height * (index - (len(sizes) - 1) / 2) for place in range(len(names))]
            bars = panel.barh(places, [costs[name] for name in names], height, color=colour, label=f"batch size {size}")
            panel.bar_label(bars, fmt=lambda cost: f"{round(cost):+d} %", padding=3, fontsize=8.5, color=INK)
        panel.set_yticks(range(len(names)), names)
        panel.margins(x=0.12)
        panel.grid(visible=False, axis="y")
        panel.axvline(0, color=FAINT, linewidth=0.8)
        panel.set(xlabel="cost over plain SGD, time of an epoch (%)", title="what an option adds")
        legend_below(figure, panel.get_legend_handles_labels()[0])
    return figure


def breakdown_figure(document: Document) -> Figure:
    """A bar for each batch size: the parts of an epoch, one on the other."""
    parts = [each for each in document["measurements"] if "batch_size" in each]
    sizes = list(dict.fromkeys(each["batch_size"] for each in parts))
    names = list(dict.fromkeys(each["part"] for each in parts))
    with style():
        figure = new_figure(8.2, 1.6 + 0.55 * len(sizes))
        panel = figure.subplots()
        ends = [0.0] * len(sizes)
        for name, colour in zip(names, categorical(len(names)), strict=True):
            widths = [1e3 * max(0.0, each["seconds"]) for each in parts if each["part"] == name]
            panel.barh(range(len(sizes)), widths, 0.6, left=ends, color=colour, label=name)
            ends = [end + width for end, width in zip(ends, widths, strict=True)]
        panel.set_yticks(range(len(sizes)), [f"batch size {size}" for size in sizes])
        panel.invert_yaxis()
        panel.grid(visible=False, axis="y")
        panel.set(xlabel="time of an epoch (ms)", title="where the time of an epoch goes")
        legend_below(figure, panel.get_legend_handles_labels()[0])
    return figure


def rows_figure(measured: Measurements) -> Figure:
    """Nanoseconds a row of an epoch, and memory, against the number of rows."""
    rows = [each["rows"] for each in measured]
    with style():
        figure = new_figure(10.2, 4.2)
        left, right = figure.subplots(1, 2)
        _draw_values(
            left, rows, [[1e9 * s / n for s in each["epoch_seconds"]] for n, each in zip(rows, measured, strict=True)]
        )
        left.set_ylim(0, 1.15 * left.get_ylim()[1])
        left.set(ylabel="time of a row in an epoch (ns)", title="time")
        _draw_memory(right, rows, measured)
        right.set(ylabel="MB", title="memory of the process that trains")
        plain_log_axis(right)
        for panel in (left, right):
            panel.set_xscale("log")
            label_ticks(panel, rows, [_thousands(n) for n in rows])
            panel.set_xlabel("rows")
        legend_below(figure, [*right.lines, ONE_TIME])
    return figure


def _draw_memory(panel: Axes, rows: Sequence[int], measured: Measurements) -> None:
    def line(values: list[float], label: str, colour: str, line_style: Any = "-") -> None:
        panel.plot(rows, values, line_style, color=colour, label=label, marker="o", markersize=4)

    if all(each["peak_private_bytes"] is not None for each in measured):
        grown = [(each["peak_private_bytes"] - each["private_bytes_before"]) / MEGABYTE for each in measured]
        line(grown, "peak, above that of a process without data", CATEGORICAL[0])
    line([each["rows_bytes"] / MEGABYTE for each in measured], "rows as the kernels read them", CATEGORICAL[2], "--")
    line([each["features_bytes"] / MEGABYTE for each in measured], "features as given", FAINT, ":")


def networks_figure(width: Measurements, depth: Measurements) -> Figure:
    """Time of an epoch against the units of one hidden layer, and against the number of layers of 20."""
    with style():
        figure = new_figure(10.2, 4.2)
        left, right = figure.subplots(1, 2)
        for panel, measured, axis in ((left, width, "width"), (right, depth, "depth")):
            xs = [each[axis] for each in measured]
            _draw_values(panel, xs, [[1e3 * s for s in each["epoch_seconds"]] for each in measured], "fastfnn")
            limits = [each["dense_operations"] / each["sgemm_gflops"] / 1e6 for each in measured]
            panel.plot(xs, limits, "--", color=FAINT, linewidth=1.2, label="dense products at sgemm rate")
            panel.set_ylabel("time of an epoch (ms)")
        plain_log_axis(left)
        left.set_xscale("log")
        right.set_ylim(bottom=0)
        left.set(xlabel="units of the hidden layer", title="width")
        right.set(xlabel="hidden layers of 20 units", title="depth")
        label_ticks(left, [each["width"] for each in width], [str(each["width"]) for each in width])
        label_ticks(right, [each["depth"] for each in depth], [str(each["depth"]) for each in depth])
        legend_below(figure, [line for line in left.lines if not str(line.get_label()).startswith("_")] + [ONE_TIME])
    return figure


def density_figure(measured: Measurements) -> Figure:
    """Time of an epoch with all features listed, all dense, and as `auto` decides; a panel for each kind of columns."""
    kinds = {uneven: [each for each in measured if each["uneven"] == uneven] for uneven in (False, True)}
    titles = {False: "all columns alike", True: "columns that differ, as in images"}
    with style():
        figure = new_figure(10.2, 4.4)
        panels = figure.subplots(1, 2, sharey=True)
        for panel, (uneven, points) in zip(panels, kinds.items(), strict=True):
            densities = [100 * each["density"] for each in points]
            for (kind, label), colour in zip(INPUTS.items(), CATEGORICAL, strict=False):
                seconds = [each["epoch_seconds"][kind] for each in points]
                width, line = (1.8, "-") if kind != "auto" else (2.6, ":")
                draw_times(panel, densities, seconds, colour, label, width=width, line_style=line)
            plain_log_axis(panel, "x")
            panel.minorticks_off()
            panel.set(xlabel="values that are not zero (%)", title=titles[uneven])
        plain_log_axis(panels[0])
        panels[0].set_ylabel(f"{measured[0]['rows']:,} rows of {measured[0]['columns']} bytes, time of an epoch (ms)")
        legend_below(figure, [*(line for line in panel.lines if not str(line.get_label()).startswith("_")), ONE_TIME])
    return figure


def cores_figure(threads: Points, runs: Points) -> Figure:
    """Ratios to one thread, and to one run; a panel for each of which several numbers were tried."""
    tried = [(draw, points) for draw, points in ((_draw_threads, threads), (_draw_runs, runs)) if _are_several(points)]
    with style():
        figure = new_figure(5.1 * len(tried), 4.2)
        for panel, (draw, points) in zip(figure.subplots(1, len(tried), squeeze=False)[0], tried, strict=True):
            draw(panel, points)
            panel.legend(loc="lower right")
    return figure


def _are_several(points: Points) -> bool:
    return len({number for _, number, _ in points}) > 1


def thread_ratios(measured: Measurements) -> Points:
    """How many times as fast so many threads are as one."""
    timed = [each for each in measured if "epoch_seconds" in each]
    alone = {each["batch_size"]: min(each["epoch_seconds"]) for each in timed if each["threads"] == 1}
    return [
        (each["batch_size"], each["threads"], alone[each["batch_size"]] / min(each["epoch_seconds"])) for each in timed
    ]


def concurrent_ratios(measured: Measurements) -> Points:
    """How many times as many epochs a second so many runs do as one."""
    return [(each["batch_size"], each["runs"], each["throughput_ratio"]) for each in measured if each["batch_size"]]


def _draw_threads(panel: Axes, points: Points) -> None:
    """A line for each number of threads against the batch size."""
    numbers = sorted({number for _, number, _ in points})
    for number, colour in zip(numbers, [FAINT, *sequential(len(numbers) - 1)], strict=True):
        line = [(size, ratio) for size, each, ratio in points if each == number]
        label = "one thread" if number == 1 else f"{number} threads"
        panel.plot(*zip(*line, strict=True), color=colour, marker="o", markersize=5, label=label)
    batch_size_axis(panel, sorted({size for size, _, _ in points}))
    panel.set_ylim(0, 1.08 * max(numbers[-1], *(ratio for _, _, ratio in points)))
    panel.set(title="threads of one run", xlabel="batch size", ylabel="times as fast as one")


def _draw_runs(panel: Axes, points: Points) -> None:
    """A line for each batch size against the number of runs, and what would be perfect."""
    numbers = sorted({number for _, number, _ in points})
    panel.plot(numbers, numbers, "--", color=FAINT, linewidth=1.2, label="perfect")
    sizes = list(dict.fromkeys(size for size, _, _ in points))
    for size, colour in zip(sizes, sequential(len(sizes)), strict=True):
        line = [(number, ratio) for each, number, ratio in points if each == size]
        panel.plot(*zip(*line, strict=True), color=colour, marker="o", markersize=5, label=f"batch size {size}")
    panel.set_ylim(0, 1.08 * max(numbers[-1], *(ratio for _, _, ratio in points)))
    label_ticks(panel, numbers, [str(number) for number in numbers])
    panel.set(title="runs side by side", xlabel="runs", ylabel="times the epochs of one")


def startup_figure(document: Document) -> Figure:
    """A mark for each command and moment, cold and warm, at the fastest of its times."""
    measured = document["measurements"]
    names = list(dict.fromkeys(each["what"] for each in measured))[::-1]
    states = list(dict.fromkeys(each["state"] for each in measured))
    with style():
        figure = new_figure(8.6, 4.8)
        panel = figure.subplots()
        for index, (state, colour) in enumerate(zip(states, categorical(len(states)), strict=True)):
            marks = [(min(e["seconds"]), names.index(e["what"])) for e in measured if e["state"] == state]
            for seconds, row in marks:
                place = (seconds, row + 0.36 * ((len(states) - 1) / 2 - index))
                panel.plot(*place, "o", color=colour, markersize=6, label=f"{state} cache" if not row else "_")
                text = seconds_text(seconds)
                panel.annotate(text, place, (7, 0), textcoords="offset points", va="center", fontsize=8.5, color=INK)
        panel.set_yticks(range(len(names)), names)
        plain_log_axis(panel, "x")
        panel.margins(x=0.12)
        panel.minorticks_off()
        panel.set(xlabel="seconds, minimum", title="from the start")
        legend_below(figure, panel.get_legend_handles_labels()[0])
    return figure


def _draw_values(panel: Axes, xs: Sequence[float], values: Sequence[Sequence[float]], label: str = "_") -> None:
    """A line through the minima and a see-through dot for every value."""
    draw_times(panel, xs, [[value / 1e3 for value in each] for each in values], CATEGORICAL[0], label)


def _thousands(rows: int) -> str:
    return f"{rows / 1e6:g} million" if rows >= 10**6 else f"{rows:,}"


def scaling_figures(document: Document) -> dict[str, Figure]:
    """The figures of the axes that were measured."""
    axes: dict[str, list[dict[str, Any]]] = {}
    for each in document["measurements"]:
        axes.setdefault(each["axis"], []).append(each)
    drawn = {}
    if "rows" in axes:
        drawn["scaling-rows"] = rows_figure(axes["rows"])
    if "width" in axes and "depth" in axes:
        drawn["scaling-networks"] = networks_figure(axes["width"], axes["depth"])
    if "density" in axes:
        drawn["scaling-density"] = density_figure(axes["density"])
    threads, runs = thread_ratios(axes.get("threads", [])), concurrent_ratios(axes.get("concurrent", []))
    if _are_several(threads) or _are_several(runs):
        drawn["scaling-cores"] = cores_figure(threads, runs)
    return drawn


OF_DOCUMENTS: dict[str, Callable[[Document], dict[str, Figure]]] = {
    "breakdown": lambda document: {"breakdown": breakdown_figure(document)},
    "variants": lambda document: {"variants": variants_figure(document)},
    "scaling": scaling_figures,
    "startup": lambda document: {"startup": startup_figure(document)},
}
