"""What a running sweep shows: a live table on a terminal, a line for each finished run elsewhere."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from fastfnn.cli.output import COMPILING, must_compile, text_table
from fastfnn.report.formatting import axis_title, count, percent, seconds, setting, settings_text
from fastfnn.sweeps.eta import RemainingTime
from fastfnn.sweeps.events import Event, Observer, RunFinished, RunProgress, RunStarted, SweepStarted

if TYPE_CHECKING:
    from rich.console import RenderableType

    from fastfnn.config import SweepConfig
    from fastfnn.progress import Progress
    from fastfnn.sweeps.plan import PlannedRun
    from fastfnn.sweeps.store import RunRecord

SECONDS_BETWEEN_FRAMES = 0.2
LINES_AROUND_TABLE = 5


class SweepState:
    """Where a sweep is, kept up to date by its events."""

    def __init__(self, sweep: SweepConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self.axes = tuple(name for name, values in sweep.grid.items() if len(values) > 1) or tuple(sweep.grid)
        self.n_seeds = len(sweep.seeds)
        self.total = self.found = 0
        self.jobs: int | None = None
        self.rows: dict[str, Row] = {}
        self.active: dict[str, Progress | None] = {}
        self.finished = 0
        self._remaining = RemainingTime(clock)

    def observe(self, event: Event) -> None:
        """Takes an event into account."""
        self._remaining.observe(event)
        if isinstance(event, SweepStarted):
            self.total, self.found, self.jobs = event.total, event.finished, event.jobs
            for run in event.missing:
                self.row(run).planned.append(run)
        elif isinstance(event, RunStarted):
            self.active[event.run.run_id] = None
        elif isinstance(event, RunProgress):
            self.active[event.run.run_id] = event.progress
        elif isinstance(event, RunFinished):
            self.active.pop(event.run.run_id, None)
            self.row(event.run).records.append(event.record)
            self.finished += 1

    def row(self, run: PlannedRun) -> Row:
        """The row of a run's setting."""
        return self.rows.setdefault(repr(run.settings), Row(run.settings))

    @property
    def done(self) -> int:
        """Runs that are in the store."""
        return self.found + self.finished

    def time_left(self) -> str:
        """An estimate in words, or nothing while there is none."""
        left = self._remaining.seconds()
        if not left:
            return ""
        return f"about {max(1, round(left))} s left" if left < 100 else f"about {seconds(left)} left"


@dataclass
class Row:
    """One setting: the runs that this command has to do for it, and those that it has done."""

    settings: dict[str, Any]
    planned: list[PlannedRun] = field(default_factory=list)
    records: list[RunRecord] = field(default_factory=list)

    def median(self, measure: Callable[[RunRecord], float]) -> float | None:
        """The median over the measured runs so far."""
        values = [measure(record) for record in self.records if record.measured]
        return statistics.median(values) if values else None


def table_rows(state: SweepState) -> list[tuple[str, ...]]:
    """The cells of the live table: setting, seeds done, progress of the active ones, medians so far."""
    return [
        (
            *(setting(row.settings[axis]) for axis in state.axes),
            f"{state.n_seeds - len(row.planned) + len(row.records)}/{state.n_seeds}",
            " ".join(_progress(state, run) for run in row.planned if run.run_id in state.active),
            percent(row.median(lambda record: record.validation.accuracy)),
            percent(row.median(lambda record: record.test.accuracy)),
            seconds(row.median(lambda record: record.train_seconds / record.epochs if record.epochs else float("nan"))),
            ", ".join(sorted({record.status for record in row.records if not record.measured})),
        )
        for row in state.rows.values()
    ]


def _progress(state: SweepState, run: PlannedRun) -> str:
    progress = state.active[run.run_id]
    return "0 %" if progress is None else f"{100 * progress.step / max(1, progress.total_steps):.0f} %"


def table_headers(state: SweepState) -> tuple[str, ...]:
    """Headers for `table_rows`."""
    return (*map(axis_title, state.axes), "seeds", "running", "validation", "test", "per epoch", "")


def frame(state: SweepState, height: int) -> RenderableType:
    """The live table with a line under it; of a table higher than the terminal, the rows where things happen."""
    from rich.console import Group
    from rich.text import Text

    rows = table_rows(state)
    room = max(3, height - LINES_AROUND_TABLE)
    if len(rows) > room:
        running = len(state.axes) + 1
        rows = sorted(rows, key=lambda row: not row[running])[:room]
    parts = [
        f"{state.done} of {state.total} runs",
        state.time_left() if state.active or state.finished else "preparing the kernels",
    ]
    return Group(text_table(table_headers(state), rows), Text("\n" + ", ".join(filter(None, parts))))


def opening(state: SweepState, store: Path) -> str:
    """The first line: what there is, and what is to be done."""
    to_do = state.total - state.found
    manner = f", {state.jobs} at a time" if state.jobs and state.jobs > 1 else ""
    manner += f" ({COMPILING})" if to_do and must_compile() else ""
    if not state.found:
        return f"{count(state.total)} run{'s' * (state.total != 1)} to do{manner}"
    found = f"{count(state.found)} of {count(state.total)} runs found in {store}"
    return f"{found}, nothing to do" if not to_do else f"{found}, {count(to_do)} to do{manner}"


def finished_line(state: SweepState, record: RunRecord) -> str:
    """One line for a finished run: which of how many, its setting, its result, the time left."""
    digits = len(str(state.total))
    result = record.status if record.error is None else f"{record.status}: {record.error}"
    if record.measured:
        accuracies = f"validation {percent(record.validation.accuracy)}, test {percent(record.test.accuracy)}"
        result = f"{accuracies}, {seconds(record.train_seconds)}"
    where = f"{settings_text(record.settings, state.axes)}, seed {record.seed}"
    left = state.time_left()
    return f"[{state.done:{digits}d}/{state.total}] {where}: {result}" + (f"; {left}" if left else "")


@contextmanager
def sweep_view(state: SweepState, store: Path, stream: TextIO, *, quiet: bool = False) -> Iterator[Observer]:
    """An observer that shows the sweep on the stream, as befits it."""
    if quiet:
        yield state.observe
    elif stream.isatty():
        with _live(state, store, stream) as observer:
            yield observer
    else:
        yield _lines(state, store, stream)


def _lines(state: SweepState, store: Path, stream: TextIO) -> Observer:
    def observe(event: Event) -> None:
        state.observe(event)
        if isinstance(event, SweepStarted):
            print(opening(state, store), file=stream, flush=True)
        elif isinstance(event, RunFinished):
            print(finished_line(state, event.record), file=stream, flush=True)

    return observe


@contextmanager
def _live(state: SweepState, store: Path, stream: TextIO) -> Iterator[Observer]:
    from rich.console import Console
    from rich.live import Live

    console = Console(file=stream, highlight=False, markup=False)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        drawn = 0.0

        def observe(event: Event) -> None:
            nonlocal drawn
            state.observe(event)
            if isinstance(event, SweepStarted):
                console.print(opening(state, store))
            now = time.monotonic()
            if state.rows and (now - drawn > SECONDS_BETWEEN_FRAMES or not isinstance(event, RunProgress)):
                drawn = now
                live.update(frame(state, console.height), refresh=True)

        yield observe
