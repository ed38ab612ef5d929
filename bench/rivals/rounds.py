"""The benchmark itself: workers are started, made to prove that they do the same, and timed in turn."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from fastfnn.benchmarks.rounds import interleaved
from fastfnn.sweeps.environment import usable_cores

from . import OURS
from .processes import Worker, running
from .workload import Workload

COST_TOLERANCE = 1e-4
# Over thousands of steps rounding grows, but a batch too few or a wrong order is more than this part of the loss.
EPOCH_TOLERANCE = 0.01
PAUSE = 0.05  # seconds in which the threads of the worker before fall asleep

Say = Callable[[str], None]


class DisagreementError(Exception):
    """Peers compute different things, so their times must not be compared."""


@dataclass
class Measurement:
    """The epochs of one peer, number of threads and batch size."""

    worker: Worker
    batch_size: int
    costs: list[float]
    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.worker.name}, batch size {self.batch_size}"

    def timed_epoch(self) -> float:
        """Trains for two epochs and returns the seconds of the second one: in training, too, one comes after another.

        After a pause, and after the epochs of others, an epoch takes a fraction of a millisecond longer, until the core
        is awake and what it needs is back in the caches: nothing to most, but a twentieth to an epoch of 10 ms.
        """
        time.sleep(PAUSE)
        self.next_epoch()
        return self.next_epoch()

    def next_epoch(self) -> float:
        """Trains for an epoch and returns its seconds."""
        answer = self.worker.ask("epoch", batch_size=self.batch_size, epoch=len(self.losses))
        self.losses.append(answer["loss"])
        return float(answer["seconds"])

    def as_document(self) -> dict[str, Any]:
        """Plain values; losses are of all epochs, of which the first warmed up and then every second one was timed."""
        own = {"peer": self.worker.peer, "threads": self.worker.threads, "batch_size": self.batch_size}
        return own | {"seconds": self.seconds, "losses": self.losses, "first_costs": self.costs}


@dataclass(frozen=True)
class Result:
    """All measurements, the rates of the core in each round, and by peer why it is missing."""

    measurements: list[Measurement]
    rates: list[dict[str, float]]
    unavailable: dict[str, str]


def measure(
    workload: Workload, wanted: Sequence[tuple[str, int]], batch_sizes: Sequence[int], rounds: int, say: Say
) -> Result:
    """Times epochs of every wanted (peer, threads) at every batch size, in interleaved rounds after one of warming up.

    What is not timed (loading, compiling, the checks, warming up) is done by as many workers at a time as there are
    cores; in the rounds a worker has the machine to itself. The workers are ended when this ends, however it does.

    Raises:
        DisagreementError: when they compute different things.
        WorkerError: when one ends early.
    """
    with ExitStack() as stack:
        # Left last: by then the workers have ended, so no thread waits for one any more.
        pool = stack.enter_context(ThreadPoolExecutor(usable_cores()))
        workers = [stack.enter_context(running(*pair, workload)) for pair in wanted]
        # Those with one thread share a core, so they come in turn with those that have all.
        workers.sort(key=lambda each: [pair[0] for pair in wanted].index(each.peer))
        measurements, unavailable = [], {}
        for each, prepared, reason in pool.map(lambda each: _prepare(each, batch_sizes, say), workers):
            measurements += prepared
            if reason is not None:
                unavailable[each.name] = reason
        _check_first_steps(measurements)
        list(pool.map(lambda each: _warm_up(each, measurements, say), workers))
        _check_first_epoch(measurements)
        rates = _run(measurements, rounds, say)
    return Result(measurements, rates, unavailable)


def _prepare(worker: Worker, batch_sizes: Sequence[int], say: Say) -> tuple[Worker, list[Measurement], str | None]:
    """Lets a worker make its networks and do their first steps; and why it cannot, if so."""
    worker.wait_until_loaded()
    prepared: list[Measurement] = []
    for batch_size in batch_sizes:
        say(f"preparing {worker.name}, batch size {batch_size}")
        answer = worker.ask("prepare", batch_size=batch_size)
        if "unavailable" in answer:
            return worker, prepared, answer["unavailable"]
        prepared.append(Measurement(worker, batch_size, answer["costs"]))
    return worker, prepared, None


def _warm_up(worker: Worker, measurements: Sequence[Measurement], say: Say) -> None:
    for each in measurements:
        if each.worker is worker:
            say(f"warming up {each.name}")
            each.next_epoch()


def _check_first_steps(measurements: Sequence[Measurement]) -> None:
    for batch_size, group in by_batch_size(measurements).items():
        check_costs(batch_size, {each.name: each.costs for each in group})


def check_costs(batch_size: int, costs: Mapping[str, Sequence[float]]) -> None:
    """Compares the costs of the first steps of all peers.

    Raises:
        DisagreementError: naming the step and the peer that is farthest from the median.
    """
    for step, of_step in enumerate(zip(*costs.values(), strict=True)):
        # Asked for by name: NaN is neither larger nor smaller than anything, so `max` and `min` may pass over it.
        if all(map(math.isfinite, of_step)) and max(of_step) - min(of_step) <= COST_TOLERANCE:
            continue
        middle = _median(of_step)
        odd = max(costs, key=lambda name: _distance(costs[name][step], middle))
        raise DisagreementError(
            f"batch size {batch_size}, step {step + 1}: {odd} has the cost {costs[odd][step]:.6f}, "
            f"the median of {len(costs)} peers is {middle:.6f}"
        )


def _median(values: Sequence[float]) -> float:
    """Of those that are finite."""
    return statistics.median(list(filter(math.isfinite, values)) or [math.nan])


def _distance(value: float, middle: float) -> float:
    return abs(value - middle) if math.isfinite(value) else math.inf


def _check_first_epoch(measurements: Sequence[Measurement]) -> None:
    for group in by_batch_size(measurements).values():
        check_losses({each.name: each.losses[0] for each in group})


def check_losses(losses: Mapping[str, float]) -> None:
    """Compares the mean losses of the first epoch of all peers at a batch size.

    Raises:
        DisagreementError: naming the peer that is farthest from the median.
    """
    middle = _median(list(losses.values()))
    odd = max(losses, key=lambda name: _distance(losses[name], middle))
    if not _distance(losses[odd], middle) <= EPOCH_TOLERANCE * middle:
        raise DisagreementError(
            f"{odd}: the mean loss of the first epoch is {losses[odd]:.6f}, the median {middle:.6f}"
        )


def by_batch_size(measurements: Sequence[Measurement]) -> dict[int, list[Measurement]]:
    """Those that must agree."""
    groups: dict[int, list[Measurement]] = {}
    for each in measurements:
        groups.setdefault(each.batch_size, []).append(each)
    return groups


def _run(measurements: Sequence[Measurement], rounds: int, say: Say) -> list[dict[str, float]]:
    """Fills in the seconds of all rounds; before each round the core's rates are measured."""
    ours = next(each.worker for each in measurements if each.worker.peer == OURS)
    rates: list[dict[str, float]] = []
    started, heading = time.monotonic(), ""

    def begin(number: int) -> None:
        nonlocal heading
        rates.append(ours.ask("rates"))
        heading = f"round {number + 1} of {rounds}{_time_left(time.monotonic() - started, number, rounds)}"

    timers = {number: each.timed_epoch for number, each in enumerate(measurements)}
    for number, seconds in interleaved(timers, rounds, begin):
        measurements[number].seconds.append(seconds)
        say(f"{heading}: {measurements[number].name}")
    return rates


def _time_left(elapsed: float, done: int, rounds: int) -> str:
    """What the rounds that are done say about the others; nothing in the first round."""
    if not done:
        return ""
    minutes, seconds = divmod(round(elapsed / done * (rounds - done)), 60)
    return f", {minutes}:{seconds:02} left"
