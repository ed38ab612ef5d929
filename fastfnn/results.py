"""What a run leaves behind: its status, its history by step, its measures and its times."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fastfnn.config import TrainingConfig
    from fastfnn.network import Network

Status = Literal["completed", "stopped", "diverged", "interrupted"]


@dataclass(frozen=True)
class Evaluation:
    """A network on one split. `cost` is `loss` (mean cross-entropy) plus the penalty; `accuracy` is in 0..1."""

    cost: float
    loss: float
    accuracy: float


NOT_EVALUATED = Evaluation(float("nan"), float("nan"), float("nan"))


@dataclass
class History:
    """One entry for each record, oldest first; every column has the same length.

    Training columns are means over the steps since the previous record, as the optimiser saw them (dropout on, batch
    statistics); validation columns are evaluations of the whole validation set, NaN without one. `seconds` is training
    time, evaluation excluded.
    """

    step: list[int] = field(default_factory=list)
    epoch: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    train_cost: list[float] = field(default_factory=list)
    train_loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    validation_cost: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.step)

    def append(self, step: int, epoch: float, seconds: float, train: Evaluation, validation: Evaluation) -> None:
        """Adds one record."""
        measures = (getattr(split, name) for split in (train, validation) for name in ("cost", "loss", "accuracy"))
        for column, value in zip(self.columns(), (step, epoch, seconds, *measures), strict=True):
            getattr(self, column).append(value)

    @classmethod
    def columns(cls) -> list[str]:
        """Names of the columns, in order."""
        return [column.name for column in fields(cls)]

    def __getitem__(self, column: str) -> NDArray[Any]:
        return np.asarray(getattr(self, column))

    def to_dict(self) -> dict[str, list[Any]]:
        """Column name to values."""
        return {column: list(getattr(self, column)) for column in self.columns()}


@dataclass(frozen=True)
class TrainingResult:
    """The outcome of one run.

    Attributes:
        status: "completed" (all epochs), "stopped" (by the stopping rule), "diverged" (a cost was not finite) or
            "interrupted".
        network: the trained network; the best check's when early stopping restores it.
        train, validation, test: evaluations of `network`, with NaN where the data has no such split.
        steps: steps done; when diverged, the last is the one whose cost was not finite.
        best_step: step of the best check of early stopping, else None.
        shared_machine: whether other runs of the same process ran at the same time.
    """

    config: TrainingConfig
    status: Status
    network: Network
    history: History
    train: Evaluation
    validation: Evaluation
    test: Evaluation
    steps: int
    epochs: float
    best_step: int | None
    train_seconds: float
    evaluation_seconds: float
    compile_seconds: float
    load_seconds: float
    shared_machine: bool

    @property
    def train_accuracy(self) -> float:
        """Accuracy of the final network on the training split."""
        return self.train.accuracy

    @property
    def validation_accuracy(self) -> float:
        """Accuracy of the final network on the validation split."""
        return self.validation.accuracy

    @property
    def test_accuracy(self) -> float:
        """Accuracy of the final network on the test split."""
        return self.test.accuracy
