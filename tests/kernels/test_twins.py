"""The kernels as plain Python, with the NumPy twins of the vector operations, give the reference's numbers too.

`make test` runs `test_interpreted.py` in the same way, and measures what it covers.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from processes import run_python

from fastfnn.kernels.processor import INTERPRETED

HERE = Path(__file__).parent
LARGE_LAYERS = "144-100 or 144-64 or 64-100 or 40-100 or 64-64"


def run_interpreted(file: str, *options: str) -> str:
    """The output of pytest on a test file of this folder in a process that compiles nothing."""
    return run_python("-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / file), *options, NUMBA_DISABLE_JIT="1")


def passed(output: str) -> int:
    """The number before "passed" in pytest's last line."""
    words = output.split()
    return int(words[words.index("passed") - 1] if "passed" in words else words[words.index("passed,") - 1])


@pytest.mark.skipif(INTERPRETED, reason="this process compiles nothing either")
@pytest.mark.parametrize(
    ("file", "options", "at_least"),
    [
        ("simd", (), 60),
        ("tiles", ("-k", "not together"), 90),
        # One dtype, one kind of momentum and the smaller layers go through all of the code, which takes its time.
        ("lazy_momentum", ("-k", "not nesterov and not threads"), 30),
        ("first_layer", ("-k", f"float32 and not ({LARGE_LAYERS}) and not (float-float32 and bytes)"), 100),
    ],
)
def test_everything_passes_without_compilation(file: str, options: tuple[str, ...], at_least: int) -> None:
    assert passed(run_interpreted(f"test_{file}.py", *options)) >= at_least
