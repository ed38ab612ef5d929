"""Memory of this process, as Linux counts it.

`ru_maxrss` of a child will not do: what a child inherits at birth counts in it, so a child of a large parent seems
large. Nor does the resident size tell the memory that is needed, where files are mapped: their pages are resident too,
as long as nobody else wants the room. So the private (anonymous) pages are watched.
"""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType

SECONDS_BETWEEN_SAMPLES = 0.005


def memory_now(entry: str = "RssAnon") -> int | None:
    """Bytes of an entry of /proc/self/status, or None where there is none: RssAnon (private), VmHWM (peak resident)."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    sizes = [line.split()[1] for line in lines if line.startswith(f"{entry}:")]
    return 1024 * int(sizes[0]) if sizes else None


class PeakPrivateMemory:
    """Watches the private memory of this process from a thread while the body of a `with` runs.

    Attributes:
        bytes: the largest that was seen, or None where the system does not tell.
    """

    def __init__(self) -> None:
        self.bytes = memory_now()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._done.wait(SECONDS_BETWEEN_SAMPLES):
            self._look()

    def _look(self) -> None:
        now = memory_now()
        if now is not None and self.bytes is not None:
            self.bytes = max(self.bytes, now)

    def __enter__(self) -> PeakPrivateMemory:
        """Starts to watch."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Looks a last time."""
        self._done.set()
        self._thread.join()
        self._look()
