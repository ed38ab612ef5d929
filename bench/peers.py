"""Time of a training epoch: fastfnn on one thread against every other library, in interleaved rounds.

    python bench/peers.py                                       # MNIST, 784-20-7-5-10, all peers that are installed
    python bench/peers.py --hidden 512,512 --batch-size 16,128 --peers jax,torch-compile
    python bench/peers.py --data fashion-mnist --input dense --json result.json
    python bench/peers.py --synthetic 20000x20000@0.005 --hidden 64

Plain SGD, float32, reshuffled every epoch. Every peer has a process for one thread and one for all cores, in its best
form (see the modules of bench/rivals); the better of the two counts. Of fastfnn one thread counts, and what it does
with all cores is shown beside it. Before anything is timed all do 20 steps from the same weights in the same order, and
must have the same costs to 1e-4; after an epoch that warms up, its loss must be the same to 1 %. In each round, each
of them does two epochs, of which the second is timed. What an epoch's dense products would take at the rate of sgemm,
and the most that the core's units can do, are measured in fastfnn's process.
"""

from __future__ import annotations

import argparse
import sys
from importlib import metadata
from typing import Any

from options import BATCH_SIZES, add_workload_options, integers, make_parser, name_of_workload, save, words, workload_of
from rivals import OURS, RIVALS, default_rivals
from rivals.memory import available_bytes, that_fit
from rivals.processes import WorkerError, label
from rivals.rounds import DisagreementError, Result, measure
from rivals.summary import Limits, in_text, that_count
from rivals.workload import Workload
from scipy import sparse

from fastfnn.benchmarks.documents import document
from fastfnn.benchmarks.epochs import dense_operations, network_text
from fastfnn.data import Dataset
from fastfnn.errors import FastfnnError, suggestion
from fastfnn.sweeps.environment import usable_cores

ALL = "all"
INTERRUPTED = 130
WIDTH = 100


def thread_counts(text: str) -> list[int]:
    """`1,all` as numbers without repetition."""
    return list(dict.fromkeys(usable_cores() if part == ALL else int(part) for part in text.split(",")))


def make_arguments() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, rounds=7)
    add_workload_options(parser)
    sizes = f"(default: those of {','.join(map(str, BATCH_SIZES))} for which there are rows)"
    parser.add_argument("--batch-size", type=integers, metavar="N,N,...", help=sizes)
    parser.add_argument("--threads", type=thread_counts, default=f"1,{ALL}", help=f"of the peers (default: 1,{ALL})")
    parser.add_argument("--peers", type=words, metavar="NAME,...", help=f"some of {', '.join(RIVALS)}")
    return parser


def wanted_sizes(sizes: list[int] | None, rows: int) -> list[int]:
    """The batch sizes asked for, or the usual ones that are no larger than the data.

    Raises:
        ValueError: for one that is larger, or below 1.
    """
    if sizes is None:
        return [size for size in BATCH_SIZES if size <= rows] or [rows]
    if not sizes or min(sizes) < 1 or max(sizes) > rows:
        raise ValueError(f"--batch-size: expected numbers from 1 to {rows}, the rows of the data, found {sizes}")
    return list(dict.fromkeys(sizes))


def wanted_peers(names: list[str] | None, data: Dataset, workload: Workload) -> list[str]:
    """The peers asked for, or those for this kind of data, after fastfnn.

    Raises:
        ValueError: for an unknown name.
    """
    if names is None:
        sparse_data = sparse.issparse(data.train.features)
        names = default_rivals(sparse_data=sparse_data, dense_rows=workload.input == "dense")
    for name in names:
        if name not in RIVALS:
            raise ValueError(f"--peers: there is no {name!r}{suggestion(name, list(RIVALS))}")
    return list(dict.fromkeys([OURS, *names]))


def installed_versions(names: list[str]) -> dict[str, str | None]:
    """The version of each peer's package, None where there is none."""
    versions: dict[str, str | None] = {}
    for package in dict.fromkeys(RIVALS[name].package for name in names):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def chosen(
    names: list[str], versions: dict[str, str | None], threads: list[int], data: Dataset, available: float
) -> tuple[list[tuple[str, int]], dict[str, str]]:
    """The (peer, threads) to be timed, and by name why others are not.

    fastfnn is always timed on one thread, and first, since its process measures the rates of the core. `available` is
    the memory for the rows of all of them, in bytes.
    """
    others = (name for name in names if name != OURS)  # it is here, installed or not
    unavailable = {name: "not installed" for name in others if versions[RIVALS[name].package] is None}
    pairs = [
        (name, count)
        for count in dict.fromkeys([1, *threads])
        for name in names
        if name not in unavailable and (count in threads or name == OURS)
    ]
    fitting, left_out = that_fit(pairs, data, available)
    return fitting, unavailable | {
        label(*pair): "its dense rows do not fit into memory beside the others" for pair in left_out
    }


def as_document(
    arguments: argparse.Namespace, workload: Workload, data: Dataset, versions: dict[str, str | None], result: Result
) -> dict[str, Any]:
    """Everything that was measured, with what is needed to judge it."""
    batch_sizes = list(dict.fromkeys(each.batch_size for each in result.measurements))
    config = workload.config(batch_sizes[0])
    limits = Limits.of(dense_operations(data, config), result.rates)
    settings = {
        "data": name_of_workload(workload),
        "rows": len(data.train),
        "network": network_text(data, config),
        "input": workload.input,
        "learning_rate": workload.learning_rate,
        "batch_sizes": batch_sizes,
        "rounds": arguments.rounds,
        "threads": arguments.threads,
        "dense_operations": limits.operations,
        "dense_seconds": limits.sgemm_seconds,
        "peak_seconds": limits.peak_seconds,
    }
    counting, others = that_count([each.as_document() for each in result.measurements])
    packages = [package for package, version in versions.items() if version is not None]
    return document("peers", settings, counting, packages=packages) | {
        "other_measurements": others,
        "rates": result.rates,
        "unavailable": result.unavailable,
    }


def show_progress(text: str) -> None:
    """One line that changes on a terminal, else a line each."""
    if sys.stderr.isatty():
        print(f"\r{text[:WIDTH]:<{WIDTH}}", end="", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """The document of a benchmark.

    Raises:
        DisagreementError, WorkerError: as `measure`.
        FastfnnError: when the data cannot be had.
        ValueError: for options that do not fit the data.
    """
    workload = workload_of(arguments)
    data = workload.load()
    batch_sizes = wanted_sizes(arguments.batch_size, len(data.train))
    names = wanted_peers(arguments.peers, data, workload)
    versions = installed_versions(names)
    pairs, unavailable = chosen(names, versions, arguments.threads, data, available_bytes())
    result = measure(workload, pairs, batch_sizes, arguments.rounds, show_progress)
    result.unavailable.update(unavailable)
    return as_document(arguments, workload, data, versions, result)


def main() -> int:
    arguments = make_arguments().parse_args()
    try:
        found = run(arguments)
    except KeyboardInterrupt:
        print("\ninterrupted; the workers are ended", file=sys.stderr)
        return INTERRUPTED
    except (DisagreementError, WorkerError) as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    except (FastfnnError, ValueError) as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 2
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print(in_text(found), end="")
    save(arguments.json, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
