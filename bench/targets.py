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


def measured_limits(documents: Mapping[str, Document], kind: str) -> list[dict[str, Any]]:
    """What limits.py measured of one kind."""
    measured = documents.get("limits", {"measurements": []})["measurements"]
    return [each for each in measured if each["limit"] == kind]


def limits_of_registers(documents: Mapping[str, Document]) -> Limits:
    """By batch size, what matrix registers gain."""
    sentences = []
    for kind in dict.fromkeys(each["registers"] for each in measured_limits(documents, "registers")):
        epochs = {
            each["batch_size"]: min(each["seconds"])
            for each in measured_limits(documents, "registers")
            if each["registers"] == kind
        }
        spread = max(epochs.values()) / min(epochs.values())
        sentences.append(
            f"With {kind}, epochs take {at_sizes(epochs, milliseconds)} ms, the slowest {spread:.2f} times the fastest."
        )
    return tuple(sentences)


def limits_of_products(documents: Mapping[str, Document]) -> Limits:
    """What a good library makes of products of this shape."""
    measured = measured_limits(documents, "products")
    if not measured:
        return ()
    rates = {each["batch_size"]: each["operations"] / min(each["seconds"]) / 1e9 for each in measured}
    large = measured[0]["sgemm_gflops"]
    shares = at_sizes({size: rate / large for size, rate in rates.items()}, percent)
    return (
        f"NumPy's BLAS, which multiplies large matrices at {large:.0f} GFLOP/s, does the products of the first layer "
        f"alone, of rows that lie one after the other, at that share of this rate: {shares}.",
    )


def limits_of_weights(documents: Mapping[str, Document]) -> Limits:
    """How fast the weights of listed features come, at best."""
    measured = measured_limits(documents, "weights")
    rates = [f"{each['bytes'] / min(each['seconds']) / 1e9:.1f} GB/s {each['what']}" for each in measured]
    if not rates:
        return ()
    size, asked = measured[0]["bytes"], measured[0]["asked_bytes"]
    slowest = min(each["bytes"] / min(each["seconds"]) for each in measured)
    return (
        f"Gone over from the first one to the last, {size / 1e6:.1f} MB, as many as the first layer's weights, come at "
        f"{', '.join(rates)}. The listed features of an epoch ask for {asked / 1e6:.0f} MB of them forward, and for as "
        f"many in the update: {milliseconds(2 * asked / slowest)} ms at this rate, less what is in the caches still.",
    )


def limits_of_optimiser(variant: str, document: Document, documents: Mapping[str, Document]) -> Limits:
    """The least time that an optimiser's numbers take, of that which it adds."""
    limits = []
    for each in measured_limits(documents, "optimisers"):
        if each["optimiser"] != variant:
            continue
        for size, steps in document["settings"]["steps"].items():
            of_size = {e["variant"]: e for e in document["measurements"] if e["batch_size"] == int(size)}
            plain, added = (min(of_size[name]["epoch_seconds"]) for name in ("plain SGD", variant))
            least = steps * min(each["seconds"])
            limits.append(
                f"Reading and writing {each['numbers']} numbers for each of {each['parameters']:,} parameters, and "
                f"nothing else, takes {milliseconds(least)} ms in the {steps:,} steps of an epoch at {size}: "
                f"{percent(least / plain)} of plain SGD. {variant} adds {milliseconds(added - plain)} ms."
            )
    return tuple(limits)


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
    if workload.name == "peers-synthetic":
        limits = limits_of_weights(documents) + limits
    wanted = dict.fromkeys(workload.batch_sizes, OTHER_WORKLOADS[workload.name])
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
        yield Target(what, f"{TWO_THREADS:g}x", at_sizes(large, text), met, limits_of_threads(measured))
    if small := {size: ratio for size, ratio in faster.items() if size < THREADS_FROM}:
        what = "two threads below, where one is used that does not pay for two"
        yield Target(what, "not slower", at_sizes(small, text), min(small.values()) >= NOT_SLOWER)


def limits_of_threads(measured: Sequence[dict[str, Any]]) -> Limits:
    """What it takes to exchange the first layer's weights, and how much faster two threads could be beside that."""
    exchanged = [each for each in measured if "exchanged_bytes" in each]
    if not exchanged:
        return ()
    (found,) = exchanged
    longer = min(found["other_core_seconds"]) - min(found["same_core_seconds"])
    most = {}
    for each in measured:
        if each.get("threads") == 1 and each["batch_size"] >= THREADS_FROM:
            alone = min(each["epoch_seconds"])
            most[each["batch_size"]] = alone / (alone / 2 + each["steps"] * 2 * longer)
    return (
        f"Two threads that each change half of {found['exchanged_bytes'] / 1000:.0f} kB, as many as the first layer's "
        f"weights have, and then read the half that the other has changed, take {1e6 * longer:.1f} us more than if "
        f"each reads its own. A step does so with the weights and with their gradients. With all else divided evenly, "
        f"two could be {at_sizes(most, '{:.2f}x'.format)} as fast.",
    )


def of_a_row(measured: Mapping[str, Any], kind: str) -> float:
    """The least time of a row."""
    return float(min(measured[kind]) / measured["rows"])


def reading_of_rows(few: Mapping[str, Any], many: Mapping[str, Any]) -> str:
    """What more rows cost anybody who reads them in random order."""
    texts = [
        f"{1e9 * of_a_row(each, 'epoch_seconds'):.0f} ns of {each['rows']:,}, of which reading it, and nothing else, "
        f"takes {1e9 * of_a_row(each, 'reading_seconds'):.0f}"
        for each in (few, many)
    ]
    return f"A row takes {'; '.join(texts)}."


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
