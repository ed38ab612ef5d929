"""From the start of a process to its end, and to the end of the first epoch: cold, with a warm cache, steady.

    python bench/startup.py --rounds 5 --json result.json
    python bench/startup.py --state warm --rounds 20
    python bench/startup.py --state cold --cold-rounds 5

Cold: the cache of compiled kernels is an empty folder each time, which takes a minute a round. Warm: it is the user's,
filled by a round that is not counted. Steady: within a process, the epochs after the first. Files are in the system's
cache in all of them.

The end of the first epoch is the moment when `fastfnn train` writes its line of progress, after it has evaluated the
validation split, which takes a few milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from options import add_data_options, make_parser, name_of, positive, rounds_of, save, words

from fastfnn.benchmarks.documents import document
from fastfnn.cli.output import print_table
from fastfnn.config import TrainingConfig
from fastfnn.report.formatting import seconds as seconds_text

COLD, WARM = "cold", "warm"
FIRST_EPOCH = "epoch 1.0/"  # how the line of progress begins that is written after it
FASTFNN = [sys.executable, "-m", "fastfnn"]
NEXT_EPOCHS = 5

Times = dict[str, list[float]]
Cache = AbstractContextManager[str | None]
CACHES: dict[str, Callable[[], Cache]] = {COLD: tempfile.TemporaryDirectory, WARM: nullcontext}

IN_PROCESS = """
import json, sys, time
clock = time.perf_counter
marks = [clock()]
from fastfnn.benchmarks.epochs import Epochs
from fastfnn.config import TrainingConfig
from fastfnn.data import load_dataset
marks.append(clock())
data = load_dataset(sys.argv[1])
marks.append(clock())
epochs = Epochs(data, TrainingConfig.from_json(sys.argv[2]))
marks.append(clock())
first = epochs.time_epoch()
following = [epochs.time_epoch() for _ in range(int(sys.argv[3]))]
parts = dict(zip(("imports", "data", "kernels and rows"), (b - a for a, b in zip(marks, marks[1:]))))
print(json.dumps(parts | {"first epoch": first, "next epochs": following}))
"""


def time_command(command: Sequence[str], environment: Mapping[str, str]) -> dict[str, float]:
    """Seconds from the start of a process to its end, and to its line about the first epoch if it writes one."""
    times = {}
    started = time.perf_counter()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(FIRST_EPOCH):
                times["first epoch"] = time.perf_counter() - started
        process.wait()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}")
    return times | {"end": time.perf_counter() - started}


def time_in_process(data: str, config: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """What the parts of a start take, seen from inside, and the epochs after the first."""
    command = [sys.executable, "-c", IN_PROCESS, data, config, str(NEXT_EPOCHS)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    parts: dict[str, Any] = json.loads(done.stdout)
    return parts


def one_round(arguments: argparse.Namespace, cache: Callable[[], Cache]) -> dict[str, Any]:
    """Every command once, by name and moment; `cache` gives each the folder of its compiled kernels."""
    config = TrainingConfig(hidden=arguments.hidden)
    hidden = ",".join(map(str, config.hidden))
    train = [*FASTFNN, "train", "--epochs", "1", "--data", arguments.data, "--hidden", hidden]
    found: dict[str, Any] = {}
    for name, command in {"fastfnn --help": [*FASTFNN, "--help"], "fastfnn train --epochs 1": train}.items():
        with cache() as folder:
            times = time_command(command, environment(folder))
        found |= {f"{name}, {moment}": seconds for moment, seconds in times.items()}
    with cache() as folder:
        parts = time_in_process(arguments.data, config.to_json(), environment(folder))
    return found | {f"in process, {part}": seconds for part, seconds in parts.items()}


def environment(cache: str | None) -> dict[str, str]:
    """The variables of a process that keeps its compiled kernels in this folder, or in the user's own."""
    return {**os.environ, "FASTFNN_CACHE_DIR": cache} if cache else dict(os.environ)


def measure(arguments: argparse.Namespace) -> dict[str, Times]:
    """Times by state and by command and moment; with a warm cache, a round that is not counted fills it."""
    times: dict[str, Times] = {}
    for state in arguments.state:
        times[state] = {}
        rounds = arguments.cold_rounds if state == COLD else arguments.rounds
        announce = rounds_of(state, rounds)
        if state == WARM:
            one_round(arguments, CACHES[WARM])
        for number in range(rounds):
            announce(number)
            for name, seconds in one_round(arguments, CACHES[state]).items():
                times[state].setdefault(name, []).extend(seconds if isinstance(seconds, list) else [seconds])
    return times


def show(times: Mapping[str, Times]) -> None:
    print_table(
        ("", "state", "minimum", "median"),
        [
            (name, state, seconds_text(min(values)), seconds_text(statistics.median(values)))
            for state, measured in times.items()
            for name, values in measured.items()
        ],
    )


def parse() -> argparse.Namespace:
    parser = make_parser(__doc__, rounds=5)
    add_data_options(parser)
    parser.add_argument("--cold-rounds", type=positive, default=2, help="times of each with a cold cache (default: 2)")
    parser.add_argument("--state", type=words, default=[COLD, WARM], metavar=f"{COLD},{WARM}")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    times = measure(arguments)
    show(times)
    measurements = [
        {"state": state, "what": name, "seconds": values}
        for state, measured in times.items()
        for name, values in measured.items()
    ]
    rounds = {"rounds": arguments.rounds, "cold_rounds": arguments.cold_rounds}
    settings = {"data": name_of(arguments.data), "hidden": arguments.hidden, **rounds}
    save(arguments.json, document("startup", settings, measurements))


if __name__ == "__main__":
    main()
