"""What is said about the times: which count, what they are to each other and to what the core can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from peer_results import read_workload
from tables import table

from fastfnn.benchmarks.rounds import milliseconds, minimum_and_median
from fastfnn.report.formatting import percent

from . import OURS

Document = dict[str, Any]
HEADERS = ("peer", "threads", "ms, minimum (median)", "times fastfnn", "of the sgemm rate", "of the FMA peak")


@dataclass(frozen=True)
class Limits:
    """What the dense products of an epoch would take on one core.

    Attributes:
        operations: of these products, two a multiply-add.
        sgemm_gflops, fma_peak_gflops: the best rates of all rounds, in 10**9 operations a second.
    """

    operations: int
    sgemm_gflops: float
    fma_peak_gflops: float

    @property
    def sgemm_seconds(self) -> float:
        """At the rate of sgemm."""
        return self.operations / self.sgemm_gflops / 1e9

    @property
    def peak_seconds(self) -> float:
        """At the most that the core's units for fused multiply-adds can do."""
        return self.operations / self.fma_peak_gflops / 1e9

    @classmethod
    def of(cls, operations: int, rates: Sequence[dict[str, float]]) -> Limits:
        """From the rates of all rounds."""
        return cls(operations, *(max(rate[name] for rate in rates) for name in ("sgemm_gflops", "fma_peak_gflops")))


def that_count(measurements: Sequence[Document]) -> tuple[list[Document], list[Document]]:
    """Of each peer and batch size the thread count with the smallest minimum, and all others.

    Only fastfnn's is always one thread: every claim is made with that.
    """
    best: dict[tuple[str, int], Document] = {}
    for each in measurements:
        key = each["peer"], each["batch_size"]
        if each["peer"] == OURS:
            better = each["threads"] == 1
        else:
            better = key not in best or min(each["seconds"]) < min(best[key]["seconds"])
        if better:
            best[key] = each
    counting = list(best.values())
    return counting, [each for each in measurements if not any(each is counted for counted in counting)]


def tables_by_batch_size(document: Document) -> dict[int, str]:
    """A Markdown table for each batch size: fastfnn, then the peers from the fastest to the slowest."""
    limits = limits_of(document)
    ours = {each["batch_size"]: each for each in document["measurements"] if each["peer"] == OURS}
    result = {}
    for batch_size, base in ours.items():
        shown = [each for each in document["measurements"] if each["batch_size"] == batch_size]
        shown += [e for e in document["other_measurements"] if e["peer"] == OURS and e["batch_size"] == batch_size]
        shown.sort(key=lambda each: (each["peer"] != OURS, min(each["seconds"])))
        result[batch_size] = table(HEADERS, [_row(each, base, limits) for each in shown])
    return result


def _row(measured: Document, ours: Document, limits: Limits) -> list[str]:
    seconds = min(measured["seconds"])
    return [
        measured["peer"],
        str(measured["threads"]),
        minimum_and_median(measured["seconds"]),
        f"{seconds / min(ours['seconds']):.2f}",
        percent(limits.sgemm_seconds / seconds, 0),
        percent(limits.peak_seconds / seconds, 0),
    ]


def in_text(document: Document) -> str:
    """All that is printed."""
    limits, settings = limits_of(document), document["settings"]
    parts = [
        f"{settings['network']} on {settings['data']}, {settings['rows']:,} rows; one core: sgemm "
        f"{limits.sgemm_gflops:.0f} GFLOP/s, fused multiply-adds {limits.fma_peak_gflops:.0f} GFLOP/s; "
        f"an epoch's dense products at sgemm rate: {milliseconds(limits.sgemm_seconds)} ms\n"
    ]
    parts += [f"\nbatch size {size}\n\n{text}" for size, text in tables_by_batch_size(document).items()]
    parts += [f"\n{peer}: {reason}\n" for peer, reason in document["unavailable"].items()]
    workload = read_workload("", "", document)
    ratios = {size: ratio for size in workload.batch_sizes if (ratio := workload.ratio(size)) is not None}
    if ratios:
        texts = [f"{ratio:.1f}x at {size} ({workload.fastest_other(size)})" for size, ratio in ratios.items()]
        parts.append(f"\nagainst the fastest peer: {', '.join(texts)}\n")
    return "".join(parts)


def limits_of(document: Document) -> Limits:
    """The limits that the document's rates set."""
    return Limits.of(document["settings"]["dense_operations"], document["rates"])
