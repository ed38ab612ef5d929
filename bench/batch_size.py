"""Time of an epoch and of a step against the batch size, by pyperf: the compiled kernels and the NumPy reference.

    python bench/batch_size.py -o before.json
    python bench/batch_size.py -o after.json
    python -m pyperf compare_to before.json after.json --table

    python bench/batch_size.py --hidden 128 --batch-size 16,128 --dtype float32 --optimizer adam --fast

Every benchmark runs in processes of its own, one after the other, on one thread of linear algebra. One loop is one
epoch. The time of a step is the same measurement divided by the steps of an epoch, pyperf's inner loops, and is added
to the file when all is measured: an epoch is one call of the engine, so steps alone cannot be timed without timing
an epoch again. Compilation, loading and the drawing of an epoch's order are not in the times.
"""

from __future__ import annotations

import argparse
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyperf
from options import BATCH_SIZES, add_data_options, integers, name_of, words
from threadpoolctl import threadpool_limits

from fastfnn.atomic import write_atomically
from fastfnn.benchmarks.epochs import ENGINES, FAST, Epochs
from fastfnn.benchmarks.pyperf_files import benchmark_name, is_of_steps, suite_text, with_steps
from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset, load_dataset
from fastfnn.sweeps.environment import describe_environment
from fastfnn.training import warm_up

# pyperf starts its workers without these, and a worker that looks elsewhere for the compiled kernels compiles again.
INHERITED = ("FASTFNN_", "NUMBA_", "OMP_", "OPENBLAS_", "MKL_", "XDG_CACHE_", "LD_LIBRARY_PATH")
OURS = ("data", "hidden", "batch_size", "dtype", "engine", "optimizer", "batchnorm", "dropout", "l2", "input")
FEATURES = ("optimizer", "batchnorm", "dropout", "l2", "input")  # fields of the configuration


def add_options(parser: argparse.ArgumentParser) -> None:
    add_data_options(parser)
    parser.add_argument("--batch-size", type=integers, default=BATCH_SIZES, metavar="N,N,...")
    parser.add_argument("--dtype", type=words, default=["float32", "float64"], metavar="float32,float64")
    parser.add_argument("--engine", type=words, default=list(ENGINES), metavar=",".join(ENGINES))
    for name in FEATURES:
        default = TrainingConfig.model_fields[name].default
        parser.add_argument(f"--{name}", type=type(default), default=default, help=f"(default: {default})")


def forward_options(command: list[str], arguments: argparse.Namespace) -> None:
    """Gives a worker the options that pyperf does not know."""
    for name in OURS:
        value = getattr(arguments, name)
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        command.append(f"--{name.replace('_', '-')}={text}")


def inherited_variables() -> list[str]:
    return [name for name in os.environ if name.startswith(INHERITED)]


@functools.cache
def loaded(name: str) -> Dataset:
    return load_dataset(name)


def configurations(arguments: argparse.Namespace) -> Iterator[tuple[str, TrainingConfig]]:
    """Engine and configuration of every benchmark."""
    features = {name: getattr(arguments, name) for name in FEATURES}
    for batch_size in arguments.batch_size:
        for dtype in arguments.dtype:
            for engine in arguments.engine:
                yield (
                    engine,
                    TrainingConfig(hidden=arguments.hidden, batch_size=batch_size, dtype=dtype, **features),
                )


def warm_cache(arguments: argparse.Namespace) -> None:
    """Compiles once, here, what all the workers then load."""
    for engine, config in configurations(arguments):
        if engine == FAST:
            warm_up(loaded(arguments.data), config)


def epoch_timer(data: Dataset, config: TrainingConfig, engine: str) -> Any:
    """Seconds of so many epochs; the engine is made by the first call, which in a worker is a warm-up."""
    epochs = functools.cache(lambda: Epochs(data, config, engine))
    return lambda loops: sum(epochs().time_epoch() for _ in range(loops))


def metadata(arguments: argparse.Namespace) -> dict[str, Any]:
    """The machine, the versions and the options, as pyperf has them: texts and numbers."""
    facts = describe_environment(jobs=None)
    kept = {name: facts[name] for name in ("fastfnn", "numpy", "numba", "cpu", "usable_cores")}
    kept["blas"] = ", ".join(f"{library['internal_api']} {library.get('version', '')}" for library in facts["blas"])
    features = {name: getattr(arguments, name) for name in FEATURES}
    hidden = ",".join(map(str, arguments.hidden)) or "none"
    return {**kept, "blas_threads": 1, "data": name_of(arguments.data), "hidden": hidden, **features}


def finish(path: Path) -> None:
    """Adds the benchmarks of steps to a file and takes the names of machine and folders out of it."""
    measured = [each for each in pyperf.BenchmarkSuite.load(str(path)) if not is_of_steps(each)]
    suite = with_steps(measured)
    for benchmark in filter(is_of_steps, suite):
        print(f"{benchmark.get_name()}: Mean: {benchmark.format_value(benchmark.mean())}")
    write_atomically(path, suite_text(suite))


def measure(runner: pyperf.Runner, arguments: argparse.Namespace) -> None:
    data = loaded(arguments.data)
    for engine, config in configurations(arguments):
        runner.bench_time_func(
            benchmark_name(engine, config.dtype, config.batch_size),
            epoch_timer(data, config, engine),
            metadata={"steps": config.steps_per_epoch(len(data.train))},
        )


def main() -> None:
    runner = pyperf.Runner(processes=5, values=5, add_cmdline_args=forward_options)
    runner.argparser.description = __doc__
    runner.argparser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_options(runner.argparser)
    arguments = runner.parse_args()
    arguments.inherit_environ = [*(arguments.inherit_environ or []), *inherited_variables()]
    with threadpool_limits(limits=1):
        runner.metadata.update(metadata(arguments))
        if arguments.worker:
            measure(runner, arguments)
            return
        warm_cache(arguments)
        try:
            measure(runner, arguments)
        finally:  # what was measured before an interruption is whole
            for path in filter(None, (arguments.output, arguments.append)):
                if Path(path).exists():
                    finish(Path(path))


if __name__ == "__main__":
    main()
