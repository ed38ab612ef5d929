"""What the threads of one run cannot do without: each reads what the other has just written, in every step."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from fastfnn import kernels
from fastfnn.kernels.compilation import entry_point
from fastfnn.kernels.structures import BYTES_PER_LINE, FLAG_STRIDE
from fastfnn.kernels.team import wait_for_all
from fastfnn.sweeps.environment import usable_cores
from fastfnn.teams import give_way_address

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
    words = np.zeros(2 * count, np.int64)
    give_way = give_way_address()

    def turn(thread: int, read: int, flags: Any) -> None:
        part = kernels.unbound("float32")[1]._replace(thread=thread, threads=2, flags=flags, give_way=give_way)
        take_turns(words, thread * count, read * count, count, part, PASSES)

    found: dict[str, list[float]] = {"other_core_seconds": [], "same_core_seconds": []}
    with ThreadPoolExecutor(2) as pool:
        for number in range(rounds + 1):
            for name, others in (("other_core_seconds", True), ("same_core_seconds", False)):
                flags = np.zeros(3 * FLAG_STRIDE, np.int64)
                started = time.perf_counter()
                turns = [pool.submit(turn, thread, 1 - thread if others else thread, flags) for thread in (0, 1)]
                for each in turns:
                    each.result()
                if number:  # the first round compiles
                    found[name].append((time.perf_counter() - started) / PASSES)
    return {"exchanged_bytes": words.nbytes, **found}
