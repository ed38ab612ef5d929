"""What is said of targets, from documents with numbers that are easy to check."""

from __future__ import annotations

from typing import Any

import pytest
from peer_results import Workload
from targets import FIRST_EPOCH, Target, targets, targets_section

PART = {"batch_size": 128, "seconds": 0.004, "peak_seconds": 0.001}
BREAKDOWN = {
    "measurements": [
        {**PART, "part": "the rest", "peak_seconds": None},
        {**PART, "part": "dense features, update"},
        {"part": "reading", "bytes": 18e6, "seconds": 0.003},
    ]
}


def scaling(**changes: Any) -> dict[str, Any]:
    """Two runs at once, two threads, and rows by the thousand, with times that meet every target."""
    row = {"axis": "rows", "reading_seconds": [0.001], "peak_private_bytes": 150e6}
    facts = {"concurrent": 1.9, "threads": 0.7, "rows": 0.11, **changes}
    return {
        "measurements": [
            {"axis": "concurrent", "work": "training", "batch_size": 16, "runs": 1, "throughput_ratio": 1.0},
            {"axis": "concurrent", "work": "training", "batch_size": 16, "runs": 2, "throughput_ratio": 1.9},
            {
                **{"axis": "concurrent", "work": "training", "batch_size": 128, "runs": 2},
                "throughput_ratio": facts["concurrent"],
            },
            {"axis": "concurrent", "work": "reading", "batch_size": None, "runs": 2, "throughput_ratio": 1.7},
            {"axis": "threads", "threads": 1, "batch_size": 16, "epoch_seconds": [1.0, 2.0]},
            {"axis": "threads", "threads": 2, "batch_size": 16, "epoch_seconds": [1.01, 1.02]},
            {"axis": "threads", "threads": 1, "batch_size": 256, "epoch_seconds": [1.0]},
            {"axis": "threads", "threads": 2, "batch_size": 256, "epoch_seconds": [facts["threads"]]},
            {"axis": "threads", "threads": 3, "refused": "this version"},
            {
                **{"axis": "threads", "exchanged_bytes": 62_000},
                **{"other_core_seconds": [3e-6, 9e-6, 4e-6], "same_core_seconds": [1e-6]},
            },
            {**row, "rows": 1000, "rows_bytes": 1e6, "epoch_seconds": [0.01]},
            {
                **{**row, "rows": 10000, "rows_bytes": 50e6, "reading_seconds": [0.02]},
                "epoch_seconds": [facts["rows"]],
            },
        ]
    }


def startup(cold: float) -> dict[str, Any]:
    return {
        "measurements": [
            {"state": "cold", "what": FIRST_EPOCH, "seconds": [cold, 30.0]},
            {"state": "cold", "what": "fastfnn --help, end", "seconds": [0.1]},
        ]
    }


def variants(cost: float) -> dict[str, Any]:
    """An epoch of plain SGD takes 0.1 s."""
    plain = {"variant": "plain SGD", "batch_size": 16, "cost_of_minima": 0.0, "evaluation_seconds": [0.002, 0.01]}
    plain["epoch_seconds"] = [0.1, 0.2]
    changed = {**plain, "variant": "momentum", "cost_of_minima": cost, "epoch_seconds": [0.1 * (1 + cost)]}
    return {
        "settings": {"evaluated_rows": 10_000, "parameters": 1_000_000, "steps": {"16": 100}},
        "measurements": [plain, changed],
    }


def mnist(ours: float) -> Workload:
    return Workload(
        "peers-mnist",
        "784-20-7-5-10",
        {
            "fastfnn": {16: [ours, 0.05], 128: [0.010]},
            "torch": {16: [0.60], 128: [0.12]},
            "jax": {16: [0.12], 128: [0.05]},
        },
        dense_seconds=0.016,
        peak_seconds=0.01,
    )


def by_what(found: list[Target]) -> dict[str, Target]:
    return {each.what: each for each in found}


@pytest.mark.parametrize(("ours", "expected"), [(0.012, [True] * 4), (0.013, [False, False, False, False])])
def test_the_main_network(ours: float, expected: list[bool]) -> None:
    found = targets([mnist(ours)], {"breakdown": BREAKDOWN})
    assert [each.met for each in found] == expected
    assert [each.wanted for each in found] == [
        "0.8 of 16.0 ms",
        "1.25",
        "16: 10.0x, 128: 4.0x",
        "16: 50.0x, 128: 12.0x",
    ]
    if ours == 0.012:
        assert [each.found for each in found] == [
            "16: 0.75, 128: 0.62",
            "1.20",
            "16: 10.0x, 128: 5.0x",
            "16: 50.0x, 128: 12.0x",
        ]


def test_another_network_has_its_own_target_and_limits() -> None:
    wide = Workload(
        "peers-hidden-512-512",
        "784-512-512-10",
        {"fastfnn": {16: [1.0], 128: [1.0]}, "jax": {16: [1.5], 128: [0.9]}},
        peak_seconds=0.95,
    )
    (found,) = targets([wide], {})
    assert (found.wanted, found.found, found.met) == ("1.0x", "16: 1.5x, 128: 0.9x", False)
    assert found.limits == (
        "The dense products of an epoch, zeros too, take one core 950.0 ms at its peak; "
        "the fastest others take 16: 1500.0 ms, 128: 900.0 ms.",
    )


def test_rows_of_floats_are_compared_with_products_too() -> None:
    dense = Workload("peers-mnist-dense", "floats", {"fastfnn": {16: [0.02]}, "jax": {16: [0.04]}}, dense_seconds=0.016)
    ratio, rate = targets([dense], {"breakdown-dense": BREAKDOWN})
    assert (ratio.wanted, ratio.found, ratio.met) == ("1.8x", "16: 2.0x", True)
    assert (rate.wanted, rate.found, rate.met) == ("75 %", "16: 80 %", True)
    assert rate.limits == (
        "An epoch at 128, ms: the rest 4.00; dense features, update 4.00, of which multiply-adds at the peak 1.00. "
        "Reading the 18 MB of rows alone takes 3.00 ms.",
    )


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({}, None),
        ({"concurrent": 1.84}, "two runs side by side"),
        ({"threads": 0.8}, "two threads, from 256 on"),
        ({"rows": 0.12}, "a row's time with 10,000 rows, by that with 1,000"),
    ],
)
def test_cores_and_rows(changes: dict[str, float], missed: str | None) -> None:
    found = by_what(targets([], {"scaling": scaling(**changes)}))
    assert [what for what, each in found.items() if not each.met] == ([missed] if missed else [])
    assert found["memory with 10,000 rows"].wanted == "165 MB"
    if missed and missed.startswith("a row"):
        assert found[missed].limits == ("Reading a row alone takes 2.00 times as long there.",)
    if missed and missed.startswith("two threads"):
        (limit,) = found[missed].limits
        assert limit.startswith("Reading 62 kB, as much as the first layer's weights have, takes 4.0 us where another")
        assert "1.0 us where the same one has" in limit


@pytest.mark.parametrize(("cost", "met"), [(0.604, True), (0.61, False)])
def test_options(cost: float, met: bool) -> None:
    momentum, evaluation = targets([], {"variants": variants(cost)})
    assert (momentum.what, momentum.wanted, momentum.met) == ("momentum adds at most", "16: 60 %", met)
    assert (evaluation.found, evaluation.met) == ("2.00 ms", True)
    # 1.6 GB in 60 or 61 ms.
    assert momentum.limits == (
        "momentum at 16 reads and writes up to 2 numbers more for each of 1,000,000 parameters in each of 100 steps: "
        "up to 26 GB/s in the time it adds.",
    )


def test_the_section_names_each_limit_once() -> None:
    text = targets_section([mnist(0.013)], {"breakdown": BREAKDOWN, "startup": startup(21.0)})
    assert "| first epoch, cold cache | 20 s | 21.0 s (median 25.5) | **no** |" in text
    assert text.count("Reading the 18 MB of rows alone") == 1
    assert "- an epoch, by the time of its dense products at the sgemm rate; the slowest batch size" in text


def test_no_documents_no_section() -> None:
    assert targets_section([], {}) == ""
    assert "limits" not in targets_section([], {"startup": startup(19.0)})
