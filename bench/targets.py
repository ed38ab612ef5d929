"""What was aimed at, what was found, and what was measured of the limits: all of it from the documents."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from peer_results import Workload
from rivals import OURS
from tables import table

from fastfnn.benchmarks.rounds import milliseconds

Document = dict[str, Any]
Limits = tuple[str, ...]

INTRODUCTION = """
## Targets

What this project set out to reach, with one thread unless another number is given, and what was found, by minima; a
number for each batch size where there are several.
"""

FASTEST_OTHER = {16: 10.0, 32: 6.0, 64: 5.0, 128: 4.0, 256: 3.2, 512: 3.2, 1024: 3.2, 2048: 3.2}
PYTORCH = {16: 50.0, 128: 12.0, 1024: 6.0}
OTHER_WORKLOADS = {
    "peers-mnist-dense": 1.8,
    "peers-hidden-128": 2.5,
    "peers-hidden-512-512": 1.0,
    "peers-synthetic": 5.0,
}
BREAKDOWNS = {
    "peers-mnist": "breakdown",
    "peers-mnist-dense": "breakdown-dense",
    "peers-hidden-128": "breakdown-hidden-128",
    "peers-hidden-512-512": "breakdown-hidden-512-512",
    "peers-synthetic": "breakdown-synthetic",
}
SHARE_OF_DENSE_TIME, SLOWEST_TO_FASTEST = 0.8, 1.25
SHARE_OF_SGEMM = 0.75
MOST_ADDED = {
    "L2": {16: 0.02, 128: 0.01},
    "batch norm before": {16: 0.15, 128: 0.10},
    "batch norm after": {16: 0.15, 128: 0.10},
    "dropout 0.2": {16: 0.05, 128: 0.05},
    "momentum": {16: 0.60, 128: 0.15},
    "Adam": {16: 1.20, 128: 0.25},
}
NUMBERS_BESIDE = {"momentum": 2, "Adam": 3}  # of each parameter beside its value: gradient and moments
EVALUATION_SECONDS = 3e-3
SIDE_BY_SIDE, TWO_THREADS, THREADS_FROM, NOT_SLOWER = 1.85, 1.35, 256, 0.98
GROWTH, TIMES_THE_ROWS, MEMORY_FACTOR, MEMORY_BESIDE = 1.15, 10, 1.3, 100e6
START_SECONDS = {"cold": 20.0, "warm": 1.5}
FIRST_EPOCH = "fastfnn train --epochs 1, first epoch"


class Target(NamedTuple):
    """One line: what, how much, what was found, whether that is enough, and what limits it."""

    what: str
    wanted: str
    found: str
    met: bool
    limits: Limits = ()  # sentences


def at_sizes(values: Mapping[int, float], text: Callable[[float], str]) -> str:
    """Numbers by batch size."""
    return ", ".join(f"{size}: {text(value)}" for size, value in values.items())


def times(value: float) -> str:
    """A factor."""
    return f"{value:.1f}x"


def percent(value: float) -> str:
    """A share or an addition."""
    return f"{100 * value:z.0f} %"


def at_least(what: str, wanted: Mapping[int, float], found: Mapping[int, float | None], limits: Limits = ()) -> Target:
    """Factors that are to be reached at every batch size that was timed."""
    timed = {size: value for size in wanted if (value := found.get(size)) is not None}
    met = all(value >= wanted[size] for size, value in timed.items())
    least = dict.fromkeys(wanted.values())
    aims = times(*least) if len(least) == 1 else at_sizes({size: wanted[size] for size in timed}, times)
    return Target(what, aims, at_sizes(timed, times), met, limits)


def ratios(workload: Workload) -> dict[int, float | None]:
    """The fastest other's time by fastfnn's."""
    return {size: workload.ratio(size) for size in workload.batch_sizes}


def fastest_others(workload: Workload) -> dict[int, float]:
    """The fastest other's time."""
    ours = {size: min(seconds) for size, seconds in workload.seconds[OURS].items()}
    return {size: ratio * ours[size] for size, ratio in ratios(workload).items() if ratio is not None}


def limits_of(workload: Workload, documents: Mapping[str, Document]) -> Limits:
    """What an epoch consists of, and the least that its products can take on one core."""
    found = []
    if breakdown := documents.get(BREAKDOWNS.get(workload.name, "")):
        found.append(parts_of_epoch(breakdown))
    if workload.peak_seconds is not None:
        peak = f"The dense products of an epoch, zeros too, take one core {milliseconds(workload.peak_seconds)} ms"
        others = at_sizes(fastest_others(workload), lambda seconds: f"{milliseconds(seconds)} ms")
        found.append(f"{peak} at its peak; the fastest others take {others}.")
    return tuple(found)


def parts_of_epoch(document: Document) -> str:
    """The parts that were measured, at the smallest and at the largest batch size."""
    *measured, reading = document["measurements"]
    sizes = sorted({each["batch_size"] for each in measured})
    text = ""
    for size in dict.fromkeys((sizes[0], sizes[-1])):
        parts = [each for each in measured if each["batch_size"] == size]
        text += f"An epoch at {size}, ms: {'; '.join(map(_part, parts))}. "
    rows = f"Reading the {reading['bytes'] / 1e6:.0f} MB of rows alone takes {milliseconds(reading['seconds'])} ms."
    return text + rows


def _part(measured: Mapping[str, Any]) -> str:
    peak = measured["peak_seconds"]
    text = f"{measured['part']} {milliseconds(measured['seconds'])}"
    return text if peak is None else f"{text}, of which multiply-adds at the peak {milliseconds(peak)}"


def of_mnist(workload: Workload, limits: Limits) -> Iterator[Target]:
    """The main network."""
    ours = {size: min(seconds) for size, seconds in workload.seconds[OURS].items()}
    if workload.dense_seconds is not None:
        shares = {size: seconds / workload.dense_seconds for size, seconds in ours.items()}
        aim = f"{SHARE_OF_DENSE_TIME:g} of {milliseconds(workload.dense_seconds)} ms"
        met = max(shares.values()) <= SHARE_OF_DENSE_TIME
        what = "an epoch, by the time of its dense products at the sgemm rate"
        yield Target(what, aim, at_sizes(shares, "{:.2f}".format), met, limits)
    spread = max(ours.values()) / min(ours.values())
    what = f"the slowest batch size from {min(ours)} to {max(ours)} by the fastest"
    yield Target(what, f"{SLOWEST_TO_FASTEST:g}", f"{spread:.2f}", spread <= SLOWEST_TO_FASTEST, limits)
    yield at_least("as fast as the fastest other", FASTEST_OTHER, ratios(workload), limits)
    if "torch" in workload.seconds:
        slower = {size: min(workload.seconds["torch"][size]) / ours[size] for size in PYTORCH if size in ours}
        yield at_least("as fast as PyTorch", PYTORCH, slower, limits)


def of_workload(workload: Workload, limits: Limits) -> Iterator[Target]:
    """Another network or kind of rows."""
    wanted = dict.fromkeys(workload.batch_sizes, OTHER_WORKLOADS[workload.name])
    yield at_least(f"as fast as the fastest other, {workload.title}", wanted, ratios(workload), limits)
    if workload.name == "peers-mnist-dense" and workload.dense_seconds is not None:
        rates = {size: workload.dense_seconds / min(seconds) for size, seconds in workload.seconds[OURS].items()}
        met = min(rates.values()) >= SHARE_OF_SGEMM
        found = at_sizes(rates, percent)
        yield Target("rows of floats, of the sgemm rate", percent(SHARE_OF_SGEMM), found, met, limits)


def of_variants(document: Document) -> Iterator[Target]:
    """What options add, and the evaluation."""
    measured = document["measurements"]
    for variant, most in MOST_ADDED.items():
        found = {e["batch_size"]: e["cost_of_minima"] for e in measured if e["variant"] == variant}
        timed = {size: cost for size, cost in found.items() if size in most}
        if timed:
            met = all(round(cost, 2) <= most[size] for size, cost in timed.items())
            aims = at_sizes({size: most[size] for size in timed}, percent)
            yield Target(f"{variant} adds at most", aims, at_sizes(timed, percent), met, traffic(variant, document))
    fastest = min(min(each["evaluation_seconds"]) for each in measured if each["variant"] == "plain SGD")
    what = f"evaluation of {document['settings']['evaluated_rows']:,} rows"
    yield Target(what, "3 ms", f"{milliseconds(fastest)} ms", fastest <= EVALUATION_SECONDS)


def traffic(variant: str, document: Document) -> Limits:
    """At which rate an optimiser that keeps more than the weights goes over what it keeps, in the time that it adds."""
    numbers, settings, limits = NUMBERS_BESIDE.get(variant), document["settings"], []
    plain = {e["batch_size"]: min(e["epoch_seconds"]) for e in document["measurements"] if e["variant"] == "plain SGD"}
    for each in document["measurements"]:
        if numbers is None or each["variant"] != variant:
            continue
        size = each["batch_size"]
        moved = 2 * 4 * numbers * settings["parameters"] * settings["steps"][str(size)]
        rate = moved / (min(each["epoch_seconds"]) - plain[size]) / 1e9
        limits.append(
            f"{variant} at {size} reads and writes up to {numbers} numbers more for each of {settings['parameters']:,} "
            f"parameters in each of {settings['steps'][str(size)]:,} steps: up to {rate:.0f} GB/s in the time it adds."
        )
    return tuple(limits)


def of_scaling(document: Document) -> Iterator[Target]:
    """Cores, and rows."""
    by_axis: dict[str, list[dict[str, Any]]] = {}
    for each in document["measurements"]:
        by_axis.setdefault(each["axis"], []).append(each)
    yield from of_concurrent_runs(by_axis.get("concurrent", []))
    yield from of_threads(by_axis.get("threads", []))
    yield from of_rows(by_axis.get("rows", []))


def of_concurrent_runs(measured: Sequence[dict[str, Any]]) -> Iterator[Target]:
    """Two runs at once, and what two processes get that do nothing but read, or multiply."""
    pairs = [each for each in measured if each["runs"] == 2]
    found = {each["batch_size"]: each["throughput_ratio"] for each in pairs if each["batch_size"]}
    beside = [f"{each['work']}: {each['throughput_ratio']:.2f}x" for each in pairs if not each["batch_size"]]
    if found:
        met = min(found.values()) >= SIDE_BY_SIDE
        text = at_sizes(found, "{:.2f}x".format)
        limits = (f"Two at once of what shares nothing but the machine: {', '.join(beside)}.",)
        yield Target("two runs side by side", f"{SIDE_BY_SIDE:g}x", text, met, limits)


def of_threads(measured: Sequence[dict[str, Any]]) -> Iterator[Target]:
    """One run on two threads."""
    epochs = {
        (each["threads"], each["batch_size"]): each["epoch_seconds"] for each in measured if "epoch_seconds" in each
    }
    sizes = [size for threads, size in epochs if threads == 2 and (1, size) in epochs]
    faster = {size: min(epochs[1, size]) / min(epochs[2, size]) for size in sizes}
    text = "{:.2f}x".format
    if large := {size: ratio for size, ratio in faster.items() if size >= THREADS_FROM}:
        met = min(large.values()) >= TWO_THREADS
        what = f"two threads, from {THREADS_FROM} on"
        yield Target(what, f"{TWO_THREADS:g}x", at_sizes(large, text), met, limits_of_threads(measured))
    if small := {size: ratio for size, ratio in faster.items() if size < THREADS_FROM}:
        what = "two threads below, where one is used that does not pay for two"
        yield Target(what, "not slower", at_sizes(small, text), min(small.values()) >= NOT_SLOWER)


def limits_of_threads(measured: Sequence[dict[str, Any]]) -> Limits:
    """What it takes to read what another core has written."""
    return tuple(
        f"Reading {each['exchanged_bytes'] / 1000:.0f} kB, as much as the first layer's weights have, takes "
        f"{1e6 * statistics.median(each['other_core_seconds']):.1f} us where another core has just written them, "
        f"{1e6 * statistics.median(each['same_core_seconds']):.1f} us where the same one has. In each step, each "
        "thread reads half the weights that the other has written, and writes to the half that the other has read. "
        "From 512 on, it does so with half a gradient as large too."
        for each in measured
        if "exchanged_bytes" in each
    )


def of_rows(measured: Sequence[dict[str, Any]]) -> Iterator[Target]:
    """Time and memory against the number of rows."""
    if len(measured) < 2:
        return
    first = measured[0]
    tenfold = min(measured, key=lambda each: abs(each["rows"] - TIMES_THE_ROWS * first["rows"]))
    growth, reading = (
        (min(tenfold[kind]) / tenfold["rows"]) / (min(first[kind]) / first["rows"])
        for kind in ("epoch_seconds", "reading_seconds")
    )
    what = f"a row's time with {tenfold['rows']:,} rows, by that with {first['rows']:,}"
    limits = (f"Reading a row alone takes {reading:.2f} times as long there.",)
    yield Target(what, f"{GROWTH:g}", f"{growth:.2f}", growth <= GROWTH, limits)
    last = measured[-1]
    most = MEMORY_FACTOR * last["rows_bytes"] + MEMORY_BESIDE
    used = last["peak_private_bytes"]
    if used is not None:
        what = f"memory with {last['rows']:,} rows"
        yield Target(what, f"{most / 1e6:,.0f} MB", f"{used / 1e6:,.0f} MB", used <= most)


def of_startup(document: Document) -> Iterator[Target]:
    """From the command to the end of the first epoch."""
    for state, most in START_SECONDS.items():
        found = [e["seconds"] for e in document["measurements"] if (e["state"], e["what"]) == (state, FIRST_EPOCH)]
        for seconds in found:
            text = f"{min(seconds):.1f} s (median {statistics.median(seconds):.1f})"
            yield Target(f"first epoch, {state} cache", f"{most:g} s", text, min(seconds) <= most)


OF_DOCUMENTS: dict[str, Callable[[Document], Iterator[Target]]] = {
    "variants": of_variants,
    "scaling": of_scaling,
    "startup": of_startup,
}


def targets(workloads: Sequence[Workload], documents: Mapping[str, Document]) -> list[Target]:
    """All that the documents tell about."""
    found: list[Target] = []
    for workload in workloads:
        if workload.name == "peers-mnist":
            found += of_mnist(workload, limits_of(workload, documents))
        elif workload.name in OTHER_WORKLOADS:
            found += of_workload(workload, limits_of(workload, documents))
    for name, make in OF_DOCUMENTS.items():
        if name in documents:
            found += make(documents[name])
    return found


def targets_section(workloads: Sequence[Workload], documents: Mapping[str, Document]) -> str:
    """The table, and what limits those that are missed."""
    found = targets(workloads, documents)
    if not found:
        return ""
    rows = [(each.what, each.wanted, each.found, "yes" if each.met else "**no**") for each in found]
    missed: dict[Limits, list[str]] = {}
    for each in found:
        if each.limits and not each.met:
            missed.setdefault(each.limits, []).append(each.what)
    text = INTRODUCTION + "\n" + table(("", "target", "found", "met"), rows)
    if missed:
        text += "\nOf those that are missed, what was measured of the limits:\n"
    for limits, names in missed.items():
        text += "".join([f"\n- {'; '.join(names)}\n", *(f"  - {sentence}\n" for sentence in limits)])
    return text
