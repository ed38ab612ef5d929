"""Files that `python -m pyperf compare_to` reads, with a benchmark for the epoch and one for the step."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import pyperf

EPOCH, STEP = "epoch", "step"
NAMING_METADATA = ("hostname", "python_executable", "python_config_args", "command", "user")
"""What pyperf notes of its own accord and names a machine, a person or a folder."""


def benchmark_name(engine: str, dtype: str, batch_size: int, per: str = EPOCH) -> str:
    """The name that the same measurement has in every file."""
    return f"{engine} {dtype} batch {batch_size} {per}"


def epoch_benchmark(name: str, seconds: Sequence[float], steps: int, metadata: Mapping[str, Any]) -> pyperf.Benchmark:
    """A benchmark of epochs that were timed in this process."""
    facts = {**metadata, "name": name, "unit": "second", "steps": steps}
    return pyperf.Benchmark([pyperf.Run(list(seconds), metadata=facts, collect_metadata=False)])


def with_steps(epochs: Sequence[pyperf.Benchmark]) -> pyperf.BenchmarkSuite:
    """A suite of benchmarks of epochs, each followed by the same runs for each step.

    A step is an epoch's time divided by its steps, which is what pyperf's inner loops mean, so nothing is measured
    twice.
    """
    return pyperf.BenchmarkSuite([each for epoch in epochs for each in (_without_names(epoch), _per_step(epoch))])


def suite_text(suite: pyperf.BenchmarkSuite) -> str:
    """The content of the suite's file."""
    text = io.StringIO()
    suite.dump(text)
    return text.getvalue()


def is_of_steps(benchmark: pyperf.Benchmark) -> bool:
    """Whether `with_steps` made it."""
    return str(benchmark.get_name()).endswith(f" {STEP}")


def _without_names(benchmark: pyperf.Benchmark) -> pyperf.Benchmark:
    return pyperf.Benchmark([_copied(run, {}, 1) for run in benchmark.get_runs()])


def _per_step(benchmark: pyperf.Benchmark) -> pyperf.Benchmark:
    name = benchmark.get_name().removesuffix(EPOCH) + STEP
    return pyperf.Benchmark(
        [
            _copied(run, {"name": name, "inner_loops": steps}, steps)
            for run in benchmark.get_runs()
            for steps in [run.get_metadata()["steps"]]
        ]
    )


def _copied(run: pyperf.Run, changes: Mapping[str, Any], divisor: int) -> pyperf.Run:
    """A run with other metadata and all its times divided."""
    kept = {name: value for name, value in run.get_metadata().items() if name not in NAMING_METADATA}
    return pyperf.Run(
        [value / divisor for value in run.values],
        warmups=[(loops, value / divisor) for loops, value in run.warmups],
        metadata={**kept, **changes},
        collect_metadata=False,
    )
