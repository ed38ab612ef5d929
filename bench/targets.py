"""What was aimed at and what was found: all of it from the documents."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from peer_results import Workload
from rivals import OURS
from tables import table
from target_limits import (
    Document,
    Limits,
    at_sizes,
    limits_of,
    limits_of_optimiser,
    limits_of_products,
    limits_of_registers,
    limits_of_threads,
    limits_of_weights,
    of_a_row,
    percent,
    rate_aimed_at,
    ratios,
    reading_of_rows,
)

from fastfnn.benchmarks.rounds import milliseconds

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


def times(value: float) -> str:
    """A factor."""
    return f"{value:.1f}x"


def at_least(what: str, wanted: Mapping[int, float], found: Mapping[int, float | None], limits: Limits = ()) -> Target:
    """Factors that are to be reached at every batch size that was timed."""
    timed = {size: value for size in wanted if (value := found.get(size)) is not None}
    met = all(value >= wanted[size] for size, value in timed.items())
    least = dict.fromkeys(wanted.values())
    aims = times(*least) if len(least) == 1 else at_sizes({size: wanted[size] for size in timed}, times)
    return Target(what, aims, at_sizes(timed, times), met, limits)


def of_mnist(workload: Workload, limits: Limits, documents: Mapping[str, Document]) -> Iterator[Target]:
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
    of_spread = limits_of_registers(documents) or limits
    yield Target(what, f"{SLOWEST_TO_FASTEST:g}", f"{spread:.2f}", spread <= SLOWEST_TO_FASTEST, of_spread)
    yield at_least("as fast as the fastest other", FASTEST_OTHER, ratios(workload), limits)
    if "torch" in workload.seconds:
        slower = {size: min(workload.seconds["torch"][size]) / ours[size] for size in PYTORCH if size in ours}
        yield at_least("as fast as PyTorch", PYTORCH, slower, limits)


def of_workload(workload: Workload, limits: Limits, documents: Mapping[str, Document]) -> Iterator[Target]:
    """Another network or kind of rows."""
    factor = OTHER_WORKLOADS[workload.name]
    if workload.name == "peers-synthetic":
        limits = limits_of_weights(documents) + limits
    else:
        limits += rate_aimed_at(workload, factor)
    wanted = dict.fromkeys(workload.batch_sizes, factor)
    yield at_least(f"as fast as the fastest other, {workload.title}", wanted, ratios(workload), limits)
    if workload.name == "peers-mnist-dense" and workload.dense_seconds is not None:
        rates = {size: workload.dense_seconds / min(seconds) for size, seconds in workload.seconds[OURS].items()}
        met = min(rates.values()) >= SHARE_OF_SGEMM
        found = at_sizes(rates, percent)
        of_rate = limits_of_products(documents) + limits
        yield Target("rows of floats, of the sgemm rate", percent(SHARE_OF_SGEMM), found, met, of_rate)


def of_variants(document: Document, documents: Mapping[str, Document]) -> Iterator[Target]:
    """What options add, and the evaluation."""
    measured = document["measurements"]
    for variant, most in MOST_ADDED.items():
        found = {e["batch_size"]: e["cost_of_minima"] for e in measured if e["variant"] == variant}
        timed = {size: cost for size, cost in found.items() if size in most}
        if timed:
            met = all(round(cost, 2) <= most[size] for size, cost in timed.items())
            aims = at_sizes({size: most[size] for size in timed}, percent)
            limits = limits_of_optimiser(variant, document, documents)
            yield Target(f"{variant} adds at most", aims, at_sizes(timed, percent), met, limits)
    fastest = min(min(each["evaluation_seconds"]) for each in measured if each["variant"] == "plain SGD")
    what = f"evaluation of {document['settings']['evaluated_rows']:,} rows"
    yield Target(what, "3 ms", f"{milliseconds(fastest)} ms", fastest <= EVALUATION_SECONDS)


def of_scaling(document: Document, _: Mapping[str, Document]) -> Iterator[Target]:
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
        yield Target(what, f"{TWO_THREADS:g}x", at_sizes(large, text), met, limits_of_threads(measured, THREADS_FROM))
    used = {each["batch_size"]: each["used_threads"] for each in measured if each.get("threads") == 2}
    if small := {size: ratio for size, ratio in faster.items() if size < THREADS_FROM and used[size] > 1}:
        what = "two threads below, where both are used"
        yield Target(what, "not slower", at_sizes(small, text), min(small.values()) >= NOT_SLOWER)


def of_rows(measured: Sequence[dict[str, Any]]) -> Iterator[Target]:
    """Time and memory against the number of rows."""
    if len(measured) < 2:
        return
    first = measured[0]
    tenfold = min(measured, key=lambda each: abs(each["rows"] - TIMES_THE_ROWS * first["rows"]))
    growth = of_a_row(tenfold, "epoch_seconds") / of_a_row(first, "epoch_seconds")
    what = f"a row's time with {tenfold['rows']:,} rows, by that with {first['rows']:,}"
    limits = (reading_of_rows(first, tenfold),)
    yield Target(what, f"{GROWTH:g}", f"{growth:.2f}", growth <= GROWTH, limits)
    last = measured[-1]
    most = MEMORY_FACTOR * last["rows_bytes"] + MEMORY_BESIDE
    used = last["peak_private_bytes"]
    if used is not None:
        what = f"memory with {last['rows']:,} rows"
        yield Target(what, f"{most / 1e6:,.0f} MB", f"{used / 1e6:,.0f} MB", used <= most)


def of_startup(document: Document, _: Mapping[str, Document]) -> Iterator[Target]:
    """From the command to the end of the first epoch."""
    for state, most in START_SECONDS.items():
        found = [e["seconds"] for e in document["measurements"] if (e["state"], e["what"]) == (state, FIRST_EPOCH)]
        for seconds in found:
            text = f"{min(seconds):.1f} s (median {statistics.median(seconds):.1f})"
            yield Target(f"first epoch, {state} cache", f"{most:g} s", text, min(seconds) <= most)


OF_DOCUMENTS: dict[str, Callable[[Document, Mapping[str, Document]], Iterator[Target]]] = {
    "variants": of_variants,
    "scaling": of_scaling,
    "startup": of_startup,
}


def targets(workloads: Sequence[Workload], documents: Mapping[str, Document]) -> list[Target]:
    """All that the documents tell about."""
    found: list[Target] = []
    for workload in workloads:
        if workload.name == "peers-mnist":
            found += of_mnist(workload, limits_of(workload, documents), documents)
        elif workload.name in OTHER_WORKLOADS:
            found += of_workload(workload, limits_of(workload, documents), documents)
    for name, make in OF_DOCUMENTS.items():
        if name in documents:
            found += make(documents[name], documents)
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
