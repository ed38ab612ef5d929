"""A sweep's runs without training."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fakes import FakeData, FakeTrainer, fake_result

from fastfnn.config import SweepConfig, TrainingConfig
from fastfnn.results import TrainingResult


@pytest.fixture
def data() -> FakeData:
    return FakeData()


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> FakeTrainer:
    trainer = FakeTrainer()
    monkeypatch.setattr("fastfnn.sweeps.runner.train", trainer)
    monkeypatch.setattr("fastfnn.sweeps.runner.warm_up", lambda data, config: 0.0)
    return trainer


@pytest.fixture
def sweep() -> SweepConfig:
    return SweepConfig(training=TrainingConfig(epochs=3), batch_size=[16, 64], seeds=2)


@pytest.fixture
def make_result() -> Callable[..., TrainingResult]:
    return fake_result
