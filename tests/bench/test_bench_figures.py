"""Figures and tables of scaling: what is made of documents, whole or not."""

from __future__ import annotations

import pytest
from figures import INPUTS, concurrent_ratios, density_figure, scaling_figures, thread_ratios
from page import break_even, machine_section, scaling_section

THREADS = [
    {"axis": "threads", "threads": 1, "used_threads": 1, "batch_size": 16, "epoch_seconds": [0.4, 0.5]},
    {"axis": "threads", "threads": 2, "used_threads": 2, "batch_size": 16, "epoch_seconds": [0.25, 0.2]},
    {"axis": "threads", "threads": 3, "refused": "at most 2"},
]
CONCURRENT = [
    {"axis": "concurrent", "runs": n, "batch_size": size, "work": "?", "seconds": [0.4], "throughput_ratio": float(n)}
    for n in (1, 2)
    for size in (16, None)
]


def test_threads_are_compared_with_one() -> None:
    assert thread_ratios(THREADS) == [(16, 1, 1.0), (16, 2, pytest.approx(2.0))]
    assert concurrent_ratios(CONCURRENT) == [(16, 1, 1.0), (16, 2, 2.0)]


@pytest.mark.parametrize(("measured", "panels"), [(THREADS + CONCURRENT, 2), (THREADS[:1] + CONCURRENT, 1)])
def test_cores_have_a_panel_for_what_was_tried_with_several(measured: list[dict[str, object]], panels: int) -> None:
    drawn = scaling_figures({"measurements": measured})
    assert list(drawn) == ["scaling-cores"]
    assert len(drawn["scaling-cores"].axes) == panels


def test_the_table_of_threads_compares_them_with_one() -> None:
    few = [{**each, "batch_size": 8, "used_threads": 1} for each in THREADS[:2]]
    lines = scaling_section({"measurements": THREADS + few}, ()).splitlines()
    assert "| batch size | one thread, ms | 2 threads, ms | times as fast | of medians |" in lines
    assert "| 16 | 400.0 (450.0) | 200.0 (225.0) | 2.00 | 2.00 |" in lines
    assert "| 8 | 400.0 (450.0) | 200.0 (225.0) on 1 | 2.00 | 2.00 |" in lines
    assert "Refused by this version: 3 threads." in lines


def test_threads_are_drawn_against_the_batch_size() -> None:
    panel = scaling_figures({"measurements": THREADS})["scaling-cores"].axes[0]
    assert {str(line.get_label()): list(line.get_ydata()) for line in panel.lines} == {
        "one thread": [1.0],
        "2 threads": [pytest.approx(2.0)],
    }


def test_one_core_has_no_figure() -> None:
    assert scaling_figures({"measurements": [THREADS[0], THREADS[2], CONCURRENT[0]]}) == {}


def densities(uneven: bool, *points: tuple[float, float, float]) -> list[dict[str, object]]:
    """Points of a density and the milliseconds of listed and of dense features."""
    return [
        {
            "axis": "density",
            "density": density,
            "uneven": uneven,
            "rows": 100,
            "columns": 784,
            "epoch_seconds": {"sparse": [listed, 9.0], "dense": [dense, 9.0], "auto": [min(listed, dense), 9.0]},
            "dense_features": 784 * (dense < listed),
            "cost_of_nonzero": 5.0,
        }
        for density, listed, dense in points
    ]


EVEN = densities(False, (0.1, 1.0, 3.0), (0.2, 2.0, 3.0), (0.4, 4.0, 3.0))


def test_features_cost_the_same_where_the_lines_cross() -> None:
    assert break_even(EVEN) == pytest.approx(0.3)
    assert break_even(EVEN[:2]) is None
    assert break_even(EVEN[:0]) is None


def test_the_table_of_densities_judges_the_rule() -> None:
    text = scaling_section({"measurements": EVEN + densities(True, (0.1, 1.0, 3.0))}, ())
    assert "| 40 % | 4000.0 (6500.0) | 3000.0 (6000.0) | 3000.0 (6000.0) | 784 |" in text
    assert "| 10 %, uneven | 1000.0 (5000.0) | 3000.0 (6000.0) | 1000.0 (5000.0) | 0 |" in text
    assert "the same time at 30 %: a listed value\ncosts 3.3 multiplications" in text
    assert "`auto` reckons with 5." in text


def test_both_kinds_of_columns_have_a_panel_with_every_kind_of_input() -> None:
    figure = density_figure(EVEN + densities(True, (0.1, 1.0, 3.0), (0.4, 4.0, 3.0)))
    for panel in figure.axes:
        assert [str(line.get_label()) for line in panel.lines][::2] == list(INPUTS.values())
    assert list(figure.axes[1].lines[0].get_xdata()) == [10, 40]


def test_documents_of_several_environments_have_one_table() -> None:
    libraries = [{"internal_api": "openblas", "version": "1"}, {"internal_api": "openblas", "version": "2"}]
    documents = {
        "a": {"environment": {"cpu": "one", "blas": libraries, "kernels": "1f"}},
        "b": {"environment": {"cpu": "one", "blas": libraries[::-1], "kernels": "1f", "torch": "2.0"}},
    }
    rows = machine_section(documents).splitlines()[-4:]
    assert rows == ["| cpu | one |", "| blas | openblas 1; openblas 2 |", "| torch | 2.0 |", "| kernels | 1f |"]


def test_results_of_other_kernels_are_told_apart() -> None:
    documents = {name: {"environment": {"kernels": digest}} for name, digest in (("a", "1f"), ("b", "2e"), ("c", "1f"))}
    documents["d"] = {"environment": {}}
    assert "| kernels | 1f in a, c; 2e in b; unknown in d |" in machine_section(documents)
