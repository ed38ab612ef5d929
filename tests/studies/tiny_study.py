"""A study small enough to be run for every test session, on the data of `tests/runs.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastfnn.config import SweepConfig, TrainingConfig
from fastfnn.data import Dataset
from fastfnn.results import Evaluation, History
from fastfnn.studies.outcomes import Outcome
from fastfnn.studies.study import NOT_PUBLISHED, Conventions, Experiment, Published, Row, Study
from fastfnn.studies.textbook_runs import TextbookRun

TRAINING = TrainingConfig(hidden=(8, 5), epochs=2, learning_rate=0.05)
SWEEPS = {
    "sizes": SweepConfig(training=TRAINING, batch_size=[8, 16], seeds=2),
    "others": SweepConfig(training=TRAINING, batchnorm=["off", "after"], l2=[0.0, 1e-3], batch_size=16, seeds=2),
}


def other(batchnorm: bool, l2: float, published: Published = NOT_PUBLISHED) -> Row:
    point = {"batchnorm": "after" if batchnorm else "off", "l2": 1e-3 if l2 else 0.0, "batch_size": 16}
    return Row(16, published, "others", point, batchnorm=batchnorm, l2=l2)


EASY, HARD = Published(0.05, seconds=1e6, epochs=9), Published(1.0, seconds=1e-6, train_accuracy=0.5)
SIZES = tuple(
    Row(size, published, "sizes", {"batch_size": size}) for size, published in ((8, EASY), (16, NOT_PUBLISHED))
)
OTHERS = (other(False, 0.0), other(True, 0.0, HARD), other(False, 0.1), other(True, 0.1))


def make_study(name: str = "study-tiny") -> Study:
    study = Study(
        name=name,
        title="A tiny study",
        text="What it did.",
        conventions=Conventions(epochs=2, tolerance=1e-4, hidden=(8, 5)),
        experiments=(
            Experiment("sizes", "Batch size", SIZES, "What it found.", "batch_size"),
            Experiment("categories", "Categories", OTHERS[:2], "Two rows."),
            Experiment("penalties", "Penalties", OTHERS, "Four rows.", "l2"),
        ),
        curves=(SIZES[0], OTHERS[1]),
        comparisons=((OTHERS[1], OTHERS[0]),),
        shapes=True,
        weights=(OTHERS[0], OTHERS[2]),
        deviations=("Something is not known.",),
    )
    study.__dict__["sweeps"] = SWEEPS  # in place of a preset's
    return study


def synthetic_outcome(seed: int = 0, accuracy: float = 0.9, **changes: Any) -> Outcome:
    evaluation = Evaluation(1 - accuracy, 1 - accuracy, accuracy)
    history = History()
    for step in (100, 200, 300):
        history.append(step, step / 100, step / 1000, evaluation, evaluation)
    values: dict[str, Any] = {
        "seed": seed,
        "status": "stopped",
        "steps": 300,
        "epochs": 3.0,
        **dict.fromkeys(("train", "validation", "test"), evaluation),
        "train_seconds": 0.5,
        "evaluation_seconds": 0.25,
        "dead_units": (0, seed),
        "curves": {name: np.asarray(column, float) for name, column in history.to_dict().items()},
    }
    return Outcome(**{**values, **changes})


class FakeCourse:
    """Stands in for `fastfnn.studies.course.train`, and counts what it is asked for."""

    def __init__(self) -> None:
        self.done: list[TextbookRun] = []

    def __call__(self, data: Dataset, run: TextbookRun) -> Outcome:
        self.done.append(run)
        return synthetic_outcome(run.seed, 0.9 if run.seed == 0 else 0.1)
