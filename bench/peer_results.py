"""The documents of peers.py: times by peer and batch size, their table and their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure
from rivals import OURS
from tables import table

from fastfnn.benchmarks.figure import batch_size_axis, draw_limit, draw_times
from fastfnn.benchmarks.rounds import milliseconds, minimum_and_median
from fastfnn.report.formatting import percent
from fastfnn.report.style import (
    CATEGORICAL,
    FAINT,
    LINE_STYLES,
    categorical,
    legend_below,
    new_figure,
    plain_log_axis,
    style,
)

Times = dict[str, dict[int, list[float]]]
"""Seconds of every epoch, by peer and batch size."""

Looks = tuple[str, Any]
"""Colour and line style."""


@dataclass(frozen=True)
class Workload:
    """One document.

    Attributes:
        name: of its file.
        title: for people.
        seconds: of each peer with the number of threads that is best for it; of fastfnn with one.
        threads: those of peers that had more than one, by peer and batch size.
        beside: times that no ratio is made of: fastfnn's with several threads.
        dense_seconds: what the dense products of an epoch would take at the rate of sgemm on one core.
        peak_seconds: the same were every fused multiply-add unit of a core always busy.
        unavailable: by name, why a peer was not timed.
        facts: sentences about the rows and the rounds.
    """

    name: str
    title: str
    seconds: Times
    threads: dict[str, dict[int, int]] = field(default_factory=dict)
    beside: Times = field(default_factory=dict)
    dense_seconds: float | None = None
    peak_seconds: float | None = None
    unavailable: dict[str, str] = field(default_factory=dict)
    facts: str = ""

    @property
    def batch_sizes(self) -> list[int]:
        """Those at which fastfnn was timed."""
        return list(self.seconds[OURS])

    def ratio(self, batch_size: int) -> float | None:
        """The fastest other's minimum divided by fastfnn's."""
        others = self._minima_of_others(batch_size)
        return min(others.values()) / min(self.seconds[OURS][batch_size]) if others else None

    def fastest_other(self, batch_size: int) -> str:
        """The name of the other with the smallest minimum."""
        others = self._minima_of_others(batch_size)
        return min(others, key=others.__getitem__, default="")

    def _minima_of_others(self, batch_size: int) -> dict[str, float]:
        times = {peer: sizes[batch_size] for peer, sizes in self.seconds.items() if batch_size in sizes}
        return {peer: min(seconds) for peer, seconds in times.items() if peer != OURS}

    def table(self) -> str:
        """Milliseconds of every peer, a column for each batch size, and what fastfnn's are to others and to limits."""
        peers = (*self.seconds, *self.beside)
        rows = [[peer, *(self._cell(peer, size) for size in self.batch_sizes)] for peer in peers]
        rows.append(["**fastest other / fastfnn**", *map(self._ratio_cell, self.batch_sizes)])
        limits = {"at the sgemm rate": self.dense_seconds, "at the FMA peak": self.peak_seconds}
        for name, limit in limits.items():
            if limit is not None:
                parts = [percent(limit / min(seconds), 0) for seconds in self.seconds[OURS].values()]
                rows.append([f"dense products {name} / fastfnn", *parts])
        return table(["batch size", *map(str, self.batch_sizes)], rows) + self._remarks(limits)

    def _remarks(self, limits: Mapping[str, float | None]) -> str:
        """What the table is of, and who is not in it."""
        known = [f"{milliseconds(limit)} ms {name}" for name, limit in limits.items() if limit is not None]
        dense = f"Dense products of an epoch: {', '.join(known)}." if known else ""
        absent = (f"Not timed: {name}: {reason}." for name, reason in self.unavailable.items())
        return "".join(f"\n{remark}\n" for remark in (" ".join(filter(None, (self.facts, dense))), *absent) if remark)

    def _cell(self, peer: str, size: int) -> str:
        times = (self.seconds | self.beside)[peer]
        if size not in times:
            return "-"
        threads = self.threads.get(peer, {}).get(size)
        return minimum_and_median(times[size]) + (f" on {threads}" if threads else "")

    def _ratio_cell(self, size: int) -> str:
        ratio = self.ratio(size)
        return "-" if ratio is None else f"**{ratio:.1f}** ({self.fastest_other(size)})"


def looks_of(workloads: Sequence[Workload]) -> dict[str, Looks]:
    """Colour and line style of each peer, the same in all figures; the first is fastfnn's."""
    peers = dict.fromkeys([OURS, *(peer for workload in workloads for peer in workload.seconds)])
    return dict(zip(peers, ((colour, line) for line in LINE_STYLES for colour in CATEGORICAL), strict=False))


def workload_figure(workload: Workload, looks: Mapping[str, Looks]) -> Figure:
    """Time of an epoch against the batch size, log-log; fastfnn's lines are the thick ones, others' are thin."""
    with style():
        figure = new_figure(8.2, 5.0)
        panel = figure.subplots()
        for peer, times in (workload.seconds | workload.beside).items():
            colour, line = looks.get(peer, (looks[OURS][0], ":"))
            width = 1.3 if peer in looks and peer != OURS else 3.0
            draw_times(panel, list(times), list(times.values()), colour, peer, width=width, line_style=line)
        if workload.dense_seconds is not None:
            draw_limit(panel, workload.dense_seconds)
        plain_log_axis(panel)
        batch_size_axis(panel, workload.batch_sizes)
        panel.set(ylabel="time of an epoch (ms)", title=workload.title)
        named = [line for line in panel.lines if not str(line.get_label()).startswith("_")]
        legend_below(figure, sorted(named, key=lambda line: line.get_label() != OURS))
    return figure


def ratios_figure(workloads: Sequence[Workload]) -> Figure:
    """The fastest other's time divided by fastfnn's, a line for each workload."""
    sizes = sorted({size for workload in workloads for size in workload.batch_sizes})
    with style():
        figure = new_figure(8.2, 5.0)
        panel = figure.subplots()
        for workload, colour in zip(workloads, categorical(len(workloads)), strict=True):
            ratios = [(size, ratio) for size in workload.batch_sizes if (ratio := workload.ratio(size)) is not None]
            if ratios:
                panel.plot(*zip(*ratios, strict=True), color=colour, marker="o", markersize=5, label=workload.title)
        panel.axhline(1, color=FAINT, linestyle="--", linewidth=1.2, label="as fast as the fastest other")
        plain_log_axis(panel)
        batch_size_axis(panel, sizes)
        panel.set(ylabel="fastest other / fastfnn", title="how many times as fast as the fastest other")
        legend_below(figure, panel.lines)
    return figure


def read_workload(name: str, title: str, document: dict[str, Any]) -> Workload:
    """The times in a document of peers.py.

    Of `measurements`, which count, and of `other_measurements`, each has a peer, a batch size and the seconds of every
    epoch, and may have the number of threads.
    """
    seconds: Times = {}
    threads: dict[str, dict[int, int]] = {}
    for each in document["measurements"]:
        seconds.setdefault(each["peer"], {})[each["batch_size"]] = each["seconds"]
        if each.get("threads", 1) > 1:
            threads.setdefault(each["peer"], {})[each["batch_size"]] = each["threads"]
    beside: Times = {}
    for each in document.get("other_measurements", ()):
        if each["peer"] == OURS:
            beside.setdefault(f"{OURS}, {each['threads']} threads", {})[each["batch_size"]] = each["seconds"]
    settings = document["settings"]
    limits = {limit: settings.get(limit) for limit in ("dense_seconds", "peak_seconds")}
    facts = f"{settings['rows']:,} rows, {settings['rounds']} rounds." if {"rows", "rounds"} <= settings.keys() else ""
    unavailable = document.get("unavailable", {})
    return Workload(name, title, seconds, threads, beside, **limits, unavailable=unavailable, facts=facts)
