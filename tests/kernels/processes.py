"""Other Python processes, which import the package that is tested here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import fastfnn


def run_python(*arguments: str, **environment: str) -> str:
    """The output of a Python process that succeeds, with some environment variables more."""
    folders = (
        Path(fastfnn.__file__).parents[1],
        Path(__file__).parents[1],
    )  # the package, the modules of the tests
    places = {"PYTHONPATH": os.pathsep.join(map(str, folders))}
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **places, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
