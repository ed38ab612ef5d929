"""When will the sweep be done?"""

from __future__ import annotations

import heapq
import statistics
import time
from collections.abc import Callable, Iterable

from fastfnn.sweeps.events import Event, RunFinished, RunProgress, RunStarted, SweepStarted
from fastfnn.sweeps.plan import PlannedRun, expected_work

MIN_FRACTION = 0.01
"""Of a run that has done less, nothing is concluded."""


class RemainingTime:
    """Estimates the seconds left of a sweep from its events: pass each to `observe`, then ask `seconds`.

    A run is expected to take the median of the finished runs of its setting; else what runs of its setting now in
    progress foretell; else the others' time for each unit of `expected_work`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._jobs = 1
        self._waiting: dict[str, PlannedRun] = {}
        self._active: dict[str, tuple[PlannedRun, float]] = {}
        self._fractions: dict[str, float] = {}
        self._durations: dict[str, list[float]] = {}
        self._rates: list[float] = []

    def observe(self, event: Event) -> None:
        """Takes one event of the sweep into account."""
        if isinstance(event, SweepStarted):
            self._jobs = event.jobs or 1
            self._waiting = {run.run_id: run for run in event.missing}
        elif isinstance(event, RunStarted):
            self._waiting.pop(event.run.run_id, None)
            self._active[event.run.run_id] = (event.run, self._clock())
        elif isinstance(event, RunProgress):
            self._fractions[event.run.run_id] = event.progress.step / max(1, event.progress.total_steps)
        elif isinstance(event, RunFinished):
            self._finish(event)

    def seconds(self) -> float | None:
        """Seconds until the last run ends, or None while nothing is known."""
        if not self._waiting and not self._active:
            return 0.0
        foretold = self._foretold()
        rates = self._rates or [total / expected_work(self._active[run_id][0].config) for run_id, total in foretold]
        if not rates:
            return None
        rate = statistics.median(rates)
        by_setting: dict[str, list[float]] = {}
        for run_id, total in foretold:
            by_setting.setdefault(_setting(self._active[run_id][0]), []).append(total)
        by_setting.update(self._durations)

        def expected(run: PlannedRun) -> float:
            known = by_setting.get(_setting(run))
            return statistics.median(known) if known else rate * expected_work(run.config)

        totals = dict(foretold)
        now = self._clock()
        busy = [max(0.0, totals.get(id_, expected(run)) - (now - start)) for id_, (run, start) in self._active.items()]
        return makespan(busy, map(expected, self._waiting.values()), self._jobs)

    def _finish(self, event: RunFinished) -> None:
        run, start = self._active.pop(event.run.run_id, (event.run, self._clock()))
        self._waiting.pop(run.run_id, None)
        self._fractions.pop(run.run_id, None)
        # A diverged or failed run ends early and says nothing about the others.
        if event.record.measured:
            duration = self._clock() - start
            self._durations.setdefault(_setting(run), []).append(duration)
            self._rates.append(duration / expected_work(run.config))

    def _foretold(self) -> list[tuple[str, float]]:
        """Whole durations of the runs in progress: time so far over the part that is done."""
        now = self._clock()
        known = [(run_id, start, self._fractions.get(run_id, 0.0)) for run_id, (_, start) in self._active.items()]
        return [(run_id, (now - start) / part) for run_id, start, part in known if part >= MIN_FRACTION]


def makespan(busy: Iterable[float], waiting: Iterable[float], jobs: int) -> float:
    """Seconds until `jobs` workers are done, who are busy for these seconds and then take the waiting runs in order."""
    ends = list(busy)
    ends += [0.0] * (jobs - len(ends))
    heapq.heapify(ends)
    for duration in waiting:
        heapq.heapreplace(ends, ends[0] + duration)
    return max(ends)


def _setting(run: PlannedRun) -> str:
    return repr(sorted(run.settings.items()))
