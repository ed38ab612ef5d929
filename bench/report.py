"""Measures everything, one thing after the other, and writes reports/benchmark: JSON, tables, figures, a page.

    python bench/report.py                            # `make benchmark`: all of it, about an hour on two cores
    python bench/report.py --only peers,variants      # some parts; the others keep the results that they have
    python bench/report.py --only peers-mnist --minutes 10
    python bench/report.py --draw                     # figures and page from the JSON files, nothing measured
    python bench/report.py --quick --folder try      # a rehearsal: every part on little data

Each part writes its JSON file when it is done; a part that fails leaves the old one, and the others go on. The most
important parts come first, for the case that the minutes do not suffice for all.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import figures
import page
from batch_size_results import batch_size_figure
from batch_size_results import read as read_batch_size
from matplotlib.figure import Figure
from options import positive, say, words
from peer_results import Workload, looks_of, ratios_figure, read_workload, workload_figure
from targets import targets_section

from fastfnn.atomic import write_atomically
from fastfnn.data.downloads import FASHION_MNIST_SHA256, cache_folder
from fastfnn.report.style import render

SCRIPTS = Path(__file__).parent
FOLDER = SCRIPTS.parent / "reports" / "benchmark"
INTERRUPTED = 130


@dataclass(frozen=True)
class Part:
    """A benchmark to run: its script and options, those that make it quick, and the option that names its file.

    One that needs a download is left out where nobody has fetched the files.
    """

    name: str
    script: str
    options: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    output: str = "--json"
    title: str = ""
    downloaded: bool = False

    @property
    def group(self) -> str:
        """What `--only` may call it: the script's name."""
        return self.script.removesuffix(".py").replace("_", "-")


def against_peers(
    name: str, title: str, *options: str, rounds: int = 5, sizes: str = "16,128,1024", **others: Any
) -> Part:
    """A workload of peers.py."""
    given = ("--rounds", str(rounds), "--batch-size", sizes, *options)
    return Part(f"peers-{name}", "peers.py", given, title=title, **others)


def breakdown(name: str = "", *options: str, rounds: int = 40) -> Part:
    """A workload of breakdown.py."""
    quick = ("--data", "digits", "--rounds", "2", "--batch-size", "16,128", *options)
    return Part(f"breakdown{name}", "breakdown.py", ("--rounds", str(rounds), *options), quick)


ALL_SIZES = "16,32,64,128,256,512,1024,2048"
QUICK_PEERS = ("--data", "digits", "--rounds", "1", "--batch-size", "16,64")
SPARSE = ("--synthetic", "20000x20000@0.005", "--hidden", "64")
SYNTHETIC = (
    *SPARSE,
    # Dense rows are slower than the best compressed ones even if their products are done at the rate of sgemm.
    *("--peers", "numpy-csr,torch-csr,torch-bag,jax-csr,scikit-learn-csr"),
)
WIDE = ("--hidden", "512,512", "--peers", "numpy,torch,torch-compile,jax,scikit-learn")
PARTS = (
    against_peers("mnist", "784-20-7-5-10 on MNIST", rounds=9, sizes=ALL_SIZES, quick=QUICK_PEERS),
    against_peers("hidden-128", "784-128-10 on MNIST", "--hidden", "128"),
    against_peers("mnist-dense", "784-20-7-5-10 on MNIST, float rows for all", "--input", "dense", rounds=9),
    against_peers("synthetic", "20,000 columns, 0.5 % not zero", *SYNTHETIC, rounds=3),
    against_peers("hidden-64-32", "784-64-32-10 on MNIST", "--hidden", "64,32"),
    against_peers("hidden-512-512", "784-512-512-10 on MNIST", *WIDE, rounds=3),
    against_peers("fashion-mnist", "784-20-7-5-10 on Fashion-MNIST", "--data", "fashion-mnist", downloaded=True),
    Part(
        "batch-size",
        "batch_size.py",
        ("--batch-size", "16,64,256,1024", "-p", "3", "-n", "4"),
        ("--data", "digits", "--batch-size", "16", "--dtype", "float32", "-p", "1", "-n", "2", "-l", "1"),
        "-o",
    ),
    breakdown(),
    breakdown("-dense", "--input", "dense"),
    breakdown("-hidden-128", "--hidden", "128"),
    breakdown("-hidden-512-512", "--hidden", "512,512", rounds=10),
    breakdown("-synthetic", *SPARSE),
    Part(
        "limits",
        "limits.py",
        (),
        ("--data", "digits", "--rounds", "2", "--batch-size", "16,128", "--synthetic", "200x500@0.1"),
    ),
    Part("variants", "variants.py", ("--rounds", "45"), ("--data", "digits", "--rounds", "2", "--batch-size", "128")),
    Part(
        "scaling",
        "scaling.py",
        (),
        (
            *("--data", "digits", "--rounds", "2", "--rows", "1000,3000", "--width", "16,64", "--depth", "1,3"),
            *("--density", "0.01,1", "--density-rows", "500", "--batch-size", "16,128"),
            *("--threads-batch-size", "16,256"),
        ),
    ),
    Part("startup", "startup.py", (), ("--rounds", "1", "--state", "warm")),
)


def is_fetched() -> bool:
    """Whether the files of Fashion-MNIST are in the cache."""
    return all((cache_folder() / "fashion-mnist" / name).exists() for name in FASHION_MNIST_SHA256)


def measure(part: Part, folder: Path, *, quick: bool) -> bool:
    """Runs a part alone, and tells whether all is well."""
    say(f"=== {part.name}")
    unfinished = folder / f"{part.name}.part.json"
    unfinished.unlink(missing_ok=True)  # pyperf refuses to write over a file
    options = part.quick if quick else part.options
    command = [sys.executable, str(SCRIPTS / part.script), *options, part.output, str(unfinished)]
    started = time.monotonic()
    done = subprocess.run(command, check=False)
    if done.returncode:
        say(f"=== {part.name} failed with status {done.returncode}")
        unfinished.unlink(missing_ok=True)
        return False
    unfinished.replace(folder / f"{part.name}.json")
    say(f"=== {part.name}: {time.monotonic() - started:.0f} s")
    return True


class Report:
    """Figures and page of what there is in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        there = [part for part in PARTS if (folder / f"{part.name}.json").exists()]
        self.documents = {
            part.name: json.loads((folder / f"{part.name}.json").read_text())
            for part in there
            if part.output == "--json"
        }
        self.workloads: list[Workload] = [
            read_workload(part.name, part.title, self.documents[part.name]) for part in there if part.group == "peers"
        ]
        pyperf_file = folder / "batch-size.json"
        self.timed = read_batch_size(pyperf_file) if pyperf_file.exists() else []

    def figures(self) -> dict[str, Figure]:
        """Every figure by the name of its file."""
        looks = looks_of(self.workloads)
        drawn = {workload.name: workload_figure(workload, looks) for workload in self.workloads}
        if self.workloads:
            drawn["peers-ratios"] = ratios_figure(self.workloads)
        if self.timed:
            drawn["batch-size"] = batch_size_figure(self.timed)
        for name, draw in figures.OF_DOCUMENTS.items():
            if name in self.documents:
                drawn |= draw(self.documents[name])
        return drawn

    def page(self, drawn: Collection[str]) -> str:
        """The page in Markdown, with the figures of these names."""
        text = page.INTRODUCTION
        if self.documents:
            text += page.machine_section(self.documents)
        text += targets_section(self.workloads, self.documents)
        if self.workloads:
            text += page.peers_section(self.workloads, drawn)
        if self.timed:
            text += page.batch_size_section(self.timed, drawn)
        for name, section in page.OF_DOCUMENTS.items():
            if name in self.documents:
                text += section(self.documents[name], drawn)
        return text

    def write(self) -> None:
        """Writes figures as PNG and SVG, and the page."""
        (self.folder / "figures").mkdir(exist_ok=True)
        drawn = self.figures()
        for name, each in drawn.items():
            for kind in ("png", "svg"):
                write_atomically(self.folder / "figures" / f"{name}.{kind}", render(each, kind))
        write_atomically(self.folder / "README.md", self.page(drawn))


def parts_of(arguments: argparse.Namespace) -> list[Part]:
    """The parts to be measured."""
    if arguments.draw:
        return []
    names = arguments.only
    parts = [part for part in PARTS if not names or part.name in names or part.group in names]
    if arguments.quick:
        return [part for part in parts if part.quick]
    missing = [part for part in parts if part.downloaded and not is_fetched()]
    for part in missing:
        say(f"=== {part.name}: left out, its files are not here; `fastfnn data fetch fashion-mnist` gets them")
    return [part for part in parts if part not in missing]


def measure_all(parts: Sequence[Part], arguments: argparse.Namespace) -> bool:
    """Runs the parts one after the other, as long as there is time, and tells whether all were measured."""
    started, well = time.monotonic(), True
    for part in parts:
        if arguments.minutes and time.monotonic() - started > 60 * arguments.minutes:
            say(f"=== {part.name}: left out, {arguments.minutes} minutes are over")
            well = False
        else:
            well &= measure(part, arguments.folder, quick=arguments.quick)
    return well


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = list(dict.fromkeys([*(part.group for part in PARTS), *(part.name for part in PARTS)]))
    parser.add_argument("--only", type=words, default=[], metavar="PART,...", help=f"some of {', '.join(known)}")
    minutes = "the wall-clock budget: no part begins after so many minutes (default: all parts begin)"
    parser.add_argument("--minutes", type=positive, metavar="N", help=minutes)
    parser.add_argument("--draw", action="store_true", help="measure nothing")
    parser.add_argument("--quick", action="store_true", help="measure on little data, to try everything out")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the results (default: reports/benchmark)")
    arguments = parser.parse_args()
    if unknown := set(arguments.only) - set(known):
        parser.error(f"--only: expected some of {', '.join(known)}, found {', '.join(sorted(unknown))}")
    return arguments


def main() -> int:
    arguments = parse()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    try:
        well = measure_all(parts_of(arguments), arguments)
    except KeyboardInterrupt:
        say("interrupted; what is measured is kept, and --draw makes a page of it")
        return INTERRUPTED
    Report(arguments.folder).write()
    say(f"written: {arguments.folder}")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
