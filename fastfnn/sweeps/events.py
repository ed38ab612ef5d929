"""What a sweep tells its observer, from which a live table and the time left can be drawn.

All events reach the observer in the thread that called `run_sweep`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastfnn.progress import Progress
from fastfnn.sweeps.plan import PlannedRun
from fastfnn.sweeps.store import RunRecord, SweepResults

if TYPE_CHECKING:
    from fastfnn.network import Network


@dataclass(frozen=True)
class SweepStarted:
    """A sweep of `total` runs, of which the store has `finished`; `missing` are done now, in this order.

    `jobs` is the number of runs at a time, None when only the executor knows it.
    """

    total: int
    finished: int
    missing: tuple[PlannedRun, ...]
    jobs: int | None


@dataclass(frozen=True)
class RunStarted:
    """A worker has begun with this run."""

    run: PlannedRun


@dataclass(frozen=True)
class RunProgress:
    """Where a run is; the latest only, when it has moved several times since the observer was last called."""

    run: PlannedRun
    progress: Progress


@dataclass(frozen=True)
class RunFinished:
    """A run has ended, in whatever status, and is in the store; its network is not, and is None for a failed run."""

    run: PlannedRun
    record: RunRecord
    network: Network | None = None


@dataclass(frozen=True)
class SweepFinished:
    """Nothing is left to do."""

    results: SweepResults


Event = SweepStarted | RunStarted | RunProgress | RunFinished | SweepFinished
Observer = Callable[[Event], object]
