"""What a run needs compiled: known beforehand, compiled in two processes, and then loaded without Numba."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matrices import mixed_matrix
from processes import run_python

from fastfnn import engine, warmup
from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.engine import KernelEngine
from fastfnn.kernels import machine_code, processor, routines
from fastfnn.kernels.machine_code import Key
from fastfnn.kernels.structures import IDENTITY, LOGISTIC, TANH
from fastfnn.stretch import Stretch
from fastfnn.warmup import load_all

COMPILER_IS_MEASURED = True
pytestmark = pytest.mark.skipif(processor.INTERPRETED, reason="nothing is compiled")


@pytest.fixture
def nothing_loaded(monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[Key]:
    """As if no function were in memory; the keys of those that this process compiles from now on."""
    compiled: list[Key] = []
    compile_and_store = routines.compile_and_store
    monkeypatch.setattr(routines, "_functions", {})
    monkeypatch.setattr(routines, "compile_and_store", lambda key: compiled.append(key) or compile_and_store(key))
    return compiled


KINDS = ("*float32", "int64", "int64")
SMALL = [Key("makers.make_activate", (number,), KINDS) for number in (TANH, LOGISTIC, IDENTITY)]


def test_another_process_compiles_what_this_one_does_not(
    monkeypatch: pytest.MonkeyPatch, nothing_loaded: list[Key], folder: Path
) -> None:
    """Here it has compiled all of it before this process goes on with what is missing."""
    started = subprocess.Popen
    other: list[Any] = []

    def start_other(*arguments: Any, **options: Any) -> Any:
        environment = {**os.environ, "FASTFNN_CACHE_DIR": str(folder)}
        other.append(started(*arguments, **options, env=environment))
        return other[-1]

    def load_first(key: Key) -> Any:
        found = load(key)
        if len(routines._functions) == 1:
            other[0].wait(120)
            for path in folder.rglob(f"*{machine_code.SUFFIX}"):
                path.rename(folder / path.name)
        return found

    load = warmup.load
    monkeypatch.setattr(subprocess, "Popen", start_other)
    monkeypatch.setattr(warmup, "load", load_first)
    load_all([*SMALL, None, SMALL[0]])
    assert nothing_loaded == SMALL[:1]
    assert list(routines._functions) == [SMALL[0], SMALL[2], SMALL[1]]


def test_should_the_other_process_fail_all_is_compiled_here(
    monkeypatch: pytest.MonkeyPatch, nothing_loaded: list[Key]
) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    load_all(SMALL)
    assert nothing_loaded == [SMALL[0], SMALL[2], SMALL[1]]


RUNS: dict[str, dict[str, Any]] = {
    "plain": {},
    "wide": {"hidden": (64, 3)},
    "listed": {"input": "sparse"},
    "dense float64": {"input": "dense", "dtype": "float64"},
    "options": {"activation": "tanh", "batchnorm": "before", "dropout": 0.3, "optimizer": "adam"},
}


@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS.keys())
def test_what_is_loaded_together_is_what_a_run_needs(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    data = Dataset.from_arrays(mixed_matrix(40), np.arange(40) % 2, validation=4)
    config = TrainingConfig(**{"hidden": (5, 3), "batch_size": 4, "epochs": 1, **options})
    expected: list[Key | None] = []
    monkeypatch.setattr(engine, "load_all", expected.extend)
    used: set[Key] = set()
    load = routines.load
    monkeypatch.setattr(routines, "load", lambda key: used.add(key) or load(key))
    run = KernelEngine(data, config)
    steps = config.steps_per_epoch(len(data.train))
    run.run(Stretch(data.train.indices, 0, steps, 0, np.full(steps, 0.1), np.zeros(2, np.uint32)))
    run.evaluate(data.train)
    functions = {key for key in used if not key.function.startswith("records.")}
    assert functions == {key for key in expected if key}


REAL_RUN = """
import sys

import numpy as np

from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.training import train

data = Dataset.from_arrays(np.eye(16, dtype=np.uint8), np.arange(16) % 2, validation=4)
result = train(data, TrainingConfig(hidden=(5, 3), batch_size=4, epochs=1, dtype="float64"))
result.network.predict(np.eye(16, dtype=np.uint8))
assert "numba" not in sys.modules
print("everything was loaded")
"""


def test_a_real_run_loads_everything_and_does_without_numba() -> None:
    """The second time at the latest."""
    try:
        output = run_python("-c", REAL_RUN)
    except AssertionError:
        output = run_python("-c", REAL_RUN)
    assert output == "everything was loaded\n"
