"""How the time of an epoch grows with the rows, the network, the density of the data, threads and runs side by side.

    python bench/scaling.py --json result.json
    python bench/scaling.py --axis rows --rows 48000,5000000 --rounds 3
    python bench/scaling.py --axis threads,concurrent --threads-batch-size 256,1024 --batch-size 16,128

Rows beyond 1 GB are mapped from a file in the folder for temporary files (TMPDIR), and those of every number are
trained on in a process of their own, whose memory is compared with the size of the rows that the kernels read; the
processes take turns. The densities are those by which `fastfnn.rows.COST_OF_NONZERO` is judged. Nothing is measured
beside anything else, but for the runs that are to be side by side.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from options import add_data_options, fractions, integers, make_parser, name_of, save, words
from scaling_axes import AXES, Points
from threadpoolctl import threadpool_limits

from fastfnn.benchmarks.documents import document
from fastfnn.benchmarks.rounds import milliseconds
from fastfnn.cli.output import print_table
from fastfnn.config import TrainingConfig
from fastfnn.report.formatting import setting
from fastfnn.sweeps.environment import usable_cores

TIMES = ("epoch_seconds", "seconds")


def parse() -> argparse.Namespace:
    parser = make_parser(__doc__, rounds=9)
    add_data_options(parser)
    lists = {
        "--axis": (words, list(AXES), "which to measure"),
        "--batch-size": (integers, [16, 128, 1024], "for concurrent; elsewhere it is 128"),
        "--threads-batch-size": (integers, [16, 64, 128, 256, 512, 1024, 2048], "for threads"),
        "--rows": (integers, [48_000, 150_000, 500_000, 1_500_000, 5_000_000], "rows"),
        "--width": (integers, [16, 32, 64, 128, 256, 512, 1024], "units of one hidden layer"),
        "--depth": (integers, list(range(1, 9)), "hidden layers of 20 units"),
        "--density": (fractions, [0.005, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0], "shares that are not zero"),
    }
    for name, (kind, default, meaning) in lists.items():
        parser.add_argument(name, type=kind, default=default, metavar="X,X,...", help=meaning)
    parser.add_argument("--density-rows", type=int, default=10_000, metavar="N", help="rows of every density")
    parser.add_argument("--cores", type=int, default=usable_cores(), metavar="N", help="threads or runs at most")
    arguments = parser.parse_args()
    if unknown := set(arguments.axis) - set(AXES):
        parser.error(f"--axis: expected some of {', '.join(AXES)}, found {', '.join(sorted(unknown))}")
    return arguments


def points_of(arguments: argparse.Namespace) -> Points:
    return Points(
        rounds=arguments.rounds,
        batch_sizes=arguments.batch_size,
        thread_batch_sizes=arguments.threads_batch_size,
        rows=arguments.rows,
        widths=arguments.width,
        depths=arguments.depth,
        densities=arguments.density,
        density_rows=arguments.density_rows,
        cores=arguments.cores,
        config=TrainingConfig(hidden=arguments.hidden, learning_rate=1e-3),
        data=arguments.data,
    )


def show(measurements: list[dict[str, Any]]) -> None:
    """A table of an axis: what was set, and the fastest epoch in milliseconds."""
    rows = [_cells(each) for each in measurements]
    headers = list(dict.fromkeys(header for row in rows for header in row))
    print_table(headers, [[row.get(header, "") for header in headers] for row in rows])
    print()


def _cells(measurement: dict[str, Any]) -> dict[str, str]:
    cells = {}
    for name, value in measurement.items():
        if name not in TIMES:
            cells[name.replace("_", " ")] = f"{value:.4g}" if isinstance(value, float) else setting(value)
        elif isinstance(value, dict):
            cells |= {f"{kind}, ms": milliseconds(min(seconds)) for kind, seconds in value.items()}
        else:
            cells["epoch, ms"] = milliseconds(min(value))
    return cells


def main() -> None:
    arguments = parse()
    points = points_of(arguments)
    measurements = []
    with threadpool_limits(limits=1, user_api="blas"):
        for axis in arguments.axis:
            measured = AXES[axis](points)
            show(measured)
            measurements += [{"axis": axis, **each} for each in measured]
    settings = asdict(points) | {"data": name_of(points.data), "config": points.config.model_dump(mode="json")}
    save(arguments.json, document("scaling", settings, measurements))


if __name__ == "__main__":
    main()
