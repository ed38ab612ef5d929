"""The compiled kernels give the numbers of the NumPy reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from runs import do_steps

import fastfnn
from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.engine import KernelEngine
from fastfnn.parameters import Parameters
from fastfnn.reference import NumpyEngine
from fastfnn.rows import order_of_features

STEPS = 200
KINDS = ("auto", "sparse", "dense")


def test_auto_means_dense_and_listed_features(small_mnist: Dataset) -> None:
    assert 100 < order_of_features(small_mnist, "auto").dense < 700


def relative_difference(fast: Parameters, slow: Parameters) -> float:
    """The largest difference of any tensor, relative to that tensor's largest value."""
    pairs = [(array, slow.tensors()[name]) for name, array in fast.tensors().items()]
    return max(float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-3)) for a, b in pairs)


def sensitivity(data: Dataset, config: TrainingConfig, steps: int) -> float:
    """How far the reference itself ends from where it ends after a change of its initial weights by a few ulp.

    Batch norm after the ReLU divides by the deviation of units that hardly ever fire, which amplifies any rounding up
    to 316 times a layer and step; then no two correct implementations stay close for long.
    """
    reference_run, nudged = NumpyEngine(data, config), NumpyEngine(data, config)
    nudge = np.random.default_rng(0)
    nudged.p.weights = [w * (1 + 1e-15 * nudge.choice([-1, 0, 1], w.shape)) for w in nudged.p.weights]
    for engine in (reference_run, nudged):
        do_steps(engine, data, config, steps)
    return relative_difference(nudged.parameters(), reference_run.parameters())


def check_same_numbers(data: Dataset, steps: int, **options: Any) -> None:
    """One run of the reference against one of the kernels for each kind of rows."""
    config = TrainingConfig(**{"hidden": (20, 7, 5), "learning_rate": 0.02, "epochs": 100, **options})
    tolerance = {"float64": 1e-10, "float32": 2e-4}[config.dtype]
    if config.batchnorm == "after":
        tolerance = max(tolerance, 100 * sensitivity(data, config, steps))
    splits = [split for split in (data.train, data.validation, data.test) if split]
    slow = NumpyEngine(data, config)
    expected = do_steps(slow, data, config, steps)
    evaluations = [slow.evaluate(split) for split in splits]
    for kind in KINDS:
        fast = KernelEngine(data, config.replace(input=kind))
        for a, b in zip(do_steps(fast, data, config, steps), expected, strict=True):
            assert (a.examples, a.weight, a.steps, a.diverged) == (b.examples, b.weight, b.steps, b.diverged), kind
            assert a.loss == pytest.approx(b.loss, rel=tolerance), kind
            assert abs(a.correct - b.correct) <= tolerance * a.examples, kind
        for split, evaluation in zip(splits, evaluations, strict=True):
            assert fast.evaluate(split) == pytest.approx(evaluation, rel=tolerance), kind
        assert relative_difference(fast.parameters(), slow.parameters()) < tolerance, kind


OPTIONS = {
    "plain": {},
    "xavier": {"init": "xavier"},
    "l2": {"l2": 0.01},
    "l2 per batch": {"l2": 0.5, "l2_convention": "per_batch"},
    "l2 stronger than the step": {"l2": 49.99999},
    "batchnorm before": {"batchnorm": "before"},
    "batchnorm after": {"batchnorm": "after"},
    "dropout": {"dropout": 0.3},
    "dropout by layer": {"dropout": (0.5, 0.0, 0.2)},
    "dropout and batchnorm after": {"dropout": 0.3, "batchnorm": "after"},
    "dropout and batchnorm before": {"dropout": 0.3, "batchnorm": "before", "l2": 0.01},
    "momentum": {"optimizer": "momentum"},
    "nesterov": {"optimizer": "nesterov", "l2": 0.01},
    "adam": {"optimizer": "adam", "l2": 0.01},
    "adamw": {"optimizer": "adamw", "l2": 0.01, "batchnorm": "after"},
    "cosine with warm-up": {"lr_schedule": "cosine", "warmup_epochs": 1.5, "lr_rule": "sqrt"},
    "steps": {"lr_schedule": "step", "lr_step_epochs": 2},
    "last batch dropped": {"last_batch": "drop"},
    "not shuffled": {"shuffle": False},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("batch_size", [7, 128])
def test_float64_after_200_steps(small_mnist: Dataset, batch_size: int, options: dict[str, Any]) -> None:
    check_same_numbers(small_mnist, STEPS, batch_size=batch_size, dtype="float64", **options)


@pytest.mark.parametrize("name", ["plain", "l2", "batchnorm after", "dropout and batchnorm before", "nesterov", "adam"])
@pytest.mark.parametrize("batch_size", [1, 16, 5000])
def test_one_example_whole_tiles_and_more_than_there_are(small_mnist: Dataset, batch_size: int, name: str) -> None:
    options = OPTIONS[name]
    if batch_size == 1 and "batchnorm" in options:
        with pytest.raises(fastfnn.ConfigError, match="variance 0"):
            TrainingConfig(batch_size=1, **options)
        return
    check_same_numbers(small_mnist, STEPS, batch_size=batch_size, dtype="float64", **options)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("batch_size", [7, 128])
def test_every_option_for_a_few_steps(small_mnist: Dataset, batch_size: int, options: dict[str, Any]) -> None:
    """No allowance for amplified rounding: a few steps are too few for it, but where Adam divides rounding by itself.

    The bias before a batch norm has gradient 0; Adam makes steps of what rounding leaves of it.
    """
    config = TrainingConfig(batch_size=batch_size, dtype="float64", **options)
    tolerance = 1e-6 if "adam" in config.optimizer and config.batchnorm != "off" else 1e-12
    slow = NumpyEngine(small_mnist, config)
    do_steps(slow, small_mnist, config, 3)
    for kind in KINDS:
        fast = KernelEngine(small_mnist, config.replace(input=kind))
        do_steps(fast, small_mnist, config, 3)
        assert relative_difference(fast.parameters(), slow.parameters()) < tolerance, kind


@pytest.mark.parametrize("placement", ["before", "after"])
@pytest.mark.parametrize(("batch_size", "group"), [(128, 32), (60, 20), (256, 128)])
def test_groups_share_statistics(small_mnist: Dataset, placement: str, batch_size: int, group: int) -> None:
    options = {"batchnorm": placement, "batchnorm_group": group, "dropout": 0.2}
    check_same_numbers(small_mnist, 50, batch_size=batch_size, dtype="float64", **options)


@pytest.mark.parametrize("batchnorm", ["off", "before", "after"])
@pytest.mark.parametrize("activation", ["relu", "identity", "logistic", "tanh"])
def test_activations(small_mnist: Dataset, activation: str, batchnorm: str) -> None:
    options = {"activation": activation, "batchnorm": batchnorm, "dropout": (0.3, 0.0, 0.2)}
    check_same_numbers(small_mnist, 50, batch_size=60, dtype="float64", **options)


@pytest.mark.parametrize("options", [{}, {"l2": 0.5, "l2_convention": "per_batch", "optimizer": "adam"}], ids=str)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_weights_of_examples(small_mnist: Dataset, dtype: str, options: dict[str, Any]) -> None:
    split = small_mnist.train
    X, y = split.features[split.indices], split.labels[split.indices]
    weights = np.random.default_rng(0).integers(0, 4, len(y)) / 2
    data = Dataset.from_arrays(X, y, sample_weight=weights, validation=200)
    check_same_numbers(data, 50, batch_size=60, dtype=dtype, **options)


NETWORKS = [(), (1,), (8,), (12,), (16,), (17,), (28,), (36,), (70, 3), (130, 40), (5, 6, 7, 8, 9)]


@pytest.mark.parametrize("hidden", NETWORKS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_depth_and_width(small_mnist: Dataset, hidden: tuple[int, ...], dtype: str) -> None:
    check_same_numbers(small_mnist, 20, hidden=hidden, dtype=dtype, batch_size=50)
