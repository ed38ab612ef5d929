"""What was measured of the limits of what is aimed at, in sentences: all of it from the documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from peer_results import Workload
from rivals import OURS

from fastfnn.benchmarks.rounds import milliseconds

Document = dict[str, Any]
Limits = tuple[str, ...]

BREAKDOWNS = {
    "peers-mnist": "breakdown",
    "peers-mnist-dense": "breakdown-dense",
    "peers-hidden-128": "breakdown-hidden-128",
    "peers-hidden-512-512": "breakdown-hidden-512-512",
    "peers-synthetic": "breakdown-synthetic",
}


def at_sizes(values: Mapping[int, float], text: Callable[[float], str]) -> str:
    """Numbers by batch size."""
    return ", ".join(f"{size}: {text(value)}" for size, value in values.items())


def percent(value: float) -> str:
    """A share or an addition."""
    return f"{100 * value:z.0f} %"


def ratios(workload: Workload) -> dict[int, float | None]:
    """The fastest other's time by fastfnn's."""
    return {size: workload.ratio(size) for size in workload.batch_sizes}


def fastest_others(workload: Workload) -> dict[int, float]:
    """The fastest other's time."""
    ours = {size: min(seconds) for size, seconds in workload.seconds[OURS].items()}
    return {size: ratio * ours[size] for size, ratio in ratios(workload).items() if ratio is not None}


def limits_of(workload: Workload, documents: Mapping[str, Document]) -> Limits:
    """What an epoch consists of, the least that its products can take on one core, and what more threads make of it."""
    found = []
    if breakdown := documents.get(BREAKDOWNS.get(workload.name, "")):
        found += [parts_of_epoch(breakdown), *peak_of_bytes(breakdown, documents)]
    if workload.peak_seconds is not None:
        peak = f"The dense products of an epoch, zeros too, take one core {milliseconds(workload.peak_seconds)} ms"
        others = at_sizes(fastest_others(workload), lambda seconds: f"{milliseconds(seconds)} ms")
        found.append(f"{peak} at its peak; the fastest others take {others}.")
    for name, times in workload.beside.items():
        faster = {size: other / min(times[size]) for size, other in fastest_others(workload).items() if size in times}
        found.append(f"{name}: as fast as the fastest other {at_sizes(faster, '{:.1f}x'.format)}.")
    return tuple(found)


def rate_aimed_at(workload: Workload, factor: float) -> Limits:
    """What it would take of a core to be so many times as fast as the fastest other."""
    if workload.peak_seconds is None:
        return ()
    shares = {size: factor * workload.peak_seconds / seconds for size, seconds in fastest_others(workload).items()}
    return (
        f"For the target, one core would do the dense products at that share of its peak: {at_sizes(shares, percent)}.",
    )


def parts_of_epoch(document: Document) -> str:
    """The parts that were measured, at the smallest and at the largest batch size."""
    *measured, reading = document["measurements"]
    sizes = sorted({each["batch_size"] for each in measured})
    text = ""
    for size in dict.fromkeys((sizes[0], sizes[-1])):
        parts = [each for each in measured if each["batch_size"] == size]
        text += f"An epoch at {size}, ms: {'; '.join(map(_part, parts))}. "
    seconds = milliseconds(reading["seconds"])
    return text + f"Reading the {reading['bytes'] / 1e6:.0f} MB of rows, one after the other, takes {seconds} ms."


def _part(measured: Mapping[str, Any]) -> str:
    peak = measured["peak_seconds"]
    text = f"{measured['part']} {milliseconds(measured['seconds'])}"
    return text if peak is None else f"{text}, {milliseconds(peak)} by multiply-adds at the peak"


def peak_of_bytes(breakdown: Document, documents: Mapping[str, Document]) -> Limits:
    """The least time of dense features that are bytes."""
    sentences = []
    for measured in measured_limits(documents, "bytes"):
        dense = [each for each in breakdown["measurements"] if each["part"].startswith("dense features")]
        if dense and breakdown["settings"]["input"] != "dense":  # as rows of floats are
            rate = measured["operations"] / min(measured["seconds"])
            least = 2 * dense[0]["multiply_adds"] / rate
            sentences.append(
                f"Products of bytes, which dense features have from 32 examples on, are done at {rate / 1e9:.0f} "
                f"GFLOP/s at most, three of them for one of a weight: {milliseconds(least)} ms forward, and as many in "
                f"the update."
            )
    return tuple(sentences)


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


def limits_of_threads(measured: Sequence[dict[str, Any]], smallest: int) -> Limits:
    """What it takes to exchange the first layer's weights, and how much faster two threads would be beside that.

    Where threads divide kinds of features, none are exchanged.
    """
    exchanged = [each for each in measured if "exchanged_bytes" in each]
    if not exchanged:
        return ()
    (found,) = exchanged
    longer = min(found["other_core_seconds"]) - min(found["same_core_seconds"])
    expected = {}
    for each in measured:
        if each.get("threads") == 1 and each["batch_size"] >= smallest and not each["by_kinds"]:
            alone = min(each["epoch_seconds"])
            expected[each["batch_size"]] = alone / (alone / 2 + each["steps"] * 2 * longer)
    faster = at_sizes(expected, "{:.2f}x".format)
    return (
        f"Two threads that each change half of {found['exchanged_bytes'] / 1000:.0f} kB, as many as the first layer's "
        f"weights have, and then read the half that the other has changed, take {1e6 * longer:.1f} us more than if "
        f"each reads its own. A step divided by examples does so with the weights and with their gradients. With all "
        f"else divided evenly, and nothing else done meanwhile, two would be {faster} as fast.",
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
