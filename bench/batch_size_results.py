"""The file of batch_size.py: its benchmarks as times by engine, dtype and batch size, and their figure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyperf
from matplotlib.figure import Figure

from fastfnn.benchmarks.figure import batch_size_axis
from fastfnn.benchmarks.pyperf_files import is_of_steps
from fastfnn.report.style import CATEGORICAL, LINE_STYLES, legend_below, new_figure, plain_log_axis, style

NAME = re.compile(r"(?P<engine>\S+) (?P<dtype>\S+) batch (?P<size>\d+) epoch")


@dataclass(frozen=True)
class Timed:
    """The times of an epoch of one benchmark."""

    engine: str
    dtype: str
    batch_size: int
    steps: int
    seconds: list[float]


def read(path: Path) -> list[Timed]:
    """The benchmarks of epochs; those of steps are the same times."""
    return [_timed(each) for each in pyperf.BenchmarkSuite.load(str(path)) if not is_of_steps(each)]


def _timed(benchmark: pyperf.Benchmark) -> Timed:
    match = NAME.fullmatch(benchmark.get_name())
    if match is None:
        raise ValueError(f"{benchmark.get_name()!r}: expected a benchmark of epochs")
    steps = benchmark.get_metadata()["steps"]
    return Timed(match["engine"], match["dtype"], int(match["size"]), steps, list(benchmark.get_values()))


def batch_size_figure(timed: Sequence[Timed]) -> Figure:
    """Time of an epoch and of a step; colours are engines, line styles dtypes."""
    kinds = list(dict.fromkeys((each.engine, each.dtype) for each in timed))
    engines, dtypes = (list(dict.fromkeys(names)) for names in zip(*kinds, strict=True))
    with style():
        figure = new_figure(10.2, 4.4)
        left, right = figure.subplots(1, 2)
        for engine, dtype in kinds:
            line = [each for each in timed if (each.engine, each.dtype) == (engine, dtype)]
            looks = {
                "color": CATEGORICAL[engines.index(engine)],
                "linestyle": LINE_STYLES[dtypes.index(dtype)],
                "label": f"{engine} {dtype}",
            }
            sizes = [each.batch_size for each in line]
            left.plot(sizes, [1e3 * min(each.seconds) for each in line], **looks)
            right.plot(sizes, [1e6 * min(each.seconds) / each.steps for each in line], **looks)
        left.set(ylabel="time of an epoch (ms)", title="epoch")
        right.set(ylabel="time of a step (µs)", title="step")
        for panel in (left, right):
            plain_log_axis(panel)
            batch_size_axis(panel, sorted({each.batch_size for each in timed}))
        legend_below(figure, left.lines)
    return figure
