"""What is made of the documents of peers.py."""

from __future__ import annotations

import pytest
from peer_results import Workload, looks_of, ratios_figure, read_workload, workload_figure

REASON = "this version refuses 4 threads"


@pytest.fixture
def workload() -> Workload:
    return Workload(
        "peers-mnist",
        "784-20-7-5-10 on mnist",
        {
            "fastfnn": {16: [0.04, 0.05], 128: [0.03, 0.06]},
            "numpy": {16: [0.4, 0.3], 128: [0.12, 0.13]},
            "torch": {16: [0.5, 0.6], 128: [0.09, 0.2]},
            "c": {128: [0.1]},
        },
        threads={"torch": {128: 2}},
        beside={"fastfnn, 2 threads": {16: [0.03], 128: [0.02]}},
        dense_seconds=0.03,
        peak_seconds=0.015,
        unavailable={"fastfnn, 4 threads": REASON},
        facts="48,000 rows, 2 rounds.",
    )


def test_the_ratio_is_to_the_fastest_other(workload: Workload) -> None:
    assert workload.ratio(16) == pytest.approx(7.5)
    assert (workload.fastest_other(16), workload.fastest_other(128)) == ("numpy", "torch")


def test_the_table_has_times_ratios_and_limits(workload: Workload) -> None:
    assert workload.table().splitlines() == [
        "| batch size | 16 | 128 |",
        "| --- | ---: | ---: |",
        "| fastfnn | 40.0 (45.0) | 30.0 (45.0) |",
        "| numpy | 300.0 (350.0) | 120.0 (125.0) |",
        "| torch | 500.0 (550.0) | 90.0 (145.0) on 2 |",
        "| c | - | 100.0 (100.0) |",
        "| fastfnn, 2 threads | 30.0 (30.0) | 20.0 (20.0) |",
        "| **fastest other / fastfnn** | **7.5** (numpy) | **3.0** (torch) |",
        "| dense products at the sgemm rate / fastfnn | 75 % | 100 % |",
        "| dense products at the FMA peak / fastfnn | 38 % | 50 % |",
        "",
        "48,000 rows, 2 rounds. Dense products of an epoch: 30.0 ms at the sgemm rate, 15.0 ms at the FMA peak.",
        "",
        f"Not timed: fastfnn, 4 threads: {REASON}.",
    ]


def test_fastfnn_alone_has_no_ratio() -> None:
    alone = Workload("peers", "alone", {"fastfnn": {16: [0.1]}})
    assert alone.ratio(16) is None
    assert alone.table().splitlines()[-1] == "| **fastest other / fastfnn** | - |"


def test_the_figure_has_a_line_for_each_peer_and_the_limit(workload: Workload) -> None:
    figure = workload_figure(workload, looks_of([workload]))
    named = {str(line.get_label()): line for line in figure.axes[0].lines}
    assert set(workload.seconds) <= set(named)
    assert list(named["numpy"].get_ydata()) == pytest.approx([300, 120])
    assert named["fastfnn"].get_linewidth() > named["numpy"].get_linewidth()
    assert named["fastfnn, 2 threads"].get_color() == named["fastfnn"].get_color()
    assert named["fastfnn, 2 threads"].get_linestyle() != named["fastfnn"].get_linestyle()
    assert named["dense products at sgemm rate"].get_ydata()[0] == pytest.approx(30)


def test_the_ratios_of_all_workloads(workload: Workload) -> None:
    line = ratios_figure([workload]).axes[0].lines[0]
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([16, 128], pytest.approx([7.5, 3]))


def test_a_peer_looks_the_same_in_all_figures_and_like_no_other(workload: Workload) -> None:
    others = {f"peer {number}": {16: [1.0]} for number in range(10)}
    looks = looks_of([workload, Workload("peers-other", "other", others | {"fastfnn": {16: [1.0]}})])
    assert len(set(looks.values())) == len(looks) == 14
    assert next(iter(looks)) == "fastfnn"


def test_the_measurements_of_a_document(workload: Workload) -> None:
    measurements = [
        {"peer": peer, "threads": workload.threads.get(peer, {}).get(size, 1), "batch_size": size, "seconds": seconds}
        for peer, times in workload.seconds.items()
        for size, seconds in times.items()
    ]
    others = [
        {"peer": "fastfnn", "threads": 2, "batch_size": 16, "seconds": [0.03]},
        {"peer": "fastfnn", "threads": 2, "batch_size": 128, "seconds": [0.02]},
        {"peer": "numpy", "threads": 2, "batch_size": 16, "seconds": [0.9]},
    ]
    document = {
        "settings": {"rows": 48_000, "rounds": 2, "dense_seconds": 0.03, "peak_seconds": 0.015},
        "measurements": measurements,
        "other_measurements": others,
        "unavailable": {"fastfnn, 4 threads": REASON},
    }
    assert read_workload(workload.name, workload.title, document) == workload


def test_a_document_of_times_alone_will_do() -> None:
    document = {
        "settings": {"dense_seconds": 0.1},
        "measurements": [{"peer": "fastfnn", "batch_size": 16, "seconds": [0.2]}],
    }
    assert read_workload("a", "b", document) == Workload("a", "b", {"fastfnn": {16: [0.2]}}, dense_seconds=0.1)
