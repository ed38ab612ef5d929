"""What several modules here start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastfnn import layout
from fastfnn.kernels import compilation, machine_code
from fastfnn.kernels.processor import INTERPRETED, MATRICES


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache for this process; each function is looked up anew, as in another process."""
    for module in (compilation, machine_code):
        monkeypatch.setattr(module, "cache_folder", lambda: tmp_path)
    return tmp_path


@pytest.fixture
def vectors_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks whose products are computed in vectors, as on processors without matrix registers."""
    monkeypatch.setattr(layout, "MATRICES", False)


@pytest.fixture
def dtype(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The dtype in the parameter, with "in matrices" behind it where matrix registers are used."""
    name, _, registers = request.param.partition(" in ")
    if registers and not (MATRICES or INTERPRETED):
        pytest.skip("this processor has no matrix registers")
    monkeypatch.setattr(layout, "MATRICES", registers == "matrices")
    return str(name)
