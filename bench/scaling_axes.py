"""The axes of scaling.py: each takes the settings of a measurement and returns what was measured, point by point."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from children import Child
from exchange import exchange
from fresh_engines import FreshEngines
from options import rounds_of, say
from reading import reader
from synthetic import rows_of_density, write_mnist_like

from fastfnn.benchmarks.epochs import Epochs, dense_operations
from fastfnn.benchmarks.machine import fma_work, sgemm_gflops
from fastfnn.benchmarks.rounds import times_of
from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset, load_dataset
from fastfnn.errors import ConfigError
from fastfnn.rows import COST_OF_NONZERO, order_of_features, rows_of_split

Measurements = list[dict[str, Any]]

DENSITY_COLUMNS = 784
DEPTH_UNITS = 20
KINDS = ("sparse", "dense", "auto")
SHORT = 6  # times as many rounds where one takes some hundredths of a second
FMA_ROUNDS = 4_000_000  # about as long as an epoch
TRAINING, READING, MULTIPLY_ADDS = "training", "reading the rows alone", "multiply-adds in registers"


@dataclass(frozen=True)
class Points:
    """Where to measure: the points of every axis, and what is the same at all of them."""

    rounds: int
    batch_sizes: Sequence[int]
    thread_batch_sizes: Sequence[int]
    rows: Sequence[int]
    widths: Sequence[int]
    depths: Sequence[int]
    densities: Sequence[float]
    density_rows: int
    cores: int
    config: TrainingConfig
    data: str


def rows_axis(points: Points) -> Measurements:
    """Rows like MNIST's, each number of them in a process of its own; the processes take turns."""
    with ExitStack() as stack:
        processes = {}
        for rows in points.rows:
            say(f"rows: {rows:,}")
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            write_mnist_like(Path(folder), rows)
            processes[rows] = Child(stack, "rows_process.py", folder, points.config.to_json())
        timers = {
            (rows, what): process.timer(what) for rows, process in processes.items() for what in ("epoch", "reading")
        }
        times = times_of(timers, points.rounds, rounds_of("rows", points.rounds))
    return [
        process.description | {"epoch_seconds": times[rows, "epoch"], "reading_seconds": times[rows, "reading"]}
        for rows, process in processes.items()
    ]


def width_axis(points: Points) -> Measurements:
    """One hidden layer of so many units."""
    configs = {width: points.config.replace(hidden=(width,)) for width in points.widths}
    return _networks("width", configs, points)


def depth_axis(points: Points) -> Measurements:
    """So many hidden layers of 20 units."""
    configs = {depth: points.config.replace(hidden=(DEPTH_UNITS,) * depth) for depth in points.depths}
    return _networks("depth", configs, points)


def _networks(axis: str, configs: Mapping[int, TrainingConfig], points: Points) -> Measurements:
    data = load_dataset(points.data)
    rate = sgemm_gflops()
    times = times_of(_timers(data, configs), points.rounds, rounds_of(axis, points.rounds))
    return [
        {
            axis: value,
            "epoch_seconds": times[value],
            "dense_operations": dense_operations(data, config),
            "sgemm_gflops": rate,
        }
        for value, config in configs.items()
    ]


def density_axis(points: Points) -> Measurements:
    """Rows of random bytes, this share of them not zero: all features listed, all dense, and as `auto` decides.

    Once all columns are alike, where `auto` takes the faster of the others, and once they differ, where it splits them.
    """
    found = []
    for uneven in (False, True):
        for density in points.densities:
            data = rows_of_density(points.density_rows, DENSITY_COLUMNS, density, uneven=uneven)
            configs = {kind: points.config.replace(input=kind) for kind in KINDS}
            what = f"density {density:g}{', uneven' * uneven}"
            found.append(
                {
                    "density": density,
                    "uneven": uneven,
                    "rows": points.density_rows,
                    "columns": DENSITY_COLUMNS,
                    "epoch_seconds": times_of(_timers(data, configs), points.rounds, rounds_of(what, points.rounds)),
                    "dense_features": order_of_features(data, "auto").dense,
                    "cost_of_nonzero": COST_OF_NONZERO,
                }
            )
    return found


def threads_axis(points: Points) -> Measurements:
    """So many threads within a run; a number that this version refuses is said and left out.

    Beside them, what two threads take to exchange as many bytes as the first layer's weights have.
    """
    data = load_dataset(points.data)
    engines: dict[tuple[int, int], FreshEngines] = {}
    refused: Measurements = []
    for threads in range(1, points.cores + 1):
        try:
            for size in points.thread_batch_sizes:
                config = points.config.replace(threads=threads, batch_size=size)
                engines[threads, size] = FreshEngines(data, config)
        except ConfigError as error:
            say(f"threads: {threads} refused: {error}")
            refused.append({"threads": threads, "refused": str(error)})
    rounds = SHORT * points.rounds
    timers = {key: each.time_epoch for key, each in engines.items()}
    timed = [
        {
            "threads": threads,
            "used_threads": engines[threads, size].threads,
            "by_kinds": engines[threads, size].by_kinds,
            "batch_size": size,
            "steps": engines[threads, size].steps,
            "epoch_seconds": seconds,
        }
        for (threads, size), seconds in times_of(timers, rounds, rounds_of("threads", rounds)).items()
    ]
    weights = data.n_features * points.config.hidden[0] * np.dtype(points.config.dtype).itemsize
    exchanged = exchange(weights)
    return timed + refused + ([exchanged] if exchanged else [])


def concurrent_axis(points: Points) -> Measurements:
    """So many runs side by side in threads, each on its own network: seconds until all of them did an epoch.

    Beside them, what the cores and the memory that they share give to work that does nothing else: multiply-adds in
    registers, and reading the rows of an epoch.
    """
    data, numbers = load_dataset(points.data), range(points.cores)
    works: dict[Any, list[Callable[[], object]]] = {
        size: [Epochs(data, points.config.replace(batch_size=size, seed=n)).time_epoch for n in numbers]
        for size in points.batch_sizes
    }
    rows = rows_of_split(data, data.train, order_of_features(data, points.config.input), points.config.dtype)
    works[READING] = [reader(rows, data.train.indices, seed)[0] for seed in numbers]
    works[MULTIPLY_ADDS] = [fma_work(FMA_ROUNDS) for _ in numbers]
    with ThreadPoolExecutor(points.cores) as pool:
        timers = {
            (work, n): _side_by_side(pool, runs[:n]) for work, runs in works.items() for n in range(1, points.cores + 1)
        }
        rounds = SHORT * points.rounds
        times = times_of(timers, rounds, rounds_of("concurrent", rounds))
    return [
        {
            "runs": n,
            "work": TRAINING if work in points.batch_sizes else work,
            "batch_size": work if work in points.batch_sizes else None,
            "seconds": seconds,
            "throughput_ratio": n * min(times[work, 1]) / min(seconds),
        }
        for (work, n), seconds in times.items()
    ]


def _side_by_side(pool: ThreadPoolExecutor, works: Sequence[Callable[[], object]]) -> Callable[[], float]:
    def seconds() -> float:
        """From the start of the first one, once all threads are there, until the last one is done."""
        ready = threading.Barrier(len(works))

        def do(work: Callable[[], object]) -> tuple[float, float]:
            ready.wait()
            started = time.perf_counter()
            work()
            return started, time.perf_counter()

        started, ended = zip(*(each.result() for each in [pool.submit(do, work) for work in works]), strict=True)
        return float(max(ended) - min(started))

    return seconds


def _timers(data: Dataset, configs: Mapping[Any, TrainingConfig]) -> dict[Any, Callable[[], float]]:
    return {key: Epochs(data, config).time_epoch for key, config in configs.items()}


AXES: dict[str, Callable[[Points], Measurements]] = {
    "rows": rows_axis,
    "width": width_axis,
    "depth": depth_axis,
    "density": density_axis,
    "threads": threads_axis,
    "concurrent": concurrent_axis,
}
