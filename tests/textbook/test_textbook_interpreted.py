"""The kernels on columns as plain Python, with the NumPy twins of the vector operations, give the same numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastfnn.kernels.processor import INTERPRETED

FUNCTIONS = Path(__file__).parent / "test_textbook_functions.py"
CHOSEN = "(activations and 3) or layers or cost or 0.1-131-70-5 or 1.0-131-7-5 or nan"


@pytest.mark.skipif(INTERPRETED, reason="this process compiles nothing either")
def test_functions_pass_without_compilation() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(FUNCTIONS), "-k", CHOSEN]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert int(done.stdout.split(" passed")[0].split()[-1]) >= 12
