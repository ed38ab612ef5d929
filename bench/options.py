"""What the benchmarks have in common on the command line: options, progress on standard error, tables, documents."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rivals.workload import Synthetic, Workload

from fastfnn.benchmarks.documents import write_document
from fastfnn.config import TrainingConfig
from fastfnn.data import DATASETS

BATCH_SIZES = [16, 32, 64, 128, 256, 512, 1024, 2048]


def integers(text: str) -> list[int]:
    """`16,128` as numbers; nothing is no numbers."""
    return [int(part) for part in text.split(",") if part]


def fractions(text: str) -> list[float]:
    """`0.005,0.1` as numbers."""
    return [float(part) for part in text.split(",")]


def positive(text: str) -> int:
    """A number of at least 1."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def words(text: str) -> list[str]:
    """`sgd,adam` as words."""
    return text.split(",")


def make_parser(description: str | None, rounds: int) -> argparse.ArgumentParser:
    """A parser with the options of every benchmark."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=positive, default=rounds, help=f"times of each (default: {rounds})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every time measured to this file")
    return parser


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Adds the data and the network, by default MNIST and 784-20-7-5-10."""
    parser.add_argument("--data", default="mnist", help="name of a data set or path (default: mnist)")
    hidden = TrainingConfig().hidden
    help_text = f"units of the hidden layers (default: {','.join(map(str, hidden))})"
    parser.add_argument("--hidden", type=integers, default=list(hidden), metavar="N,N,...", help=help_text)


def synthetic(text: str) -> str:
    """ROWSxCOLUMNS@DENSITY, checked."""
    return str(Synthetic.parse(text))


def add_workload_options(parser: argparse.ArgumentParser) -> None:
    """Adds the data, which may be made up, the network, and how fastfnn reads the rows."""
    add_data_options(parser)
    parser.add_argument("--synthetic", type=synthetic, metavar="ROWSxCOLUMNS@DENSITY", help="sparse data at random")
    parser.add_argument("--input", choices=("auto", "dense"), default="auto", help="dense: float rows for fastfnn too")


def workload_of(arguments: argparse.Namespace, **others: Any) -> Workload:
    """What these options ask for; a path is made absolute, for processes elsewhere."""
    data = arguments.data if arguments.data in DATASETS else str(Path(arguments.data).resolve())
    return Workload(data, arguments.synthetic, tuple(arguments.hidden), arguments.input, **others)


def name_of_workload(workload: Workload) -> str:
    """The name of its data."""
    return f"synthetic {workload.synthetic}" if workload.synthetic else name_of(workload.data)


def name_of(data: str) -> str:
    """The data's name without the folder that it lies in."""
    return Path(data).name


def say(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)


def rounds_of(what: str, rounds: int) -> Callable[[int], None]:
    """Tells which round of how many begins."""
    return lambda number: say(f"{what}: round {number + 1} of {rounds}")


def save(path: Path | None, document: dict[str, Any]) -> None:
    """Writes the document if there is a file for it."""
    if path:
        write_document(path, document)
