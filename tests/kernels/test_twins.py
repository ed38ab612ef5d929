"""The kernels as plain Python, with the NumPy twins of the vector operations, give the reference's numbers too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastfnn.kernels.compilation import INTERPRETED

HERE = Path(__file__).parent


def run_interpreted(*files: str) -> str:
    """The output of pytest on test files of this folder in a process that compiles nothing."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(str(HERE / name) for name in files)]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def passed(output: str) -> int:
    """The number before "passed" in pytest's last line."""
    words = output.split()
    return int(words[words.index("passed") - 1] if "passed" in words else words[words.index("passed,") - 1])


@pytest.mark.skipif(INTERPRETED, reason="this process compiles nothing either")
@pytest.mark.parametrize(("file", "at_least"), [("test_interpreted.py", 50), ("test_simd.py", 40)])
def test_everything_passes_without_compilation(file: str, at_least: int) -> None:
    assert passed(run_interpreted(file)) >= at_least
