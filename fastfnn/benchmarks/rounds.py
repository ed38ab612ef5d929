"""Interleaved rounds: every round times everything once, so that a machine that slows down slows all of it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

Key = TypeVar("Key")
BeforeRound = Callable[[int], object]


def interleaved(
    timers: Mapping[Key, Callable[[], float]], rounds: int, before_round: BeforeRound
) -> Iterator[tuple[Key, float]]:
    """Calls every timer once a round, and yields its key and what it returned.

    Every other round goes backwards, so that nothing is always timed after the same neighbour. Before each round
    `before_round` is called with its number, from 0.
    """
    for number in range(rounds):
        before_round(number)
        for key in list(timers)[:: -1 if number % 2 else 1]:
            yield key, timers[key]()


def times_of(
    timers: Mapping[Key, Callable[[], float]], rounds: int, before_round: BeforeRound
) -> dict[Key, list[float]]:
    """What `interleaved` yields, by key."""
    times: dict[Key, list[float]] = {key: [] for key in timers}
    for key, seconds in interleaved(timers, rounds, before_round):
        times[key].append(seconds)
    return times


def minimum_and_median(seconds: Sequence[float]) -> str:
    """Times in milliseconds as `minimum (median)`."""
    return f"{milliseconds(min(seconds))} ({milliseconds(statistics.median(seconds))})"


def milliseconds(seconds: float) -> str:
    """A time in milliseconds with a digit after the point, or three digits in all where it is short."""
    value = 1e3 * seconds
    return f"{value:#.3g}" if value < 10 else f"{value:.1f}"
