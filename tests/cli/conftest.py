"""Commands run in this process, on the NumPy reference, which needs no compilation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastfnn.cli import main
from fastfnn.network import Network


@dataclass(frozen=True)
class Outcome:
    """What a command printed and its exit status."""

    status: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture
def fastfnn(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `fastfnn` with these arguments in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        return Outcome(status, *capsys.readouterr())

    return run


@pytest.fixture(autouse=True)
def compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the kernels were compiled, whatever this machine has."""
    monkeypatch.setattr("fastfnn.kernels.machine_code.steps_are_not_compiled", lambda: False)


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs train, and networks predict, by the NumPy reference."""
    from fastfnn.reference import infer, train

    def predict_proba(network: Network, rows: Any) -> NDArray[Any]:
        logits = infer(network.parameters, rows * network.scale, network.config).astype(float)
        return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    monkeypatch.setattr("fastfnn.network.Network.predict_proba", predict_proba)
    monkeypatch.setattr("fastfnn.training.train", train)
    monkeypatch.setattr("fastfnn.sweeps.runner.train", train)
    monkeypatch.setattr("fastfnn.sweeps.runner.warm_up", lambda data, config: 0.0)
