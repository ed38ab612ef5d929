"""The worker processes, as the benchmark sees them.

Number of threads and affinity are set before a framework is loaded, for nothing else holds for all of them. Idle
workers wait for input; the threads of their linear algebra spin for some milliseconds after their last task, and
telling them not to (OMP_WAIT_POLICY=PASSIVE) would slow down the peers that use them, so the benchmark pauses instead.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from .workload import Workload

BENCH = Path(__file__).parents[1]
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)
TAIL_LINES = 15


class WorkerError(Exception):
    """A worker ended before it answered; the message names the peer and ends with what it printed last."""


@contextmanager
def running(peer: str, threads: int, workload: Workload) -> Iterator[Worker]:
    """A process for one peer and number of threads, which begins to load its data; it ends with the context."""
    description = {"peer": peer, "threads": threads, "workload": dataclasses.asdict(workload)}
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            [sys.executable, "-m", "rivals.worker", json.dumps(description)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment_of(threads),
            start_new_session=True,  # Ctrl-C is for the benchmark, which ends its workers itself
        ) as process,
    ):
        try:
            yield Worker(peer, threads, process, errors)
        finally:
            process.kill()  # it has nothing to lose, and may be in the middle of an epoch
            assert process.stdin is not None
            with suppress(BrokenPipeError):  # what a worker that died did not read
                process.stdin.close()


@dataclass(frozen=True)
class Worker:
    """A running process and what it prints on standard error."""

    peer: str
    threads: int
    process: subprocess.Popen[str]
    errors: IO[bytes]

    @property
    def name(self) -> str:
        """For people."""
        return label(self.peer, self.threads)

    def wait_until_loaded(self) -> None:
        """Returns when the worker has its data; to be called once, before anything is asked.

        Raises:
            WorkerError: when it could not load.
        """
        self._answer()

    def ask(self, question: str, **details: int) -> dict[str, Any]:
        """The worker's answer.

        Raises:
            WorkerError: when there is none.
        """
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"ask": question, **details}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise self._died()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _died(self) -> WorkerError:
        status = self.process.wait()
        self.errors.seek(0)
        tail = self.errors.read().decode(errors="replace").splitlines()[-TAIL_LINES:]
        return WorkerError("\n".join([f"{self.name}: its process ended, status {status}", *tail]))


def label(peer: str, threads: int) -> str:
    """A peer's name with its threads, for people."""
    return f"{peer}, {threads} thread{'s' * (threads > 1)}"


def environment_of(threads: int) -> dict[str, str]:
    """The variables of a worker: those of the benchmark, the limits of all libraries, and where `rivals` is."""
    variables = dict(os.environ) | dict.fromkeys(THREAD_VARIABLES, str(threads))
    if threads == 1:
        flags = variables.get("XLA_FLAGS", "")
        variables["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
    paths = [str(BENCH), *filter(None, [variables.get("PYTHONPATH")])]
    return variables | {"PYTHONPATH": os.pathsep.join(paths)}
