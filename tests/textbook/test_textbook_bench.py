"""The benchmark of the textbook functions, from end to end on little data. No time is judged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import textbook


def test_it_measures_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "textbook.json"
    options = ("--rounds", "1", "--epochs", "1", "--examples", "256", "--json", path)
    monkeypatch.setattr("sys.argv", ["textbook.py", *map(str, options)])
    textbook.main()
    results = json.loads(path.read_text())
    assert {result["layout"] for result in results} == {"X.T of rows", "C-ordered X"}
    assert all(set(result["times"]) == {"fastfnn", "NumPy"} and result["ratios"]["median"] > 0 for result in results)
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("linear_forward", "a script's loop", "L_layer_model, 1 epochs of 16"))
