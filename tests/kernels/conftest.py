"""What several modules here start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastfnn.kernels import compilation, machine_code


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache for this process; each function is looked up anew, as in another process."""
    for module in (compilation, machine_code):
        monkeypatch.setattr(module, "cache_folder", lambda: tmp_path)
    return tmp_path
