"""The short form behind `fastfnn bench`: the compiled kernels against the NumPy reference, in one process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyperf
from threadpoolctl import threadpool_limits

from fastfnn.benchmarks.documents import document
from fastfnn.benchmarks.epochs import FAST, REFERENCE, Epochs, dense_operations, network_text
from fastfnn.benchmarks.machine import sgemm_gflops
from fastfnn.benchmarks.pyperf_files import benchmark_name, epoch_benchmark, with_steps
from fastfnn.benchmarks.rounds import BeforeRound, interleaved
from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset


@dataclass(frozen=True)
class Row:
    """What was measured at one batch size."""

    batch_size: int
    steps: int
    fast: list[float] = field(default_factory=list)
    reference: list[float] = field(default_factory=list)

    @property
    def measured(self) -> bool:
        """Whether there is a time of both."""
        return bool(self.fast and self.reference)

    @property
    def ratio(self) -> float:
        """How many times as fast, by the minima."""
        return min(self.reference) / min(self.fast)

    @property
    def steps_per_second(self) -> float:
        """Steps of the compiled kernels."""
        return self.steps / min(self.fast)


class ShortForm:
    """A comparison in progress; what it has measured is there even when it is interrupted."""

    def __init__(self, data: Dataset, config: TrainingConfig, batch_sizes: Sequence[int], rounds: int) -> None:
        self.data, self.config, self.rounds = data, config, rounds
        self.configs = {size: config.replace(batch_size=size) for size in batch_sizes}
        examples = len(data.train)
        self.all_rows = {size: Row(size, each.steps_per_epoch(examples)) for size, each in self.configs.items()}
        self.operations = dense_operations(data, config)
        self.sgemm_rates: list[float] = []

    def measure(self, announce: BeforeRound) -> None:
        """Compiles and warms up, then times; `announce` is told the number of each round that begins."""

        def before_round(number: int) -> None:
            announce(number)
            self.sgemm_rates.append(sgemm_gflops(dtype=self.config.dtype))

        with threadpool_limits(limits=1, user_api="blas"):
            timers = {
                (size, engine): Epochs(self.data, config, engine).time_epoch
                for size, config in self.configs.items()
                for engine in (FAST, REFERENCE)
            }
            for (size, engine), seconds in interleaved(timers, self.rounds, before_round):
                getattr(self.all_rows[size], engine).append(seconds)

    @property
    def rows(self) -> list[Row]:
        """The batch sizes at which both were timed."""
        return [row for row in self.all_rows.values() if row.measured]

    @property
    def sgemm_rate(self) -> float:
        """The best rate of the product of large matrices, in 10**9 operations a second."""
        return max(self.sgemm_rates)

    @property
    def dense_seconds(self) -> float:
        """What the products of an epoch would take at that rate, were no feature zero."""
        return self.operations / self.sgemm_rate / 1e9

    def fraction(self, row: Row) -> float:
        """The rate of the dense products of an epoch, as a share of that of large matrices."""
        return self.dense_seconds / min(row.fast)

    def to_document(self) -> dict[str, Any]:
        """Everything, for JSON."""
        settings = {
            "rounds": self.rounds,
            "config": self.config.model_dump(mode="json"),
            "data": self.data.describe(),
            "blas_threads": 1,
            "dense_operations": self.operations,
            "sgemm_gflops": self.sgemm_rates,
        }
        return document("short form", settings, [self._measurement(row) for row in self.rows])

    def _measurement(self, row: Row) -> dict[str, Any]:
        return {
            "batch_size": row.batch_size,
            "steps": row.steps,
            "seconds": {FAST: row.fast, REFERENCE: row.reference},
            "ratio": row.ratio,
            "steps_per_second": row.steps_per_second,
            "fraction_of_sgemm": self.fraction(row),
        }

    def to_pyperf(self) -> pyperf.BenchmarkSuite:
        """The times of epochs and steps, as pyperf has them."""
        facts = {"data": self.data.name, "network": network_text(self.data, self.config), "blas_threads": 1}
        return with_steps(
            [
                epoch_benchmark(
                    benchmark_name(engine, self.config.dtype, row.batch_size), getattr(row, engine), row.steps, facts
                )
                for row in self.rows
                for engine in (FAST, REFERENCE)
            ]
        )
