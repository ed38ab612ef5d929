"""The weights of a network with and without a penalty, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fastfnn.report.style import CATEGORICAL, legend_below, new_figure, style

MOST_BINS = 80
MANY = 5000
"""From so many weights on, tails are worth a logarithmic axis."""
LABELS = ("no L2", "L2")


def weights_figure(without: Sequence[NDArray[Any]], having: Sequence[NDArray[Any]]) -> Figure:
    """A histogram for each layer of the weights without and with a penalty, of all seeds together."""
    with style():
        figure = new_figure(11.0, 3.6)
        panels = list(figure.subplots(1, len(without)))
        for layer, (panel, *pair) in enumerate(zip(panels, without, having, strict=True), start=1):
            widest = max(float(np.abs(weights).max()) for weights in pair)
            edges = np.linspace(-widest, widest, min(MOST_BINS, int(np.sqrt(pair[0].size))) + 1)
            for weights, colour, label in zip(pair, CATEGORICAL, LABELS, strict=False):
                counts, _ = np.histogram(weights, edges)
                panel.stairs(counts / weights.size, edges, color=colour, label=label, linewidth=1.6)
            many = pair[0].size >= MANY
            panel.set(title=f"layer {layer}", xlabel="weight", yscale="log" if many else "linear")
        panels[0].set_ylabel("share of the weights in a bin")
        legend_below(figure, panels[0].get_legend_handles_labels()[0])
    return figure
