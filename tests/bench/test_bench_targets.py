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


def threads_of(threads: int, batch_size: int, seconds: list[float]) -> dict[str, Any]:
    of_run = {"threads": threads, "used_threads": threads, "by_kinds": True, "batch_size": batch_size, "steps": 100}
    return {"axis": "threads", **of_run, "epoch_seconds": seconds}


def scaling(**changes: Any) -> dict[str, Any]:
    """Two runs at once, two threads, and rows by the thousand, with times that meet every target."""
    row = {"axis": "rows", "reading_seconds": [0.001], "peak_private_bytes": 150e6}
    facts = {"concurrent": 1.9, "threads": 0.7, "few": 0.9, "rows": 0.11, **changes}
    return {
        "measurements": [
            {"axis": "concurrent", "work": "training", "batch_size": 16, "runs": 1, "throughput_ratio": 1.0},
            {"axis": "concurrent", "work": "training", "batch_size": 16, "runs": 2, "throughput_ratio": 1.9},
            {
                **{"axis": "concurrent", "work": "training", "batch_size": 128, "runs": 2},
                "throughput_ratio": facts["concurrent"],
            },
            {"axis": "concurrent", "work": "reading", "batch_size": None, "runs": 2, "throughput_ratio": 1.7},
            {**threads_of(1, 16, [1.0, 2.0]), "used_threads": 1},
            {**threads_of(2, 16, [1.5, 2.5]), "used_threads": 1},
            threads_of(1, 64, [1.0, 2.0]),
            threads_of(2, 64, [facts["few"], 2.0]),
            threads_of(1, 128, [1.0]),
            threads_of(2, 128, [0.8]),
            threads_of(1, 256, [1.0]),
            threads_of(2, 256, [facts["threads"]]),
            {**threads_of(1, 512, [1.0]), "by_kinds": False},
            {**threads_of(2, 512, [0.6]), "by_kinds": False},
            {"axis": "threads", "threads": 3, "refused": "this version"},
            {
                **{"axis": "threads", "exchanged_bytes": 62_000},
                **{"other_core_seconds": [1.6e-3, 1.5e-3], "same_core_seconds": [0.25e-3, 0.3e-3]},
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
        beside={"fastfnn, 2 threads": {128: [0.75, 0.6]}},
        peak_seconds=0.95,
    )
    (found,) = targets([wide], {})
    assert (found.wanted, found.found, found.met) == ("1.0x", "16: 1.5x, 128: 0.9x", False)
    assert found.limits == (
        "The dense products of an epoch, zeros too, take one core 950.0 ms at its peak; "
        "the fastest others take 16: 1500.0 ms, 128: 900.0 ms.",
        "fastfnn, 2 threads: as fast as the fastest other 128: 1.5x.",
        "For the target, one core would do the dense products at that share of its peak: 16: 63 %, 128: 106 %.",
    )


def test_dense_features_that_are_bytes_have_a_peak_of_their_own() -> None:
    narrow = Workload("peers-hidden-128", "784-128-10", {"fastfnn": {16: [0.04]}, "jax": {16: [0.08]}})
    dense = {**PART, "part": "dense features, update", "multiply_adds": 10**9}
    measured = [BREAKDOWN["measurements"][0], dense, BREAKDOWN["measurements"][-1]]
    peak = {"limit": "bytes", "operations": 6 * 10**8, "seconds": [3e-3, 2e-3]}
    documents = {
        "breakdown-hidden-128": {"settings": {"input": "auto"}, "measurements": measured},
        "limits": {"measurements": [peak]},
    }
    (found,) = targets([narrow], documents)
    assert found.limits[1:] == (
        "Products of bytes, which dense features have from 32 examples on, are done at 300 GFLOP/s at most, three of "
        "them for one of a weight: 6.67 ms forward, and as many in the update.",
    )
    documents["breakdown-hidden-128"]["settings"] = {"input": "dense"}
    assert len(targets([narrow], documents)[0].limits) == 1


def test_rows_of_floats_are_compared_with_products_too() -> None:
    dense = Workload("peers-mnist-dense", "floats", {"fastfnn": {16: [0.02]}, "jax": {16: [0.04]}}, dense_seconds=0.016)
    ratio, rate = targets([dense], {"breakdown-dense": BREAKDOWN})
    assert (ratio.wanted, ratio.found, ratio.met) == ("1.8x", "16: 2.0x", True)
    assert (rate.wanted, rate.found, rate.met) == ("75 %", "16: 80 %", True)
    assert rate.limits == (
        "An epoch at 128, ms: the rest 4.00; dense features, update 4.00, 1.00 by multiply-adds at the peak. "
        "Reading the 18 MB of rows, one after the other, takes 3.00 ms.",
    )


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({}, None),
        ({"concurrent": 1.84}, "two runs side by side"),
        ({"threads": 0.8}, "two threads, from 256 on"),
        ({"few": 1.1}, "two threads below, where both are used"),
        ({"rows": 0.12}, "a row's time with 10,000 rows, by that with 1,000"),
    ],
)
def test_cores_and_rows(changes: dict[str, float], missed: str | None) -> None:
    found = by_what(targets([], {"scaling": scaling(**changes)}))
    assert [what for what, each in found.items() if not each.met] == ([missed] if missed else [])
    assert found["memory with 10,000 rows"].wanted == "165 MB"
    if missed and missed.startswith("a row"):
        assert found[missed].limits == (
            "A row takes 10000 ns of 1,000, of which reading it, and nothing else, takes 1000; "
            "12000 ns of 10,000, of which reading it, and nothing else, takes 2000.",
        )
    assert found["two threads below, where both are used"].found.startswith("64: ")  # at 16 one thread does it
    if missed and missed.startswith("two threads, from"):
        (limit,) = found[missed].limits
        assert limit.startswith("Two threads that each change half of 62 kB, as many as the first layer's weights have")
        assert "take 1250.0 us more than if each reads its own" in limit
        assert limit.endswith("two would be 512: 1.33x as fast.")  # 1 s, by a half of it and twice 0.125 s


@pytest.mark.parametrize(("cost", "met"), [(0.604, True), (0.61, False)])
def test_options(cost: float, met: bool) -> None:
    momentum, evaluation = targets([], {"variants": variants(cost)})
    assert (momentum.what, momentum.wanted, momentum.met) == ("momentum adds at most", "16: 60 %", met)
    assert (evaluation.found, evaluation.met) == ("2.00 ms", True)
    assert momentum.limits == ()


@pytest.mark.parametrize("cost", [0.7, 0.9])
def test_what_limits_an_optimiser(cost: float) -> None:
    pass_over = {"limit": "optimisers", "numbers": 3, "parameters": 1_000_000}
    measured = [
        {**pass_over, "optimiser": "momentum", "seconds": [5e-4, 4e-4]},
        {**pass_over, "optimiser": "Adam", "numbers": 4, "seconds": [1.0]},
    ]
    momentum, _ = targets([], {"variants": variants(cost), "limits": {"measurements": measured}})
    assert momentum.limits == (
        "Reading and writing 3 numbers for each of 1,000,000 parameters, and nothing else, takes 40.0 ms in the 100 "
        f"steps of an epoch at 16: 40 % of plain SGD. momentum adds {100 * cost:.1f} ms.",
    )


def test_what_limits_the_main_network_and_rows_of_floats() -> None:
    measured = [
        {"limit": "registers", "registers": "vectors", "batch_size": 16, "seconds": [0.013, 0.012]},
        {"limit": "registers", "registers": "vectors", "batch_size": 128, "seconds": [0.01]},
        {"limit": "registers", "registers": "vectors and matrices", "batch_size": 16, "seconds": [0.014]},
        {"limit": "registers", "registers": "vectors and matrices", "batch_size": 128, "seconds": [0.007]},
        {"limit": "products", "batch_size": 16, "seconds": [0.05], "operations": 3e9, "sgemm_gflops": 150.0},
        {"limit": "products", "batch_size": 128, "seconds": [0.04], "operations": 3e9, "sgemm_gflops": 150.0},
    ]
    documents = {"limits": {"measurements": measured}}
    _, spread, *_ = targets([mnist(0.013)], documents)
    assert spread.limits == (
        "With vectors, epochs take 16: 12.0, 128: 10.0 ms, the slowest 1.20 times the fastest.",
        "With vectors and matrices, epochs take 16: 14.0, 128: 7.00 ms, the slowest 2.00 times the fastest.",
    )
    dense = Workload("peers-mnist-dense", "floats", {"fastfnn": {16: [0.03]}, "jax": {16: [0.04]}}, dense_seconds=0.016)
    *_, rate = targets([dense], documents)
    assert rate.limits == (
        "NumPy's BLAS, which multiplies large matrices at 150 GFLOP/s, does the products of the first layer alone, "
        "of rows that lie one after the other, at that share of this rate: 16: 40 %, 128: 50 %.",
    )


def test_what_limits_many_sparse_columns() -> None:
    weights = {"limit": "weights", "bytes": 5_000_000, "asked_bytes": 400_000_000}
    measured = [
        {**weights, "what": "reading and writing", "seconds": [0.25e-3, 0.2e-3]},
        {**weights, "what": "reading", "seconds": [0.125e-3]},
    ]
    sparse = Workload("peers-synthetic", "sparse", {"fastfnn": {16: [0.04]}, "jax": {16: [0.12]}})
    (found,) = targets([sparse], {"limits": {"measurements": measured}})
    assert found.limits == (
        "Gone over from the first one to the last, 5.0 MB, as many as the first layer's weights, come at 25.0 GB/s "
        "reading and writing, 40.0 GB/s reading. The listed features of an epoch ask for 400 MB of them forward, and "
        "for as many in the update: 32.0 ms at this rate, less what is in the caches still.",
    )


def test_the_section_names_each_limit_once() -> None:
    text = targets_section([mnist(0.013)], {"breakdown": BREAKDOWN, "startup": startup(21.0)})
    assert "| first epoch, cold cache | 20 s | 21.0 s (median 25.5) | **no** |" in text
    assert text.count("Reading the 18 MB of rows, one after the other") == 1
    assert "- an epoch, by the time of its dense products at the sgemm rate; the slowest batch size" in text


def test_no_documents_no_section() -> None:
    assert targets_section([], {}) == ""
    assert "limits" not in targets_section([], {"startup": startup(19.0)})
