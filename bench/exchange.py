"""What the threads of one run cannot do without: each reads what the other has just written, in every step."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np

from fastfnn import kernels
from fastfnn.kernels.compilation import entry_point
from fastfnn.kernels.structures import BYTES_PER_LINE, FLAG_STRIDE
from fastfnn.kernels.team import wait_for_all
from fastfnn.sweeps.environment import usable_cores
from fastfnn.teams import dissolve, give_way_address, run_together

ROUNDS = 20
PASSES = 200  # timed together, since one takes some microseconds


@entry_point
def take_turns(words: Any, own: int, read: int, count: int, part: Any, passes: int) -> int:
    """In each pass, changes so many words from `own` on, and, once the other thread has, reads those from `read` on."""
    total = 0
    for _ in range(passes):
        for i in range(own, own + count):
            words[i] += 1
        wait_for_all(part)
        for i in range(read, read + count):
            total += words[i]
        wait_for_all(part)
    return total


def exchange(size: int, rounds: int = ROUNDS) -> dict[str, Any] | None:
    """Seconds in which two threads each change half of so many bytes and read a half; None where there is one core.

    Each reads the half that the other one has changed, or, beside that, its own one.
    """
    if usable_cores() < 2:
        return None
    count = size // (2 * BYTES_PER_LINE) * BYTES_PER_LINE // 8
    words, (_, nothing, _) = np.zeros(2 * count, np.int64), kernels.unbound("float32")

    def seconds_of(*read: int) -> float:
        """Of a pass, in which each thread reads the half of this number."""
        flags, give_way = np.zeros(3 * FLAG_STRIDE, np.int64), give_way_address()
        parts = [nothing._replace(thread=t, threads=2, flags=flags, give_way=give_way) for t in (0, 1)]
        calls = [partial(take_turns, words, t * count, read[t] * count, count, parts[t], PASSES) for t in (0, 1)]
        started = time.perf_counter()
        run_together(calls, lambda: dissolve(parts))
        return (time.perf_counter() - started) / PASSES

    seconds_of(0, 1)  # compiles
    both = [(seconds_of(1, 0), seconds_of(0, 1)) for _ in range(rounds)]
    others, own = map(list, zip(*both, strict=True))
    return {"exchanged_bytes": words.nbytes, "other_core_seconds": others, "same_core_seconds": own}
