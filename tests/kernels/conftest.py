"""What several modules here start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastfnn import layout
from fastfnn.kernels import binding, compilation, machine_code
from fastfnn.kernels.processor import HAS_BYTE_PRODUCTS, INTERPRETED, MATRICES


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache for this process; each function is looked up anew, as in another process."""
    for module in (compilation, machine_code):
        monkeypatch.setattr(module, "cache_folder", lambda: tmp_path)
    return tmp_path


@pytest.fixture
def vectors_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks whose products are computed in vectors of floats, as on processors that have nothing else."""
    monkeypatch.setattr(layout, "MATRICES", False)
    for module in (layout, binding):
        monkeypatch.setattr(module, "HAS_BYTE_PRODUCTS", False)


@pytest.fixture
def dtype(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The dtype in the parameter, with "in matrices" or "in bytes" behind it where such products are used."""
    name, _, products = request.param.partition(" in ")
    if products == "matrices" and not (MATRICES or INTERPRETED):
        pytest.skip("this processor has no matrix registers")
    if products == "bytes" and not (HAS_BYTE_PRODUCTS or INTERPRETED):
        pytest.skip("this processor has no products of bytes")
    monkeypatch.setattr(layout, "MATRICES", products == "matrices")
    for module in (layout, binding):
        monkeypatch.setattr(module, "HAS_BYTE_PRODUCTS", products == "bytes")
    return str(name)
