"""The figures of the README are those of the benchmarks' pages, which `make benchmark` writes."""

from __future__ import annotations

import pytest
from doc_pages import ROOT, links

MAIN = "784-20-7-5-10 on MNIST"
ROWS = {
    "**fastfnn, one thread**": "fastfnn",
    "JAX, the epoch jitted as one scan": "jax",
    "torch.compile": "torch-compile",
    "NumPy float32": "numpy",
    "PyTorch": "torch",
    "scikit-learn, dense": "scikit-learn",
}
FASTEST = "**fastest other / fastfnn**"
OTHERS = {
    "784-64-32-10": "784-64-32-10 on MNIST",
    "784-128-10": "784-128-10 on MNIST",
    "784-512-512-10": "784-512-512-10 on MNIST",
    "784-20-7-5-10, rows of floats for all": "784-20-7-5-10 on MNIST, float rows for all",
    "20,000 columns, 0.5 % not zero, 64 units": "20,000 columns, 0.5 % not zero",
}

Table = dict[str, list[str]]


def tables(text: str) -> list[Table]:
    """The cells of each row of the tables whose columns are batch sizes, by the first cell."""
    return [table("| batch size |" + rest) for rest in text.split("\n| batch size |")[1:]]


def table(text: str) -> Table:
    lines = text.partition("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {first: rest for first, *rest in cells}


README = tables((ROOT / "README.md").read_text(encoding="utf-8"))
PAGES = {
    name: (ROOT / "reports" / name / "README.md").read_text(encoding="utf-8") for name in ("benchmark", "benchmark-amx")
}
TABLES = {"benchmark": README[0], "benchmark-amx": README[2]}  # of the first network, by the page


def measured(workload: str, page: str = "benchmark") -> Table:
    """The table of a benchmark's page under the heading of a workload."""
    return tables(PAGES[page].partition(f"\n### {workload}\n")[2])[0]


def ratios(workload: str, page: str = "benchmark") -> list[str]:
    """How many times as fast as the fastest other, by batch size."""
    return [cell.split("**")[1] for cell in measured(workload, page)[FASTEST]]


@pytest.mark.parametrize(("page", "row"), [(page, row) for page, rows in TABLES.items() for row in rows if row in ROWS])
def test_milliseconds(page: str, row: str) -> None:
    """The minimum, which stands first in a cell of the page."""
    times = [float(cell.split()[0]) for cell in measured(MAIN, page)[ROWS[row]]]
    assert [float(cell) for cell in TABLES[page][row]] == pytest.approx(times, abs=0.501)  # 146.5 is 146 or 147


def test_every_library_is_in_the_first_table() -> None:
    assert set(ROWS) < set(README[0])


@pytest.mark.parametrize("page", PAGES)
def test_ratios(page: str) -> None:
    assert TABLES[page]["batch size"] == measured(MAIN, page)["batch size"]
    assert TABLES[page]["faster than the fastest of them by"] == ratios(MAIN, page)


@pytest.mark.parametrize("row", OTHERS)
def test_ratios_of_other_workloads(row: str) -> None:
    assert README[1]["batch size"] == measured(OTHERS[row])["batch size"]
    assert README[1][row] == ratios(OTHERS[row])


@pytest.mark.parametrize("page", PAGES)
def test_the_benchmark_is_linked(page: str) -> None:
    assert f"reports/{page}/README.md" in links(ROOT / "README.md")
