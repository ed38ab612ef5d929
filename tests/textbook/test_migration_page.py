"""The snippets of the migration page run, the script before and the script after with the same result."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import naive
import numpy as np
import pytest

from fastfnn import textbook as nn

PAGE = (Path(__file__).parents[2] / "docs" / "migration.md").read_text(encoding="utf-8")
SCRIPTS = dict(re.findall(r"```\w+ script=(\w+)\n(.*?)```", PAGE, re.DOTALL))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(sys.modules, "course", naive)

    def execute(name: str) -> dict[str, Any]:
        names: dict[str, Any] = {}
        exec(SCRIPTS["data"] + SCRIPTS[name], names)
        return names

    return execute


def test_before_and_after(run: Any) -> None:
    before, after, model = run("before"), run("after"), run("model")
    assert after["cost"] == pytest.approx(before["cost"], rel=1e-10)
    for name, array in before["parameters"].items():
        np.testing.assert_allclose(after["parameters"][name], array, rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(model["parameters"][name], array, rtol=1e-10, atol=1e-13)


def test_only_the_import_changes() -> None:
    lines = zip(SCRIPTS["before"].splitlines(), SCRIPTS["after"].splitlines(), strict=True)
    changed = [pair for pair in lines if pair[0] != pair[1]]
    assert changed == [("import course as nn", "from fastfnn import textbook as nn")]


def test_the_study(run: Any) -> None:
    curves = run("study")["curves"]
    assert curves.stop_reason == "stopped" or curves.epochs == 100
    assert curves.validation_accuracy[-1] > 0.3


def test_every_option_in_the_table_exists() -> None:
    """Each piece of code that makes options or is a call is evaluated."""
    made = [eval(code, vars(nn)) for code in re.findall(r"(?:Batchnorm|Logarithm|Dropout|Stopping)\([^`]*?\)", PAGE)]
    assert len(made) >= 13
    accepted = nn.L_layer_model.__kwdefaults__ | {"use_batchnorm": None}
    named = set(re.findall(r"`(\w+)=", PAGE)) - {"use_batchnorm"}
    assert named <= set(accepted)
