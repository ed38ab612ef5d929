"""The page of the benchmarks, in Markdown, made from the JSON documents that are there."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

from batch_size_results import Timed
from breakdown import table_of
from figures import INPUTS
from peer_results import Workload
from tables import table

from fastfnn.benchmarks.rounds import milliseconds, minimum_and_median
from fastfnn.report.formatting import seconds as seconds_text

Document = dict[str, Any]
Drawn = Collection[str]  # names of figures

INTRODUCTION = """\
# Benchmarks

```sh
make benchmark                                  # measures everything, one thing after the other, and writes this page
python bench/report.py --only scaling,peers     # some parts of it
python bench/report.py --draw                   # figures and page from the JSON files, nothing measured
```

Times are the minimum of interleaved rounds, the median in brackets, unless a heading says otherwise. Compilation,
loading and drawing an epoch's order are not in the time of an epoch. fastfnn and linear algebra have one thread unless
another number is given. Every time that was measured is in the JSON files beside this page. `make benchmark` sets up
the environment with all libraries; `python bench/peers.py --help` and its neighbours tell what else can be measured.
"""

PEERS = """
## Against other libraries

Milliseconds an epoch of plain SGD in float32, reshuffled every epoch. Before anything was timed, all had done the same
20 steps from the same weights, and their costs agreed to 1e-4. Each of the others was timed with one thread and with
all cores, and the better counts (*on 2*: with two threads); fastfnn has one thread where no other number is given. Each
is written in its best form: NumPy in place, PyTorch eager, and compiled with several steps in a graph, JAX with the
epoch as one program, scikit-learn's MLPClassifier; `-csr` and `-bag` read compressed rows. Each turn is two epochs of
one of them, of which the second is timed: in training, too, an epoch comes after another one of the same network.

What the dense products of an epoch would take at the rate of large products (sgemm), or with every unit for fused
multiply-adds (FMA) of one core always busy, is divided by fastfnn's time. Zeros that are not multiplied can take it
beyond 100 %, and so can matrix registers and products of bytes, which are faster than these units.
"""

BREAKDOWN = """
## Where the time of an epoch goes

Each line is the difference that a part makes to the minimum of an epoch. Beside it, the least time that its
multiply-adds take, with every unit for them always busy, and that of reading a word of every cache line of the rows in
the order of an epoch, which parts of the forward pass do while they compute. In matrix registers, and where bytes are
multiplied as bytes, products can take less than the former. Batches of up to sixteen examples, which training takes
through dense and listed features in one call, have two here, which takes a few percent longer.
"""

MACHINE = (
    "cpu",
    "registers",
    "usable_cores",
    "system",
    "python",
    "fastfnn",
    "numpy",
    "numba",
    "blas",
    "torch",
    "jax",
    "scikit-learn",
    "scipy",
)


def figure(name: str, text: str, drawn: Drawn) -> str:
    """A figure of the folder beside the page, if there was enough to draw it."""
    return f"\n![{text}](figures/{name}.png)\n" if name in drawn else ""


def machine_section(documents: Mapping[str, Document]) -> str:
    """The processor and the versions; where documents differ, all that there were."""
    facts: dict[str, dict[str, None]] = {}
    for document in documents.values():
        for name in MACHINE:
            if name in document["environment"]:
                facts.setdefault(name, {}).update(dict.fromkeys(_facts(document["environment"][name])))
    facts["kernels"] = dict.fromkeys(_kernels(documents))
    rows = [(name.replace("_", " "), "; ".join(values)) for name, values in facts.items()]
    return "\n## Machine and versions\n\n" + "".join(["| | |\n|---|---|\n", *(f"| {a} | {b} |\n" for a, b in rows)])


def _kernels(documents: Mapping[str, Document]) -> list[str]:
    """The digest of the kernels that were measured; where documents differ, which ones had which."""
    measured: dict[str, list[str]] = {}
    for name, document in documents.items():
        measured.setdefault(document["environment"].get("kernels", "unknown"), []).append(name)
    if len(measured) == 1:
        return list(measured)
    return [f"{digest} in {', '.join(names)}" for digest, names in measured.items()]


def _facts(value: Any) -> list[str]:
    if isinstance(value, list):
        return [f"{each.get('internal_api', '')} {each.get('version', '')}".strip() for each in value]
    return [str(value)]


def peers_section(workloads: Sequence[Workload], drawn: Drawn) -> str:
    """A table and a figure for each workload."""
    text = PEERS + figure("peers-ratios", "How many times as fast as the fastest other, for every workload", drawn)
    for workload in workloads:
        text += f"\n### {workload.title}\n\n{workload.table()}"
        text += figure(workload.name, f"Time of an epoch against the batch size, {workload.title}", drawn)
    return text


def batch_size_section(timed: Sequence[Timed], drawn: Drawn) -> str:
    """Times of epochs and steps by pyperf: mean and standard deviation."""
    text = "\n## Batch size, by pyperf\n\nMilliseconds an epoch, mean ± standard deviation over processes.\n\n"
    text += _by_batch_size(timed, _mean_epoch)
    text += "\nMicroseconds a step: the same times divided by the steps of an epoch.\n\n"
    text += _by_batch_size(timed, lambda each: f"{1e6 * statistics.mean(each.seconds) / each.steps:,.1f}")
    return text + figure("batch-size", "Time of an epoch and of a step against the batch size", drawn)


def _by_batch_size(timed: Sequence[Timed], cell: Callable[[Timed], str]) -> str:
    columns = list(dict.fromkeys((each.engine, each.dtype) for each in timed))
    rows = []
    for size in dict.fromkeys(each.batch_size for each in timed):
        found = {(each.engine, each.dtype): each for each in timed if each.batch_size == size}
        rows.append([str(size), *(cell(found[column]) if column in found else "-" for column in columns)])
    return table(["batch size", *(f"{engine} {dtype}" for engine, dtype in columns)], rows)


def _mean_epoch(timed: Timed) -> str:
    spread = statistics.stdev(timed.seconds) if len(timed.seconds) > 1 else 0
    return f"{1e3 * statistics.mean(timed.seconds):.1f} ± {1e3 * spread:.1f}"


def variants_section(document: Document, drawn: Drawn) -> str:
    """What options add."""
    rows = [
        (
            each["variant"],
            str(each["batch_size"]),
            minimum_and_median(each["epoch_seconds"]),
            f"{round(100 * each['cost_of_minima']):+d} %",
            f"{round(100 * each['cost_of_medians']):+d} %",
            minimum_and_median(each["evaluation_seconds"]),
        )
        for each in document["measurements"]
    ]
    evaluated = f"evaluation of {document['settings']['evaluated_rows']:,} rows, ms"
    headers = ("variant", "batch size", "epoch, ms", "cost of minima", "of medians", evaluated)
    text = "\n## Batch norm, dropout, L2 and optimisers\n\n" + table(headers, rows)
    return text + figure("variants", "What every option adds to the time of an epoch of plain SGD", drawn)


def breakdown_section(document: Document, drawn: Drawn) -> str:
    """The parts of an epoch, and what limits them."""
    text = BREAKDOWN + breakdown_of_network(document, drawn)
    return text + figure("breakdown", "Where the time of an epoch goes, by batch size", drawn)


def breakdown_of_network(document: Document, _: Drawn) -> str:
    """The table for one network and one kind of rows."""
    settings, reading = document["settings"], document["measurements"][-1]
    rows_text = ", rows of floats" if settings["input"] == "dense" else ""
    rate = reading["bytes"] / reading["seconds"] / 1e9
    text = f"\n### {settings['network']}{rows_text}\n\n" + table(*table_of(document["measurements"]))
    return text + f"\nThe rows of an epoch are {reading['bytes'] / 1e6:.1f} MB, read alone at {rate:.1f} GB/s.\n"


def startup_section(document: Document, drawn: Drawn) -> str:
    """From the start of a process."""
    rows = [
        (
            each["what"],
            each["state"],
            seconds_text(min(each["seconds"])),
            seconds_text(statistics.median(each["seconds"])),
        )
        for each in document["measurements"]
    ]
    text = "\n## From the start\n\n"
    text += "Cold: the kernels are compiled. Warm: they are in the cache. Steady: the next epochs of a process.\n\n"
    text += table(("", "cache", "minimum", "median"), rows)
    return text + figure("startup", "Seconds from the start of a process, with a cold and a warm cache", drawn)


def scaling_section(document: Document, drawn: Drawn) -> str:
    """A table for each axis that was measured, and the figures."""
    text = "\n## Scaling\n"
    for axis, (heading, make, figure_name) in _AXES.items():
        measured = [each for each in document["measurements"] if each["axis"] == axis]
        if measured:
            text += f"\n### {heading}\n\n{make(measured)}{figure(figure_name, heading, drawn)}"
    return text


def _rows_table(measured: Sequence[dict[str, Any]]) -> str:
    return table(
        (
            "rows",
            "epoch, ms",
            "a row, ns",
            "reading alone, a row, ns",
            "peak memory, MB",
            "of an empty process",
            "rows as the kernels read them, MB",
            "features, MB",
        ),
        [
            (
                f"{each['rows']:,}",
                minimum_and_median(each["epoch_seconds"]),
                f"{1e9 * min(each['epoch_seconds']) / each['rows']:.0f}",
                f"{1e9 * min(each['reading_seconds']) / each['rows']:.0f}",
                _megabytes(each["peak_private_bytes"]),
                _megabytes(each["private_bytes_before"]),
                _megabytes(each["rows_bytes"]),
                _megabytes(each["features_bytes"]) + (" (mapped)" if each["features_mapped"] else ""),
            )
            for each in measured
        ],
    )


def _megabytes(size: int | None) -> str:
    return "-" if size is None else f"{size / 1e6:,.0f}"


def _network_table(axis: str) -> Callable[[Sequence[dict[str, Any]]], str]:
    def make(measured: Sequence[dict[str, Any]]) -> str:
        limits = [each["dense_operations"] / each["sgemm_gflops"] / 1e9 for each in measured]
        rows = [
            (
                str(each[axis]),
                minimum_and_median(each["epoch_seconds"]),
                milliseconds(limit),
                f"{100 * limit / min(each['epoch_seconds']):.0f} %",
            )
            for each, limit in zip(measured, limits, strict=True)
        ]
        return table((axis, "epoch, ms", "dense products at sgemm rate, ms", "of sgemm rate"), rows)

    return make


def _density_table(measured: Sequence[dict[str, Any]]) -> str:
    rows = [
        (
            f"{100 * each['density']:g} %" + (", uneven" if each["uneven"] else ""),
            *(minimum_and_median(each["epoch_seconds"][kind]) for kind in INPUTS),
            str(each["dense_features"]),
        )
        for each in measured
    ]
    headers = ("not zero", *(f"{label}, ms" for label in INPUTS.values()), "of which dense")
    first, equal = measured[0], break_even([each for each in measured if not each["uneven"]])
    text = f"{first['rows']:,} rows of {first['columns']} bytes. Uneven: columns differ as those of images do.\n\n"
    text += table(headers, rows)
    if equal is not None:
        text += f"\nWhere all columns are alike, both kinds take the same time at {100 * equal:.0f} %: a listed value\n"
        text += f"costs {1 / equal:.1f} multiplications of a dense feature. `auto` reckons with "
        text += f"{first['cost_of_nonzero']:g}.\n"
    return text


def break_even(measured: Sequence[dict[str, Any]]) -> float | None:
    """The density at which features cost the same listed and dense, or None where one kind is always faster.

    Between the two points where the lines of the minima cross, both are taken for straight.
    """
    points = [
        (each["density"], min(each["epoch_seconds"]["sparse"]) - min(each["epoch_seconds"]["dense"]))
        for each in measured
    ]
    for (low, before), (high, after) in pairwise(points):
        if before <= 0 < after:
            return float(low + (high - low) * -before / (after - before))
    return None


def _threads_table(measured: Sequence[dict[str, Any]]) -> str:
    timed = [each for each in measured if "epoch_seconds" in each]
    epochs = {(each["threads"], each["batch_size"]): each["epoch_seconds"] for each in timed}
    used = {(each["threads"], each["batch_size"]): each["used_threads"] for each in timed}
    numbers, sizes = (list(dict.fromkeys(key)) for key in zip(*epochs, strict=True))
    several = [number for number in numbers if number > 1]
    headers = ["batch size", "one thread, ms"]
    for number in several:
        headers += [f"{number} threads, ms", "times as fast", "of medians"]
    rows = [[str(size), minimum_and_median(epochs[1, size])] for size in sizes]
    for row, size in zip(rows, sizes, strict=True):
        for number in several:
            ratios = (measure(epochs[1, size]) / measure(epochs[number, size]) for measure in (min, statistics.median))
            on = "" if used[number, size] == number else f" on {used[number, size]}"
            row += [minimum_and_median(epochs[number, size]) + on, *(f"{ratio:.2f}" for ratio in ratios)]
    refused = [str(each["threads"]) for each in measured if "refused" in each]
    note = f"\nRefused by this version: {', '.join(refused)} threads.\n" if refused else ""
    return table(headers, rows) + note


def _concurrent_table(measured: Sequence[dict[str, Any]]) -> str:
    rows = [
        (
            e["work"] + (f", batch size {e['batch_size']}" if e["batch_size"] else ""),
            str(e["runs"]),
            minimum_and_median(e["seconds"]),
            f"{e['throughput_ratio']:.2f}",
        )
        for e in measured
    ]
    note = "\nThe last two share nothing but the machine: beyond what they gain, no run can.\n"
    return table(("", "at once", "until all are done, ms", "times the throughput of one"), rows) + note


# Two axes share a figure, which stands below the second.
_AXES: dict[str, tuple[str, Callable[[Sequence[dict[str, Any]]], str], str]] = {
    "rows": ("Rows like MNIST's, 19 % not zero", _rows_table, "scaling-rows"),
    "width": ("Units of one hidden layer", _network_table("width"), ""),
    "depth": ("Hidden layers of 20 units", _network_table("depth"), "scaling-networks"),
    "density": ("Density of the data", _density_table, "scaling-density"),
    "threads": ("Threads of one run", _threads_table, ""),
    "concurrent": ("Runs side by side", _concurrent_table, "scaling-cores"),
}


OF_DOCUMENTS: dict[str, Callable[[Document, Drawn], str]] = {
    "breakdown": breakdown_section,
    "breakdown-dense": breakdown_of_network,
    "breakdown-hidden-128": breakdown_of_network,
    "breakdown-hidden-512-512": breakdown_of_network,
    "breakdown-synthetic": breakdown_of_network,
    "variants": variants_section,
    "scaling": scaling_section,
    "startup": startup_section,
}
