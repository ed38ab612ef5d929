"""A data set and a trainer that cost nothing. In a module of its own name, so that they can be pickled."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastfnn.config import TrainingConfig
from fastfnn.progress import Progress
from fastfnn.results import NOT_EVALUATED, Evaluation, History, TrainingResult


@dataclass(frozen=True)
class FakeData:
    """What a sweep asks of a data set."""

    name: str = "fake"
    fingerprint: str = "f" * 64

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "fingerprint": self.fingerprint, "features": 784, "density": float("nan")}


def fake_result(config: TrainingConfig, status: str = "completed") -> TrainingResult:
    """A result with three records, whose accuracy depends on batch size and seed."""
    history = History()
    for epoch in (1, 2, 3):
        accuracy = 0.9 - config.batch_size / 10_000 + 0.001 * config.seed + 0.01 * epoch
        evaluation = Evaluation(1 / epoch, 1 / epoch, accuracy)
        history.append(10 * epoch, float(epoch), 0.5 * epoch, evaluation, evaluation)
    return TrainingResult(
        config=config,
        status=status,  # type: ignore[arg-type]
        network=None,  # type: ignore[arg-type]
        history=history,
        train=evaluation,
        validation=evaluation,
        test=NOT_EVALUATED,
        steps=30,
        epochs=3.0,
        best_step=None,
        train_seconds=1.5,
        evaluation_seconds=0.25,
        compile_seconds=0.0,
        load_seconds=0.125,
        shared_machine=False,
    )


class FakeTrainer:
    """Stands in for `fastfnn.training.train`: remembers what it did, and does what `behave` says.

    `behave(config)` returns a status, "wait" (run until told to stop), or raises.
    """

    def __init__(self) -> None:
        self.trained: list[TrainingConfig] = []
        self.behave: Callable[[TrainingConfig], str] = lambda config: "completed"
        self.waiting = threading.Event()

    def __call__(
        self,
        data: Any,
        config: TrainingConfig,
        *,
        should_stop: Callable[[], bool] | None = None,
        observer: Callable[[Progress], object] | None = None,
    ) -> TrainingResult:
        self.trained.append(config)
        if observer:
            observer(Progress(10, 30, 1.0, 0.5))
        status = self.behave(config)
        if status == "wait":
            status = self._wait(should_stop)
        return fake_result(config, status)

    def _wait(self, should_stop: Callable[[], bool] | None) -> str:
        self.waiting.set()
        deadline = time.monotonic() + 10
        while should_stop and not should_stop() and time.monotonic() < deadline:
            time.sleep(0.002)
        return "interrupted"
