"""A run is a pure function of configuration and data: the same bits whatever runs beside it, before it or between."""

from __future__ import annotations

import hashlib
import itertools
import platform
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matrices import mixed_matrix
from numpy.typing import NDArray
from processes import run_python

from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset, load_dataset
from fastfnn.engine import KernelEngine
from fastfnn.kernels.processor import INTERPRETED
from fastfnn.kernels.processor import features as host_features
from fastfnn.results import TrainingResult
from fastfnn.stretch import Stretch
from fastfnn.training import train

RUNS = {
    "sgd": {"l2": 0.01, "dropout": 0.2},
    "nesterov": {"optimizer": "nesterov", "batchnorm": "before"},
    "adam": {"optimizer": "adam", "batchnorm": "after", "dropout": 0.3, "lr_schedule": "cosine"},
    "stopping": {"early_stopping": {"every": 4, "patience": 3}, "learning_rate": 0.5, "last_batch": "drop"},
}
each_run = pytest.mark.parametrize("options", RUNS.values(), ids=RUNS.keys())


@pytest.fixture(scope="module")
def data() -> Dataset:
    """307 images with dense and with listed features."""
    labels = np.random.default_rng(0).integers(0, 4, 307)
    X = mixed_matrix(307)
    X[np.arange(307), labels] = 200
    return Dataset.from_arrays(X, labels, validation=61, test=(X[:50], labels[:50]))


def config_of(options: dict[str, Any], **changes: Any) -> TrainingConfig:
    defaults = {"hidden": (20, 7), "batch_size": 16, "learning_rate": 0.05, "epochs": 4}
    return TrainingConfig(**{**defaults, **options, **changes})


def outcome(result: TrainingResult) -> dict[str, Any]:
    """Everything of a result but its times; parameters as bytes, so that they compare bit by bit."""
    history = {name: values for name, values in result.history.to_dict().items() if "seconds" not in name}
    tensors = {name: array.tobytes() for name, array in result.network.parameters.tensors().items()}
    evaluations = {"train": result.train, "validation": result.validation, "test": result.test}
    ends = {"status": result.status, "steps": result.steps, "best_step": result.best_step}
    return {**tensors, **evaluations, **ends, "history": history}


@each_run
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_run_to_run(data: Dataset, options: dict[str, Any], dtype: str) -> None:
    config = config_of(options, dtype=dtype)
    assert outcome(train(data, config)) == outcome(train(data, config))


def test_other_seeds_are_other_runs(data: Dataset) -> None:
    first, second = (train(data, config_of({}, seed=seed)) for seed in (0, 1))
    assert outcome(first) != outcome(second)


def test_runs_at_the_same_time_in_any_order(data: Dataset) -> None:
    """Two threads over the same rows, against one run after the other."""
    options = itertools.product(RUNS.values(), (6, 16, 64))
    configs = [config_of(run, batch_size=batch_size, epochs=20) for run, batch_size in options]
    alone = [outcome(train(data, config)) for config in configs]
    for seed in range(3):
        numbers = random.Random(seed).sample(range(len(configs)), len(configs))
        with ThreadPoolExecutor(2 + seed) as pool:
            results = pool.map(lambda number: outcome(train(data, configs[number])), numbers)
        assert list(results) == [alone[number] for number in numbers]


def after(stretches: int) -> Callable[[], bool]:
    """Says stop when asked once more than this."""
    asked = itertools.count()
    return lambda: next(asked) >= stretches


@each_run
@pytest.mark.parametrize("evaluate_every", ["epoch", 7])
def test_interrupted_and_continued(
    data: Dataset, tmp_path: Path, options: dict[str, Any], evaluate_every: int | str
) -> None:
    """Interrupted again and again, after every number of stretches; 7 does not divide the 16 steps of an epoch."""
    config = config_of(options, evaluate_every=evaluate_every)
    whole = outcome(train(data, config))
    for stretches in (1, 2, 3):
        path = tmp_path / f"{stretches}.safetensors"
        result = train(data, config, checkpoint=path, should_stop=after(stretches))
        while result.status == "interrupted":
            result = train(data, config, checkpoint=path, should_stop=after(stretches))
        assert outcome(result) == whole
        assert not path.exists()


@each_run
def test_evaluation_does_not_depend_on_the_batch_size_in_use(data: Dataset, options: dict[str, Any]) -> None:
    """From 32 examples on: below, other features are listed."""
    trained = KernelEngine(data, config_of(options, batch_size=32))
    state = trained.state()
    splits = [split for split in (data.train, data.validation, data.test) if split]
    expected = [trained.evaluate(split) for split in splits]
    for batch_size in (33, 64, 1000):
        engine = KernelEngine(data, config_of(options, batch_size=batch_size))
        engine.restore(state)
        assert [engine.evaluate(split) for split in splits] == expected


def prediction_rows() -> NDArray[np.uint8]:
    """300 rows, of which every third has no zeros."""
    X = mixed_matrix(300, seed=1)
    X[::3] |= 1
    return X


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("hidden", [(), (20, 7), (70,)], ids=str)
def test_prediction_of_a_row_does_not_depend_on_the_others(data: Dataset, hidden: tuple[int, ...], dtype: str) -> None:
    network = train(data, config_of({}, hidden=hidden, dtype=dtype, epochs=1)).network
    X = prediction_rows()
    together = network.predict_proba(X)
    order = np.random.default_rng(2).permutation(300)
    np.testing.assert_array_equal(network.predict_proba(X[order]), together[order])
    for first, last in [(0, 1), (1, 2), (3, 20), (100, 300)]:
        np.testing.assert_array_equal(network.predict_proba(X[first:last]), together[first:last])
    np.testing.assert_array_equal(network.predict_proba(X[::3]), together[::3])


FEATURES_OF_VECTORS = host_features().replace("+amx-bf16", "-amx-bf16").replace("+avx512vnni", "-avx512vnni")


def digests_of_short_runs() -> list[str]:
    """SHA-256 of the parameters after 20 steps on digits: rows of both kinds of features, small batches, dense rows."""
    digests, digits = [], load_dataset("digits")
    for kind, size in (("auto", 64), ("auto", 16), ("dense", 64)):
        config = TrainingConfig(hidden=(20, 7), input=kind, batch_size=size, epochs=1, learning_rate=0.1, l2=0.01)
        engine = KernelEngine(digits, config)
        order = digits.train.indices[: 20 * size].copy()
        engine.run(Stretch(order, 0, 20, 0, np.full(20, 0.1), np.zeros(2, np.uint32)))
        tensors = engine.parameters().tensors().values()
        digests.append(hashlib.sha256(b"".join(array.tobytes() for array in tensors)).hexdigest())
    return digests


@pytest.mark.skipif(INTERPRETED, reason="nothing is compiled")
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86-64 processors")
@pytest.mark.parametrize(
    ("processor", "features"), [("haswell", "+avx,+avx2,+fma"), ("x86-64-v2", "")], ids=["AVX2", "SSE4.2"]
)
def test_a_narrower_processor_gives_the_same_bits(processor: str, features: str) -> None:
    """AVX2 without AVX-512; SSE4.2 without fused multiply-add. Registers hold fewer features and have fewer lanes."""
    output = run_python(__file__, NUMBA_CPU_NAME=processor, NUMBA_CPU_FEATURES=features)
    assert output == run_python(__file__, NUMBA_CPU_FEATURES=FEATURES_OF_VECTORS)


if __name__ == "__main__":
    print(*digests_of_short_runs())


@pytest.mark.parametrize("batch_size", [16, 200])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
def test_nothing_is_left_of_a_step_that_diverged(data: Dataset, optimizer: str, batch_size: int) -> None:
    """The gradient of later layers, and that of several blocks of a batch, is summed before its loss is known."""
    config = config_of({}, batch_size=batch_size, optimizer=optimizer)
    engine, other = KernelEngine(data, config), KernelEngine(data, config)
    step = Stretch(data.train.indices, 0, 1, 0, np.full(1, 0.1), np.zeros(2, np.uint32))
    state = engine.state()
    engine.network.buffers.parameters[engine.network.layout.biases[-1]] = np.nan
    assert engine.run(step).diverged
    engine.restore(state)
    assert engine.run(step) == other.run(step)
    np.testing.assert_array_equal(engine.network.buffers.parameters, other.network.buffers.parameters)
