"""What batch norm, dropout, L2 and the optimisers add to the time of an epoch of plain SGD, and evaluation's time.

    python bench/variants.py --batch-size 16,128 --rounds 9 --json result.json

Interleaved rounds in one process on one thread; the costs are of the minima and of the medians. Evaluation is of the
test split, 10,000 rows of MNIST.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from typing import Any

from fresh_engines import FreshEngines
from options import add_data_options, integers, make_parser, name_of, rounds_of, save

from fastfnn.benchmarks.documents import document
from fastfnn.benchmarks.epochs import parameter_count
from fastfnn.benchmarks.rounds import minimum_and_median, times_of
from fastfnn.cli.output import print_table
from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset, load_dataset

PLAIN = "plain SGD"
VARIANTS: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "L2": {"l2": 1e-4},
    "dropout 0.2": {"dropout": 0.2},
    "batch norm before": {"batchnorm": "before"},
    "batch norm after": {"batchnorm": "after"},
    "momentum": {"optimizer": "momentum"},
    "Nesterov": {"optimizer": "nesterov"},
    "Adam": {"optimizer": "adam"},
    "AdamW": {"optimizer": "adamw", "l2": 1e-2},
}
LEARNING_RATE = 1e-3  # none of them diverges with it
EPOCH, EVALUATION = "epoch", "evaluation"


def measure(data: Dataset, hidden: list[int], batch_sizes: list[int], rounds: int) -> list[dict[str, Any]]:
    """Every time, and the costs over plain SGD, for each variant and batch size."""
    timers = {}
    steps = {}
    for batch_size in batch_sizes:
        for variant, changes in VARIANTS.items():
            config = TrainingConfig(hidden=hidden, batch_size=batch_size, learning_rate=LEARNING_RATE, **changes)
            engines = FreshEngines(data, config)
            steps[batch_size] = engines.steps
            timers[variant, batch_size, EPOCH] = engines.time_epoch
            timers[variant, batch_size, EVALUATION] = engines.time_evaluation
    times = times_of(timers, rounds, rounds_of("variants", rounds))
    return [
        {
            "variant": variant,
            "batch_size": batch_size,
            "steps": steps[batch_size],
            "epoch_seconds": times[variant, batch_size, EPOCH],
            "evaluation_seconds": times[variant, batch_size, EVALUATION],
            **costs(times[variant, batch_size, EPOCH], times[PLAIN, batch_size, EPOCH]),
        }
        for batch_size in batch_sizes
        for variant in VARIANTS
    ]


def costs(seconds: Sequence[float], plain: Sequence[float]) -> dict[str, float]:
    """What a variant takes on top of plain SGD, as a share of it."""
    return {
        "cost_of_minima": min(seconds) / min(plain) - 1,
        "cost_of_medians": statistics.median(seconds) / statistics.median(plain) - 1,
    }


def show(measurements: Sequence[dict[str, Any]]) -> None:
    """A table of times in milliseconds and costs in per cent."""
    print_table(
        ("variant", "batch size", "epoch, ms", "cost of minima", "of medians", "evaluation, ms"),
        [
            (
                each["variant"],
                str(each["batch_size"]),
                minimum_and_median(each["epoch_seconds"]),
                f"{100 * each['cost_of_minima']:+.1f} %",
                f"{100 * each['cost_of_medians']:+.1f} %",
                minimum_and_median(each["evaluation_seconds"]),
            )
            for each in measurements
        ],
    )


def parse() -> argparse.Namespace:
    parser = make_parser(__doc__, rounds=9)
    add_data_options(parser)
    parser.add_argument("--batch-size", type=integers, default=[16, 128], metavar="N,N,...")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    data = load_dataset(arguments.data)
    measurements = measure(data, arguments.hidden, arguments.batch_size, arguments.rounds)
    show(measurements)
    settings = {
        "data": name_of(arguments.data),
        "hidden": arguments.hidden,
        "rounds": arguments.rounds,
        "learning_rate": LEARNING_RATE,
        "steps": {str(size): -(-len(data.train) // size) for size in arguments.batch_size},
        "parameters": parameter_count(data, arguments.hidden),
        "evaluated_rows": len(data.test or data.train),
        "variants": VARIANTS,
    }
    save(arguments.json, document("variants", settings, measurements))


if __name__ == "__main__":
    main()
