"""The look of every figure: one rc context, colours that colour-blind readers can tell apart, shared axis helpers.

Only the object interface of Matplotlib is used: no pyplot, no global state.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

CATEGORICAL = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, without its yellow, which vanishes on white."""

FAILURE_COLOUR = "#B2182B"
LINE_STYLES: tuple[Any, ...] = ("-", "--", ":", "-.")
INK, FAINT = "#222222", "#6b6b6b"

LETTERS_PER_INCH = 13.5
"""Of a legend, roughly."""

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "figure.dpi": 100,
    "savefig.dpi": 150,
    "savefig.facecolor": "white",
    "svg.hashsalt": "fastfnn",
    "axes.formatter.useoffset": False,
}


@contextmanager
def style() -> Iterator[None]:
    """Figures made inside have the project's look; the caller's settings come back afterwards."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, drawn by Agg."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def sequential(n: int) -> list[str]:
    """`n` colours from dark to light along viridis, without its end that vanishes on white."""
    shades = [0.45] if n == 1 else [0.88 * i / (n - 1) for i in range(n)]
    return [to_hex(colormaps["viridis"](shade)) for shade in shades]


def categorical(n: int) -> list[str]:
    """`n` distinct colours; more than the palette has are taken from viridis."""
    return list(CATEGORICAL[:n]) if n <= len(CATEGORICAL) else sequential(n)


def label_ticks(axes: Axes, positions: Sequence[float], labels: Sequence[str]) -> None:
    """Exactly these ticks on the x axis, with a little room at both ends whatever the scale."""
    crowded = sum(len(label) + 2 for label in labels) > 90
    axes.set_xticks(positions, labels, rotation=45 if crowded else 0, ha="right" if crowded else "center")
    axes.minorticks_off()
    low, high = min(positions), max(positions)
    if axes.get_xscale() == "log":
        axes.set_xlim(low / 1.4, high * 1.4)
    else:
        axes.set_xlim(low - 0.5, high + 0.5)


def per_cent_axis(axes: Axes) -> None:
    """Shares on the y axis are labelled as per cent."""
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g}"))


def plain_log_axis(axes: Axes, which: Literal["x", "y"] = "y") -> None:
    """A logarithmic axis with plain numbers, and enough of them when it spans few decades. Call it after drawing."""
    axes.set(**{f"{which}scale": "log"})
    if which == "y":
        axes.margins(y=0.12)
    low, high = axes.get_ylim() if which == "y" else axes.get_xlim()
    axis = axes.yaxis if which == "y" else axes.xaxis
    narrow = high / low < 5
    axis.set_major_locator(MaxNLocator(6) if narrow else LogLocator(subs=_subdivisions(high / low, fine=which == "y")))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def _subdivisions(ratio: float, *, fine: bool) -> tuple[int, ...]:
    if ratio > 3000:
        return (1,)
    if ratio > 30:
        return (1, 3)
    return (1, 2, 3, 5) if fine else (1, 2, 5)


def legend_below(figure: Figure, handles: Sequence[Any]) -> None:
    """One legend under all panels, in as many columns as have room."""
    if handles:
        widest = max(len(str(handle.get_label())) for handle in handles) + 7
        room = max(1, int(LETTERS_PER_INCH * figure.get_figwidth() / widest))
        rows = math.ceil(len(handles) / room)
        figure.legend(handles=handles, loc="outside lower center", ncols=math.ceil(len(handles) / rows))


def say(axes: Axes, message: str) -> None:
    """A remark in the middle of a panel that has nothing to draw, and so no scale."""
    axes.set_yticks([])
    axes.text(0.5, 0.5, message, transform=axes.transAxes, ha="center", va="center", color=FAINT, fontsize=11)


def render(figure: Figure, format: str) -> bytes:
    """The figure as a file of this format ("png" or "svg"), the same bytes for the same figure."""
    buffer = io.BytesIO()
    with style():
        metadata = {"Date": None} if format == "svg" else {"Software": None}
        figure.savefig(buffer, format=format, metadata=metadata)
    return buffer.getvalue()
