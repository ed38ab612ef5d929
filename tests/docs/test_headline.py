"""The figures of the README are those of the benchmark's page, which `make benchmark` writes."""

from __future__ import annotations

import pytest
from doc_pages import ROOT, links

HEADING = "### 784-20-7-5-10 on MNIST\n"
ROWS = {
    "**fastfnn, one thread**": "fastfnn",
    "JAX, the epoch jitted as one scan": "jax",
    "torch.compile": "torch-compile",
    "NumPy float32": "numpy",
    "PyTorch": "torch",
    "scikit-learn, dense": "scikit-learn",
}
FASTER = {"faster than the fastest of them by": "**fastest other / fastfnn**"}


def table(text: str) -> dict[str, list[str]]:
    """The cells of each row of the first table in a text, by the first cell."""
    lines = text[text.index("\n| batch size |") :].strip().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[: lines.index("")]]
    return {first: rest for first, *rest in cells}


README = table((ROOT / "README.md").read_text(encoding="utf-8"))
MEASURED = table((ROOT / "reports" / "benchmark" / "README.md").read_text(encoding="utf-8").partition(HEADING)[2])


def test_same_batch_sizes() -> None:
    assert README["batch size"] == MEASURED["batch size"]


@pytest.mark.parametrize("row", ROWS)
def test_milliseconds(row: str) -> None:
    """The minimum, which stands first in a cell of the page."""
    measured = [float(cell.split()[0]) for cell in MEASURED[ROWS[row]]]
    assert [float(cell) for cell in README[row]] == pytest.approx(measured, abs=0.501)  # 146.5 is 146 or 147


@pytest.mark.parametrize("row", FASTER)
def test_ratios(row: str) -> None:
    assert README[row] == [cell.split("**")[1] for cell in MEASURED[FASTER[row]]]


def test_the_benchmark_is_linked() -> None:
    assert "reports/benchmark/README.md" in links(ROOT / "README.md")
