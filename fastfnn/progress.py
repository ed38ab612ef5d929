"""What a run tells about itself while it runs, and the bar that shows it."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fastfnn.config import TrainingConfig

NAN = float("nan")
SECONDS_BETWEEN_LINES = 10.0


@dataclass(frozen=True)
class Progress:
    """Where a run is: steps done, epochs done, training seconds, and the measures of the latest record."""

    step: int
    total_steps: int
    epoch: float
    seconds: float
    cost: float = NAN
    accuracy: float = NAN
    validation_cost: float = NAN
    validation_accuracy: float = NAN

    @property
    def rate(self) -> float:
        """Steps a second of training time."""
        return self.step / self.seconds if self.seconds else NAN

    def describe(self) -> str:
        """One line of measures."""
        cost = f"cost {self.cost:.4f}"
        accuracy = f"accuracy {self.accuracy:.4f}, validation {self.validation_accuracy:.4f}"
        return f"{cost}  {accuracy}  {self.rate:,.0f} steps/s"

    def brief(self) -> str:
        """`describe` for a bar in a terminal of 80 columns."""
        if math.isnan(self.cost):
            return ""
        return (
            f"cost {self.cost:.3f} acc {self.accuracy:.3f} val {self.validation_accuracy:.3f} {self.rate:,.0f} steps/s"
        )


Observer = Callable[[Progress], object]


@contextmanager
def progress_bar(config: TrainingConfig, *, enabled: bool) -> Iterator[Observer | None]:
    """An observer that draws a bar on standard error, or prints a line now and then when that is not a terminal."""
    if not enabled:
        yield None
    elif not sys.stderr.isatty():
        lines = Lines(config)
        yield lines
        lines.finish()
    else:
        with _bar(config) as observer:
            yield observer


class Lines:
    """Prints a line now and then, and one for where the run ended."""

    def __init__(self, config: TrainingConfig) -> None:
        self.config = config
        self.started = self.printed = time.monotonic()
        self.unprinted: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        """Sees where the run is."""
        self.unprinted = progress if progress.step else None
        if time.monotonic() - self.printed >= SECONDS_BETWEEN_LINES:
            self.finish()

    def finish(self) -> None:
        """Prints what was seen last, unless it has been."""
        if self.unprinted is None:
            return
        progress, self.unprinted, self.printed = self.unprinted, None, time.monotonic()
        left = (self.printed - self.started) / progress.step * (progress.total_steps - progress.step)
        epochs = f"epoch {progress.epoch:.1f}/{self.config.epochs}"
        print(f"{epochs}  {progress.describe()}  {left:.0f} s left", file=sys.stderr, flush=True)


@contextmanager
def _bar(config: TrainingConfig) -> Iterator[Observer]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn(f"epoch {{task.fields[epoch]:.1f}}/{config.epochs}"),
        BarColumn(bar_width=10),
        TextColumn("{task.fields[text]}"),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("train", total=None, epoch=0.0, text="")

        def observe(progress: Progress) -> None:
            bar.update(task, total=progress.total_steps, completed=progress.step, epoch=progress.epoch)
            bar.update(task, text=progress.brief())

        yield observe
