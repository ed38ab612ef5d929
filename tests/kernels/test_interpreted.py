"""Tiny runs of every kernel against the reference: compiled, or with NUMBA_DISABLE_JIT=1 as the Python that they are.

The second way checks the NumPy twins of the vector operations, and lets coverage see into the kernels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from fastfnn import reference
from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.parameters import Parameters
from fastfnn.training import train

TOLERANCES = {"float64": 1e-12, "float32": 1e-4}


def pixels(examples: int, features: int = 12) -> NDArray[np.uint8]:
    """Half of them zeros."""
    generator = np.random.default_rng(examples)
    values = generator.integers(0, 256, (examples, features), dtype=np.uint8)
    return np.where(generator.random(values.shape) < 0.5, np.uint8(0), values)


def dataset(X: Any) -> Dataset:
    labels = np.random.default_rng(1).integers(0, 4, X.shape[0])
    labels[:8] = np.arange(8) % 4
    return Dataset.from_arrays(X, labels, validation=(X[:20], labels[:20]), test=(X[:9], labels[:9]))


def difference(fast: Parameters, slow: Parameters) -> float:
    """The largest difference of any tensor, relative to the largest value of that tensor or 0.01."""
    pairs = [(array, slow.tensors()[name]) for name, array in fast.tensors().items()]
    return max(float(np.abs(a - b).max() / max(np.abs(b).max(), 0.01)) for a, b in pairs)


def check(data: Dataset, tolerance: float | None = None, **options: Any) -> None:
    """The same parameters, history and predictions from the kernels and from the reference."""
    defaults = {"hidden": (5, 3), "batch_size": 7, "learning_rate": 0.05, "epochs": 2, "dtype": "float64"}
    config = TrainingConfig(**{**defaults, **options})
    tolerance = tolerance or TOLERANCES[config.dtype]
    fast, slow = train(data, config), reference.train(data, config)
    assert difference(fast.network.parameters, slow.network.parameters) < tolerance
    assert fast.history.train_cost == pytest.approx(slow.history.train_cost, rel=tolerance)
    assert fast.history.validation_cost == pytest.approx(slow.history.validation_cost, rel=tolerance)
    assert fast.train.accuracy == slow.train.accuracy
    assert data.test is not None
    X = data.test.features
    probabilities = fast.network.predict_proba(X)
    assert probabilities == pytest.approx(slow.network.predict_proba(X), rel=10 * tolerance)


OPTIONS = {
    "plain": {},
    "per batch": {"l2": 0.5, "l2_convention": "per_batch"},
    "strong l2": {"l2": 19.99},
    "before": {"batchnorm": "before", "l2": 0.01},
    "after": {"batchnorm": "after", "dropout": 0.3},
    "before with dropout": {"batchnorm": "before", "dropout": (0.3, 0.0)},
    "groups": {"batchnorm": "after", "batchnorm_group": 7, "batch_size": 14, "last_batch": "drop"},
    "dropout": {"dropout": (0.0, 0.4)},
    "momentum": {"optimizer": "momentum", "l2": 0.01},
    "nesterov": {"optimizer": "nesterov"},
    "adam": {"optimizer": "adam", "l2": 0.01},
    "adamw": {"optimizer": "adamw", "l2": 0.01},
}


@pytest.mark.parametrize("kind", ["sparse", "dense"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_options(options: dict[str, Any], kind: str) -> None:
    check(dataset(pixels(40)), input=kind, **options)


@pytest.mark.parametrize("kind", ["sparse", "dense"])
@pytest.mark.parametrize("options", [{}, {"batchnorm": "before", "dropout": 0.3, "optimizer": "nesterov"}], ids=str)
def test_float32(options: dict[str, Any], kind: str) -> None:
    check(dataset(pixels(40)), input=kind, dtype="float32", **options)


# Widths of float64 first layers: tails of 2 and 4, panels of 1, 2 and 4 vectors of 8 with and without a tail.
HIDDEN = [(), (2,), (10,), (34, 3), (60,), (4, 3, 2, 3)]


@pytest.mark.parametrize("kind", ["sparse", "dense"])
@pytest.mark.parametrize("hidden", HIDDEN, ids=str)
def test_widths(hidden: tuple[int, ...], kind: str) -> None:
    check(dataset(pixels(20)), hidden=hidden, input=kind, epochs=1)


@pytest.mark.parametrize("batch_size", [1, 16, 150, 400])
def test_batch_sizes(batch_size: int) -> None:
    """One example, whole tiles, more than a block, more than the data."""
    check(dataset(pixels(150 if batch_size > 16 else 20, 5)), batch_size=batch_size, epochs=1)


@pytest.mark.parametrize("kind", ["sparse", "dense"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_of_floats(dtype: str, kind: str) -> None:
    check(dataset(pixels(20) / 100 - 1), input=kind, dtype=dtype)


@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_compressed_data(kind: str) -> None:
    check(dataset(csr_matrix(pixels(20))), input=kind)


def test_many_features() -> None:
    """Column numbers of 32 bits."""
    X = np.zeros((12, 70_000), np.float32)
    X[np.arange(12), np.linspace(0, 69_999, 12).astype(int)] = 1
    check(dataset(csr_matrix(X)), hidden=(2,), epochs=1, tolerance=1e-10)


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_divergence_is_seen(optimizer: str) -> None:
    """A penalty so strong that each step multiplies the weights by -10,000 (or, with Adam, moves them by 1e37)."""
    rate = 1e3 if optimizer == "sgd" else 1e37
    config = TrainingConfig(hidden=(5, 3), batch_size=7, learning_rate=rate, l2=10, optimizer=optimizer, epochs=3)
    data = dataset(pixels(40))
    fast, slow = train(data, config), reference.train(data, config)
    assert fast.status == slow.status == "diverged"
    assert fast.steps == slow.steps
