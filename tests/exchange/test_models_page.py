"""The page about models: its snippets run as written, one after the other, and its commands do."""

from __future__ import annotations

import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

from fastfnn.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "models.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def installed(code: str) -> bool:
    """Whether there is everything that a snippet imports."""
    return all(find_spec(package) for package in re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE))


def test_snippets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    assert len(blocks("python")) == 6
    for code in filter(installed, blocks("python")):
        capsys.readouterr()
        exec(compile(code, str(PAGE), "exec"), names)
        assert capsys.readouterr().out
    assert (tmp_path / "model.onnx").exists() == installed("import onnxruntime")


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    for line in "".join(blocks("sh")).splitlines():
        assert main(shlex.split(line)[1:]) == 0, capsys.readouterr().err
    assert (tmp_path / "model.onnx").exists()
