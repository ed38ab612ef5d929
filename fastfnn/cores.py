"""On which cores the threads of a team begin."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable


def _find_current_core() -> Callable[[], int] | None:
    """The system's function that tells the calling thread's core, where there is one and threads can be moved."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    function: Callable[[], int] | None = getattr(ctypes.CDLL(None), "sched_getcpu", None)
    return function


current_core = _find_current_core()


class OwnCores:
    """Lets each thread of a team begin on a core of its own, where there are enough; the system may move it later.

    Linux may wake a thread on the core of the one that wakes it, although others are idle, and leave both there for
    tens of milliseconds, in which each waits for the other. After a pause of 50 ms, most epochs of two threads took two
    to three times as long.
    """

    def __init__(self) -> None:
        self._taken: set[int] = set()
        self._lock = threading.Lock()

    def take(self) -> None:
        """Moves the calling thread if another one has begun on its core."""
        if current_core is None:
            return
        with self._lock, contextlib.suppress(OSError):  # where a process may not choose its cores
            if current_core() in self._taken:
                allowed = os.sched_getaffinity(0)
                os.sched_setaffinity(0, allowed - self._taken or allowed)
                os.sched_setaffinity(0, allowed)
            self._taken.add(current_core())
