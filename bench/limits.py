"""What the machine allows: work that does nothing but what limits the epochs of a network.

    python bench/limits.py --json result.json
    python bench/limits.py --limit products,weights --rounds 20

products    The first layer's products of an epoch by NumPy's BLAS, of rows of floats in the order in which they lie.
weights     Going over the first layer's weights of a sparse matrix from the first one to the last, which is as fast as
            they come from where they are: reading them, and reading and writing them.
optimisers  Reading and writing as many numbers for every parameter as an optimiser does, once a step.
bytes       Products of bytes with weights of three bytes each, all operands in registers, where the processor has some.
registers   Epochs by batch size without matrix registers, beside those with them, where the processor has some.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from children import Child
from options import (
    BATCH_SIZES,
    add_data_options,
    integers,
    make_parser,
    name_of,
    rounds_of,
    save,
    say,
    synthetic,
    words,
)
from rivals.peer import dense_rows
from rivals.workload import Workload
from threadpoolctl import threadpool_limits

from fastfnn.benchmarks.documents import document
from fastfnn.benchmarks.epochs import parameter_count
from fastfnn.benchmarks.machine import FMA_ROUNDS, SUMS, sgemm_gflops
from fastfnn.benchmarks.rounds import milliseconds, times_of
from fastfnn.cli.output import print_table
from fastfnn.config import TrainingConfig
from fastfnn.data import load_dataset
from fastfnn.kernels.compilation import entry_point
from fastfnn.kernels.memory import PAGE_BYTES, aligned_zeros, round_up
from fastfnn.kernels.processor import HAS_BYTE_PRODUCTS, MATRICES, VECTOR_BYTES, features
from fastfnn.kernels.simd import (
    add_loads,
    as_words,
    dot_grid,
    load,
    repeat,
    splat_grid,
    store,
    store_grid,
    zeros,
)

Measurements = list[dict[str, Any]]

OPTIMISERS = {"momentum": 3, "Adam": 4}  # numbers of each parameter: weight, gradient and moments
BYTES_OF_WEIGHT = 3
PASSES = 100  # timed together, since one takes some microseconds
SHORT = 10  # times as many rounds where one takes less than a millisecond
READING, WRITING = "reading", "reading and writing"
WITHOUT, WITH = "vector registers alone", "vector and matrix registers"


def timer(function: Callable[..., None], *given: Any) -> Callable[[], float]:
    """Seconds of a call, after one that compiles."""
    function(*given)

    def seconds() -> float:
        started = time.perf_counter()
        function(*given)
        return time.perf_counter() - started

    return seconds


def products(arguments: argparse.Namespace) -> Measurements:
    """By batch size, forward and the gradient; batches lie one after the other, so no row is copied."""
    data = load_dataset(arguments.data)
    rows, units = np.ascontiguousarray(dense_rows(data)[data.train.indices]), arguments.hidden[0]
    generator = np.random.default_rng(0)
    weights = generator.random((rows.shape[1], units), dtype=np.float32)
    gradients = generator.random((len(rows), units), dtype=np.float32)

    def multiply(batch_size: int) -> None:
        outputs, of_weights = np.empty((batch_size, units), np.float32), np.empty_like(weights)
        for first in range(0, len(rows), batch_size):
            batch, of_batch = rows[first : first + batch_size], gradients[first : first + batch_size]
            np.matmul(batch, weights, out=outputs[: len(batch)])
            np.matmul(batch.T, of_batch, out=of_weights)

    with threadpool_limits(limits=1, user_api="blas"):
        rate = sgemm_gflops()
        timers = {size: timer(multiply, size) for size in arguments.batch_size}
        times = times_of(timers, arguments.rounds, rounds_of("products", arguments.rounds))
    operations = 4 * rows.size * units
    return [
        {"batch_size": size, "seconds": seconds, "operations": operations, "sgemm_gflops": rate}
        for size, seconds in times.items()
    ]


@entry_point
def read_all(numbers: Any, sums: Any) -> None:
    """Adds up all numbers, four vectors at a time."""
    like = zeros(numbers, VECTOR_BYTES)
    block = repeat(like, 4)
    for i in range(0, len(numbers), 4 * len(like)):
        block = add_loads(numbers, i, len(like), block)
    store_grid(repeat(block, 1), sums, 0, 0, len(like))


def weights(arguments: argparse.Namespace) -> Measurements:
    """Of a first layer in float32, from the first one to the last."""
    data = Workload(synthetic=arguments.synthetic).load()
    in_bytes = arguments.units * np.dtype(np.float32).itemsize
    numbers = aligned_zeros(round_up(data.n_features * in_bytes, 4 * VECTOR_BYTES) // 4, np.float32)
    sums = aligned_zeros(VECTOR_BYTES, np.float32)
    timers = {WRITING: timer(change_all, numbers, 1, 1), READING: timer(read_all, numbers, sums)}
    times = times_of(timers, SHORT * arguments.rounds, rounds_of("weights", SHORT * arguments.rounds))
    asked = data.train.features[data.train.indices].nnz * in_bytes
    facts = {"bytes": numbers.nbytes, "asked_bytes": asked}
    return [{"what": what, "seconds": seconds, **facts} for what, seconds in times.items()]


@entry_point
def change_all(numbers: Any, arrays: int, passes: int) -> None:
    """Reads and writes every number of some arrays, which are the rows of a matrix, side by side."""
    like = zeros(numbers, VECTOR_BYTES)
    stride = len(numbers) // arrays
    for _ in range(passes):
        for i in range(0, stride, len(like)):
            for to in range(i, i + arrays * stride, stride):
                store(load(numbers, to, like) + like, numbers, to)


def optimisers(arguments: argparse.Namespace) -> Measurements:
    """Of the network, in float32; the seconds are those of a pass."""
    data = load_dataset(arguments.data)
    parameters = parameter_count(data, arguments.hidden)
    timers = {}
    for name, count in OPTIMISERS.items():
        # Apart, lest a load waits for a store at its place in another page.
        stride = round_up(parameters * 4, PAGE_BYTES) + PAGE_BYTES // 4
        timers[name] = timer(change_all, aligned_zeros(count * stride // 4, np.float32), count, PASSES)
    times = times_of(timers, arguments.rounds, rounds_of("optimisers", arguments.rounds))
    return [
        {
            "optimiser": name,
            "numbers": OPTIMISERS[name],
            "parameters": parameters,
            "seconds": [each / PASSES for each in seconds],
        }
        for name, seconds in times.items()
    ]


@entry_point
def add_products_of_bytes(numbers: Any, sums: Any, rounds: int) -> None:
    """Adds four products to each lane of some sums, so often; they begin apart, lest the compiler make one of them."""
    words = as_words(numbers, 1)
    like = zeros(words, VECTOR_BYTES)
    grid = splat_grid(words, 0, 1, repeat(repeat(like, SUMS), 1))
    for _ in range(rounds):
        grid = dot_grid(words, 0, 0, words, 0, 0, grid)
    store_grid(grid, as_words(sums, 1), 0, 0, len(like))


def products_of_bytes(arguments: argparse.Namespace) -> Measurements:
    """The peak of one core; an operation is one of float32 numbers, for which three products of bytes stand."""
    if not HAS_BYTE_PRODUCTS:
        say("bytes: this processor has no products of bytes")
        return []
    lanes = VECTOR_BYTES // np.dtype(np.uint32).itemsize
    numbers, sums = np.arange(max(SUMS, lanes), dtype=np.uint32), np.empty(SUMS * lanes, np.uint32)
    timers = {"bytes": timer(add_products_of_bytes, numbers, sums, FMA_ROUNDS)}
    times = times_of(timers, arguments.rounds, rounds_of("bytes", arguments.rounds))
    operations = 2 * FMA_ROUNDS * SUMS * VECTOR_BYTES // BYTES_OF_WEIGHT
    return [{"operations": operations, "seconds": times["bytes"]}]


def registers(arguments: argparse.Namespace) -> Measurements:
    """Both in processes that take turns."""
    if not MATRICES:
        say("registers: this processor has no matrix registers")
        return []
    config = TrainingConfig(hidden=arguments.hidden, learning_rate=1e-3).to_json()
    given = (arguments.data, config, *map(str, arguments.batch_size))
    environments = {WITHOUT: {"NUMBA_CPU_FEATURES": features().replace("+amx", "-amx")}, WITH: {}}
    with ExitStack() as stack:
        children = {
            kind: Child(stack, "epochs_process.py", *given, environment=each) for kind, each in environments.items()
        }
        assert [child.description["matrices"] for child in children.values()] == [False, True]
        timers = {(kind, size): child.timer(size) for size in arguments.batch_size for kind, child in children.items()}
        times = times_of(timers, arguments.rounds, rounds_of("registers", arguments.rounds))
    return [{"registers": kind, "batch_size": size, "seconds": seconds} for (kind, size), seconds in times.items()]


LIMITS: dict[str, Callable[[argparse.Namespace], Measurements]] = {
    "products": products,
    "weights": weights,
    "optimisers": optimisers,
    "bytes": products_of_bytes,
    "registers": registers,
}


def show(limit: str, measurements: Sequence[dict[str, Any]]) -> None:
    """What was measured, and its least time."""
    rows = []
    for each in measurements:
        text = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in each.items() if name != "seconds")
        rows.append((limit, text, milliseconds(min(each["seconds"]))))
    print_table(("limit", "of", "ms"), rows)


def parse() -> argparse.Namespace:
    parser = make_parser(__doc__, rounds=15)
    add_data_options(parser)
    parser.add_argument("--limit", type=words, default=list(LIMITS), metavar="X,X,...", help="which to measure")
    sizes_text = "for products and registers (default: 16,32,...,2048)"
    parser.add_argument("--batch-size", type=integers, default=BATCH_SIZES, metavar="N,N,...", help=sizes_text)
    parser.add_argument(
        "--synthetic", type=synthetic, default="20000x20000@0.005", metavar="ROWSxCOLUMNS@DENSITY", help="for weights"
    )
    parser.add_argument("--units", type=int, default=64, metavar="N", help="of the first layer, for weights")
    arguments = parser.parse_args()
    if unknown := set(arguments.limit) - set(LIMITS):
        parser.error(f"--limit: expected some of {', '.join(LIMITS)}, found {', '.join(sorted(unknown))}")
    return arguments


def main() -> None:
    arguments = parse()
    measurements = []
    for limit in arguments.limit:
        measured = LIMITS[limit](arguments)
        show(limit, measured)
        measurements += [{"limit": limit, **each} for each in measured]
    settings = {
        "data": name_of(arguments.data),
        "hidden": arguments.hidden,
        "synthetic": arguments.synthetic,
        "units": arguments.units,
        "rounds": arguments.rounds,
    }
    save(arguments.json, document("limits", settings, measurements))


if __name__ == "__main__":
    main()
