"""How the runs of a sweep are laid out along one axis: its values on x, one line for each setting of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes

from fastfnn.report.formatting import axis_title, setting, settings_text
from fastfnn.report.style import categorical, label_ticks, sequential
from fastfnn.sweeps.store import RunRecord, SweepResults


@dataclass(frozen=True)
class MainAxis:
    """The axis of the grid that figures have on x: batch sizes on a logarithmic scale, other fields as categories."""

    name: str
    values: tuple[Any, ...]

    @property
    def logarithmic(self) -> bool:
        """Whether a value is its own position, on a scale of powers of two."""
        return self.name == "batch_size"

    def position(self, value: Any) -> float:
        """Where a value stands on x."""
        return float(value) if self.logarithmic else float(self.values.index(value))

    def shifted(self, x: float, share: float) -> float:
        """A position moved by a share of the distance between neighbours, so that lines do not hide each other."""
        return x * 2.0**share if self.logarithmic else x + share

    def colours(self) -> list[str]:
        """A colour for each value: shades for batch sizes, distinct ones for categories."""
        return sequential(len(self.values)) if self.logarithmic else categorical(len(self.values))

    def label(self, axes: Axes) -> None:
        """Scale, ticks and title of the x axis."""
        if self.logarithmic:
            axes.set_xscale("log", base=2)
        label_ticks(axes, [self.position(value) for value in self.values], [setting(value) for value in self.values])
        axes.set_xlabel(axis_title(self.name))


@dataclass(frozen=True)
class Group:
    """The runs of one setting, by seed."""

    x: float
    value: Any
    runs: tuple[RunRecord, ...]


@dataclass(frozen=True)
class Line:
    """One setting of the other axes across the values of the main axis."""

    label: str
    groups: tuple[Group, ...]


def main_axis(results: SweepResults) -> MainAxis:
    """The axis for x: the first one that varies, or the batch size when nothing does."""
    name = results.axes[0] if results.axes else "batch_size"
    values = list(dict.fromkeys(getattr(run.config, name) for run in results.runs))
    return MainAxis(name, tuple(sorted(values)) if name == "batch_size" else tuple(values))


def lines(results: SweepResults) -> list[Line]:
    """One line for every combination of the axes that are not on x."""
    axis = main_axis(results)
    others = results.axes[1:]
    by_label: dict[str, list[Group]] = {}
    for settings in results.settings():
        runs = results.runs_at(settings)
        value = getattr(runs[0].config, axis.name)
        groups = by_label.setdefault(settings_text(settings, others), [])
        groups.append(Group(axis.position(value), value, tuple(runs)))
    return [Line(label, tuple(sorted(groups, key=lambda group: group.x))) for label, groups in by_label.items()]
