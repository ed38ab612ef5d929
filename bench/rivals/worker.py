"""A process that trains one peer: requests come in as lines of JSON, answers go out likewise.

    python -m rivals.worker '{"peer": "numpy", "threads": 1, "workload": {...}}'

Requests: {"ask": "prepare", "batch_size": B} makes the network and does the checked steps, {"ask": "epoch",
"batch_size": B, "epoch": E} trains on the order of that epoch and times it, {"ask": "rates"} measures the core. The
first line out says that the data is loaded. The process ends with its input.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
from typing import Any, TextIO

from . import RIVALS
from .peer import Peer, UnavailableError
from .workload import Workload, first_steps, order_of

Answer = dict[str, Any]


class Trainer:
    """The peer's networks, one for each batch size."""

    def __init__(self, peer: str, threads: int, workload: dict[str, Any]) -> None:
        module, _, name = RIVALS[peer].factory.partition(":")
        self.factory = getattr(importlib.import_module(module), name)
        self.threads = threads
        self.workload = Workload(**workload | {"hidden": tuple(workload["hidden"])})
        self.data = self.workload.load()
        self.peers: dict[int, Peer] = {}

    def prepare(self, batch_size: int) -> Answer:
        """The costs of the first steps, or why the peer cannot do them."""
        try:
            peer = self.factory(self.data, self.workload.config(batch_size), self.threads)
        except UnavailableError as reason:
            return {"unavailable": str(reason)}
        self.peers[batch_size] = peer
        losses = peer.step_losses(first_steps(self.data, batch_size))
        return {"costs": [loss / batch_size for loss in losses]}

    def epoch(self, batch_size: int, epoch: int) -> Answer:
        """Seconds and mean loss of an epoch; drawing its order is not in them."""
        peer, order = self.peers[batch_size], order_of(self.data, epoch)
        gc.collect()
        gc.freeze()  # what is alive, a compiler's memory above all, takes seconds to search: once is enough
        started = time.perf_counter()
        losses = peer.epoch(order)
        seconds = time.perf_counter() - started
        return {"seconds": seconds, "loss": losses / len(order)}

    def rates(self) -> Answer:
        """What a core can do, in 10**9 operations a second."""
        from fastfnn.benchmarks.machine import fma_peak_gflops, sgemm_gflops

        return {"sgemm_gflops": sgemm_gflops(), "fma_peak_gflops": fma_peak_gflops()}


def keep_to_cores(count: int) -> None:
    """Lets this process run on so many cores, the last ones: interruptions often go to the first.

    JAX counts them to choose its threads, and one-thread peers all get the same core.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-count:])


def take_standard_streams() -> tuple[TextIO, TextIO]:
    """Requests and answers on descriptors of their own; what libraries print goes to standard error."""
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w", buffering=1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def main() -> None:
    requests, answers = take_standard_streams()
    description = json.loads(sys.argv[1])
    keep_to_cores(description["threads"])
    trainer = Trainer(**description)
    answer_to = {"prepare": trainer.prepare, "epoch": trainer.epoch, "rates": trainer.rates}
    print(json.dumps({"loaded": True}), file=answers)
    for line in requests:
        request = json.loads(line)
        print(json.dumps(answer_to[request.pop("ask")](**request)), file=answers)


if __name__ == "__main__":
    main()
