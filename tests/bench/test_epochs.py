"""Timed epochs, rounds, and the operations of an epoch."""

from __future__ import annotations

import numpy as np
import pytest

from fastfnn.benchmarks.epochs import ENGINES, REFERENCE, WARM_UP_STEPS, Epochs, dense_operations, network_text
from fastfnn.benchmarks.rounds import interleaved, milliseconds, minimum_and_median, times_of
from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset, load_dataset
from fastfnn.errors import FastfnnError
from fastfnn.reference import NumpyEngine
from fastfnn.stretch import Stretch, Totals


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


class Recorder(NumpyEngine):
    """Keeps what it was asked to do."""

    def run(self, stretch: Stretch) -> Totals:
        self.__dict__.setdefault("stretches", []).append(stretch)
        return super().run(stretch)


def test_an_epoch_is_all_steps_in_an_order_of_its_own(digits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, REFERENCE, Recorder)
    epochs = Epochs(digits, TrainingConfig(batch_size=16, dropout=0.1), REFERENCE)
    assert all(epochs.time_epoch() > 0 for _ in range(2))
    warm_up, first, second = epochs.engine.stretches
    assert (warm_up.first, warm_up.last) == (0, WARM_UP_STEPS)
    assert (first.first, first.last) == (second.first, second.last) == (0, epochs.steps)
    assert epochs.steps == 72
    assert (first.order != second.order).any()
    assert sorted(first.order) == sorted(digits.train.indices)
    assert (first.dropout_keys != second.dropout_keys).all()
    assert second.step - first.step == epochs.steps
    assert (first.learning_rates == 0.009).all()


def test_an_epoch_that_diverges_has_no_time(digits) -> None:
    config = TrainingConfig(batch_size=16, learning_rate=1e30)
    with pytest.raises(FastfnnError, match="lower the learning rate"):
        [Epochs(digits, config, REFERENCE).time_epoch() for _ in range(3)]


def test_the_operations_of_dense_products() -> None:
    data = Dataset.from_arrays(np.ones((10, 3)), np.arange(10) % 2, validation=0)
    config = TrainingConfig(hidden=(4,))
    # Forward and weights' gradient of both layers, and the gradient of the hidden units.
    assert dense_operations(data, config) == 10 * 2 * ((3 * 4 + 4 * 2) * 2 + 4 * 2)
    assert network_text(data, config) == "3-4-2"


def test_rounds_visit_all_and_every_other_one_goes_backwards() -> None:
    begun: list[int] = []
    timers = {"a": lambda: 1.0, "b": lambda: 2.0}
    assert [key for key, _ in interleaved(timers, 3, begun.append)] == ["a", "b", "b", "a", "a", "b"]
    assert begun == [0, 1, 2]
    assert times_of(timers, 2, begun.append) == {"a": [1.0, 1.0], "b": [2.0, 2.0]}


def test_times_as_texts() -> None:
    assert minimum_and_median([0.04, 0.03, 0.2]) == "30.0 (40.0)"
    assert [milliseconds(seconds) for seconds in (1.2345e-3, 0.0999, 1.5)] == ["1.23", "99.9", "1500.0"]
