"""Numbers and settings as texts."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from fastfnn.report import formatting


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0123, "12.3 ms"),
        (0.1, "0.100 s"),
        (12.34, "12.3 s"),
        (118.7, "119 s"),
        (300, "300 s"),
        (1800, "30 min"),
        (9000, "2.5 h"),
        (float("nan"), "-"),
        (None, "-"),
    ],
)
def test_seconds(value: float | None, text: str) -> None:
    assert formatting.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((20, 7, 5), "20,7,5"),
        ((), "none"),
        (0.0001, "0.0001"),
        (True, "true"),
        (None, "none"),
        ("off", "off"),
        ({"rule": "plateau", "every": 100}, "rule=plateau, every=100"),
    ],
)
def test_setting(value: Any, text: str) -> None:
    assert formatting.setting(value) == text


def test_percent_count_number() -> None:
    assert formatting.percent(0.93456) == "93.46 %"
    assert formatting.count(12345.0) == "12,345"
    assert formatting.number(float("inf")) == "-"
    assert formatting.settings_text({"batch_size": 64, "l2": 0.0}) == "batch size 64, L2 0"


def test_reports_are_made_without_the_trainer() -> None:
    code = (
        "import sys, fastfnn.report.write; "
        "print([m for m in sys.modules if m.split('.')[0] in ('numba', 'sklearn') "
        "or m in ('fastfnn.training', 'fastfnn.kernels', 'matplotlib.pyplot')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
