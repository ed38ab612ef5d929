"""Where the time of an epoch goes: epochs with parts of the first layer left out, beside what limits those parts.

    python bench/breakdown.py --batch-size 16,128,1024 --rounds 9 --json result.json
    python bench/breakdown.py --hidden 128 --batch-size 128
    python bench/breakdown.py --input dense
    python bench/breakdown.py --synthetic 20000x20000@0.005 --hidden 64

A stage is an epoch with one part more than the stage before it, and what a part takes is the difference of the two: of
minima, over interleaved rounds in one process on one thread. Nothing is learnt on the way, since the first layer's
outputs are wrong until the last stage; the work does not depend on them. A batch of up to sixteen examples, of which
training goes through the dense and the listed features in one call, has two here, which takes a few percent longer.

Two limits, measured in the same process: the part's multiply-adds with all units for them always busy, and the time in
which one core reads a word of every cache line of the rows, row by row in the order of an epoch, and does nothing else.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from options import add_workload_options, integers, make_parser, name_of_workload, rounds_of, save, workload_of
from reading import reader
from rivals.workload import Workload

from fastfnn.benchmarks.documents import document
from fastfnn.benchmarks.epochs import Epochs, network_text
from fastfnn.benchmarks.machine import fma_peak_gflops
from fastfnn.benchmarks.rounds import milliseconds, times_of
from fastfnn.cli.output import print_table
from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.engine import KernelEngine
from fastfnn.kernels import Inputs, Rows, Share

LEARNING_RATE = 1e-9  # so small that wrong outputs do no harm
OTHERS = "later layers, loss and all else"
LISTED_FORWARD, DENSE_FORWARD = "listed features, forward", "dense features, forward"
LISTED_UPDATE, DENSE_UPDATE = "listed features, update", "dense features, update"
READING = "reading the rows, and nothing else"
STAGES = (OTHERS, LISTED_FORWARD, DENSE_FORWARD, LISTED_UPDATE, DENSE_UPDATE)
OF_RECORDS, OF_DENSE = (LISTED_FORWARD, LISTED_UPDATE), (DENSE_FORWARD, DENSE_UPDATE)


class Staged:
    """An engine whose epochs may leave parts of the first layer out."""

    def __init__(self, data: Dataset, config: TrainingConfig) -> None:
        self.epochs = Epochs(data, config)
        engine = self.epochs.engine
        assert isinstance(engine, KernelEngine)
        self.engine = engine
        (self.member,) = engine.members
        self.rows: Rows = engine.rows[id(data.train)]
        self.inputs = engine.bind(self.rows, self.member.share, few=False)
        self.no_entries = np.zeros_like(self.rows.entries)

    @property
    def stages(self) -> tuple[str, ...]:
        """Those that there are for the rows: a matrix lists nothing, and records may have listed features alone."""
        missing = (() if self.rows.records else OF_RECORDS) + (() if self.rows.dense else OF_DENSE)
        return tuple(stage for stage in STAGES if stage not in missing)

    def timer(self, stage: str) -> Callable[[], float]:
        """Times an epoch up to a stage."""
        member = self.engine.make_member(self.member.part, self._inputs(STAGES.index(stage)), self.member.share)

        def time_epoch() -> float:
            self.engine.members[0] = member
            return self.epochs.time_epoch()

        return time_epoch

    def _inputs(self, stage: int) -> Inputs:
        inputs = self.inputs
        missing = {
            "dense_forward": stage < STAGES.index(DENSE_FORWARD),
            "update": stage < STAGES.index(LISTED_UPDATE),
            "dense_update": stage < STAGES.index(DENSE_UPDATE),
        }
        inputs = inputs._replace(**{name: 0 * getattr(inputs, name) for name, out in missing.items() if out})
        if stage < STAGES.index(LISTED_FORWARD):  # records without values
            rows, whole = inputs.rows.copy(), inputs.whole.copy()
            rows[Rows._fields.index("entries")] = self.no_entries.ctypes.data
            rows[Rows._fields.index("dense")] = 0
            whole[Share._fields.index("cuts_stride")] = 0
            inputs = inputs._replace(rows=rows, whole=whole)
        return inputs


def multiply_adds(staged: Staged, data: Dataset, config: TrainingConfig) -> dict[str, int]:
    """Of each part of the first layer in an epoch; listed features are those that are not zero, and what fills up."""
    units, rows, indices = config.hidden[0], staged.rows, data.train.indices
    dense = units * len(indices) * rows.dense
    works = dict.fromkeys(OF_DENSE, dense)
    if rows.records:
        works |= dict.fromkeys(OF_RECORDS, units * int(rows.entries[1::2][indices].sum()))
    return works


def measure(data: Dataset, workload: Workload, batch_sizes: list[int], rounds: int) -> list[dict[str, Any]]:
    """The times of every stage and of reading the rows."""
    timers: dict[Any, Callable[[], float]] = {}
    works: dict[str, int] = {}
    for batch_size in batch_sizes:
        config = workload.config(batch_size)
        staged = Staged(data, config)
        works = multiply_adds(staged, data, config)
        timers |= {(batch_size, stage): staged.timer(stage) for stage in staged.stages}
    timers[0, READING], read_bytes = reader(staged.rows, data.train.indices)
    peak = fma_peak_gflops()
    times = times_of(timers, rounds, rounds_of("breakdown", rounds))
    found = []
    for batch_size in batch_sizes:
        before = 0.0
        for stage in staged.stages:
            seconds = times[batch_size, stage]
            work = works.get(stage)
            found.append(
                {
                    "part": stage,
                    "batch_size": batch_size,
                    "stage_seconds": seconds,
                    "seconds": min(seconds) - before,
                    "multiply_adds": work,
                    "peak_seconds": None if work is None else 2 * work / peak / 1e9,
                }
            )
            before = min(seconds)
    return [*found, {"part": READING, "bytes": read_bytes, "seconds": min(times[0, READING])}]


def table_of(measurements: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Headers and rows: a part a line, a batch size a column, in milliseconds."""
    parts = [each for each in measurements if "batch_size" in each]
    sizes = list(dict.fromkeys(each["batch_size"] for each in parts))
    rows = []
    for stage in dict.fromkeys(each["part"] for each in parts):
        of_stage = {each["batch_size"]: each for each in parts if each["part"] == stage}
        peak = of_stage[sizes[0]]["peak_seconds"]
        limit = "" if peak is None else milliseconds(peak)
        rows.append([stage, *(milliseconds(of_stage[size]["seconds"]) for size in sizes), limit])
    whole = [sum(each["seconds"] for each in parts if each["batch_size"] == size) for size in sizes]
    rows.append(["an epoch", *map(milliseconds, whole), ""])
    (reading,) = (each for each in measurements if each["part"] == READING)
    rows.append([reading["part"], *[milliseconds(reading["seconds"])] * len(sizes), ""])
    return ["", *(f"batch size {size}, ms" for size in sizes), "multiply-adds at the FMA peak, ms"], rows


def parse() -> argparse.Namespace:
    parser = make_parser(__doc__, rounds=9)
    add_workload_options(parser)
    parser.add_argument("--batch-size", type=integers, default=[16, 128, 1024], metavar="N,N,...")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    workload = workload_of(arguments, learning_rate=LEARNING_RATE)
    data = workload.load()
    measurements = measure(data, workload, arguments.batch_size, arguments.rounds)
    print_table(*table_of(measurements))
    settings = {
        "data": name_of_workload(workload),
        "network": network_text(data, workload.config(1)),
        "input": arguments.input,
        "rounds": arguments.rounds,
    }
    save(arguments.json, document("breakdown", settings, measurements))


if __name__ == "__main__":
    main()
