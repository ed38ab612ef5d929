"""What a core takes to read what another one has just written: the threads of one run do so in every step."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
from numba import njit

from fastfnn.kernels.structures import BYTES_PER_LINE

ROUNDS = 200


@njit(nogil=True)
def write(words: Any, value: int) -> None:
    """Writes every word."""
    for i in range(len(words)):
        words[i] = value


@njit(nogil=True)
def read(words: Any) -> int:
    """Reads a word of every cache line."""
    total = 0
    for i in range(0, len(words), 8):
        total += words[i]
    return total


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """This thread runs on one core meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def exchange(size: int, rounds: int = ROUNDS) -> dict[str, Any] | None:
    """Seconds of reading so many bytes that another core, or this one, has just written; None where there is but one.

    Also None where the system does not say on which cores a thread runs.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        return None
    words = np.zeros(size // BYTES_PER_LINE * BYTES_PER_LINE // 8, np.int64)

    def write_elsewhere(value: int) -> None:
        with on_core(cores[1]):
            write(words, value)

    def seconds_of_reading() -> float:
        started = time.perf_counter()
        read(words)
        return time.perf_counter() - started

    found: dict[str, list[float]] = {"other_core_seconds": [], "same_core_seconds": []}
    with on_core(cores[0]), ThreadPoolExecutor(1) as other:
        for value in range(rounds):
            other.submit(write_elsewhere, value).result()
            found["other_core_seconds"].append(seconds_of_reading())
            write(words, value)
            found["same_core_seconds"].append(seconds_of_reading())
    return {"exchanged_bytes": words.nbytes, **found}
