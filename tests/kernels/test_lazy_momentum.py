"""Momentum that waits for the features gives what momentum in every step gives."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from runs import assert_close_tensors, do_steps

from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.engine import KernelEngine
from fastfnn.kernels import lazy_momentum
from fastfnn.kernels.processor import INTERPRETED
from fastfnn.kernels.structures import MOMENTUM, NESTEROV
from fastfnn.packing import lazy_momentum_pays
from fastfnn.reference import NumpyEngine
from fastfnn.schedules import learning_rates

Array = NDArray[Any]
EXAMPLES, FEATURES = 603, 300  # more steps in an epoch than go by before all is multiplied out


def rare_features(examples: int = EXAMPLES, *, dense: int = 16) -> Dataset:
    """Bytes of which 16 features have a value always, the others in one of a hundred rows; the last one never."""
    generator = np.random.default_rng(0)
    X = generator.integers(1, 256, (examples, FEATURES), dtype=np.uint8)
    X[:, dense:] *= generator.random((examples, FEATURES - dense)) < 0.01
    X[:, -1] = 0
    return Dataset.from_arrays(X, np.arange(examples) % 4, validation=0)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return rare_features()


def config_of(**options: Any) -> TrainingConfig:
    defaults = {"hidden": (20, 7), "batch_size": 17, "learning_rate": 0.05, "optimizer": "momentum", "dtype": "float64"}
    return TrainingConfig(**{**defaults, **options})


def resting(config: TrainingConfig, steps_per_epoch: int, first: int, last: int) -> Array:
    """Learning rates of zero after the first five steps."""
    rates = learning_rates(config, steps_per_epoch, first, last)
    rates[5:] = 0
    return rates


def tensors_of(engine: KernelEngine | NumpyEngine) -> dict[str, Array]:
    """Parameters and velocities."""
    if isinstance(engine, NumpyEngine):
        velocity = {name: moments[0] for name, moments in engine.moments.items()}
    else:
        velocity = engine.moments()[0].tensors()
    return {**engine.parameters().tensors(), **{f"velocity of {name}": tensor for name, tensor in velocity.items()}}


def assert_same_numbers(data: Dataset, config: TrainingConfig, epochs: int = 2, rates_of: Any = learning_rates) -> None:
    fast, slow = KernelEngine(data, config), NumpyEngine(data, config)
    assert fast.settings.lazy
    for engine in (fast, slow):
        do_steps(engine, data, config, epochs * config.steps_per_epoch(EXAMPLES), rates_of)
    tolerance = {"float64": 1e-10, "float32": 2e-4}[config.dtype]
    assert_close_tensors(tensors_of(fast), tensors_of(slow), tolerance)
    assert fast.evaluate(data.train) == pytest.approx(slow.evaluate(data.train), rel=tolerance)


def test_the_data_have_dense_and_listed_features(data: Dataset) -> None:
    assert KernelEngine(data, config_of()).network.order.dense == 16


OPTIONS = {
    "plain": {},
    "little": {"momentum": 0.3},
    "much": {"momentum": 0.99, "learning_rate": 0.002},
    "penalty": {"l2": 0.1},
    "penalty per batch": {"l2": 0.5, "l2_convention": "per_batch"},
    "penalty stronger than the step": {"l2": 25.0},
    "schedule": {"lr_schedule": "cosine", "warmup_epochs": 1, "epochs": 2},
    "dropout and batch norm": {"dropout": 0.2, "batchnorm": "before"},
    "one unit": {"hidden": (1,)},
    "two panels": {"hidden": (90,)},
    "one example": {"batch_size": 1},
    "all features are listed": {"input": "sparse"},
}


# What comes behind the formula of a step is the same for both, and takes long to compile.
OF_ONE = ("dropout and batch norm", "one unit", "two panels", "all features are listed")
CASES = [("momentum", name) for name in OPTIONS] + [("nesterov", name) for name in OPTIONS if name not in OF_ONE]


@pytest.mark.parametrize(
    ("optimizer", "options"), [(optimizer, OPTIONS[name]) for optimizer, name in CASES], ids=map("-".join, CASES)
)
def test_as_the_reference(data: Dataset, optimizer: str, options: dict[str, Any]) -> None:
    """Velocities too, and those of a feature that never occurs."""
    assert_same_numbers(data, config_of(optimizer=optimizer, **options), epochs=1 if INTERPRETED else 2)


@pytest.mark.parametrize("optimizer", ["momentum", "nesterov"])
def test_float32(data: Dataset, optimizer: str) -> None:
    assert_same_numbers(data, config_of(optimizer=optimizer, dtype="float32", l2=0.01))


def test_a_step_that_cannot_be_undone(data: Dataset) -> None:
    """With rate * penalty = 1, a step of Nesterov's forgets the weight; it comes after others that were lazy."""
    assert_same_numbers(data, config_of(optimizer="nesterov", l2=4.0, learning_rate=0.25, warmup_epochs=1, epochs=2))


def test_velocities_change_where_weights_rest(data: Dataset) -> None:
    assert_same_numbers(data, config_of(l2=0.1), rates_of=resting)


@pytest.mark.usefixtures("every_step_is_divided")
@pytest.mark.parametrize("options", [{"batch_size": 16}, {"batch_size": 16, "input": "sparse"}], ids=str)
def test_any_number_of_threads_gives_the_same_bits(data: Dataset, options: dict[str, Any]) -> None:
    found = []
    for threads in (1, 2, 3):
        config = config_of(dtype="float32", threads=threads, **options)
        engine = KernelEngine(data, config)
        assert engine.settings.lazy
        assert len(engine.members) == threads
        do_steps(engine, data, config, 2 * config.steps_per_epoch(EXAMPLES))
        found.append({name: tensor.tobytes() for name, tensor in tensors_of(engine).items()})
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, True),
        ({"optimizer": "nesterov"}, True),
        ({"momentum": 0.2}, True),
        ({"momentum": 0.1}, False),
        ({"momentum": 0.0}, False),
        ({"optimizer": "sgd"}, False),
        ({"optimizer": "adam"}, False),
        ({"input": "dense"}, False),
    ],
    ids=str,
)
def test_when_it_is_lazy(data: Dataset, options: dict[str, Any], expected: bool) -> None:
    assert KernelEngine(data, config_of(**options)).settings.lazy == expected


@pytest.mark.parametrize(
    ("momentum", "density", "expected"), [(0.9, 0.14, True), (0.9, 0.16, False), (0.4, 0.14, False)]
)
def test_it_pays_where_few_features_occur(data: Dataset, momentum: float, density: float, expected: bool) -> None:
    """In a batch of 16; with momentum 0.4, all is multiplied out after two or three steps."""
    config, densities = config_of(batch_size=16, momentum=momentum), np.full(200, density)
    layout = KernelEngine(data, config).network.layout
    assert lazy_momentum_pays(config, layout, densities, 16) == expected
    assert not lazy_momentum_pays(config, layout._replace(first_layer_by_groups=True), densities, 16)


def test_not_where_gradients_are_summed_by_groups() -> None:
    """They are added to the weights all at once."""
    assert not KernelEngine(rare_features(1100), config_of(batch_size=512)).settings.lazy


def plain(kernel: Any) -> Any:
    return getattr(kernel, "py_func", kernel)


def step_by_hand(state: Array, gradient: Array, mu: float, rate: float, decay: float, *, nesterov: bool) -> Array:
    """(w, v) after a step of `optimizers.momentum`."""
    dw = gradient + decay * state[0]
    v = mu * state[1] + dw
    return np.array([state[0] - rate * (mu * v + dw if nesterov else v), v])


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_steps_by_hand(nesterov: bool, decay: float) -> None:
    generator = np.random.default_rng(1)
    settings: Any = SimpleNamespace(momentum=0.9, optimizer=NESTEROV if nesterov else MOMENTUM)
    state = generator.normal(size=(2, 5))
    stored, lazy = state.copy(), np.array([1.0, 0.0, 0.0, 1.0, 0.0])
    steps = 0
    while not plain(lazy_momentum.is_due)(lazy):
        gradient, rate = generator.normal(size=5), generator.random()
        state = step_by_hand(state, gradient, 0.9, rate, decay, nesterov=nesterov)
        stored += np.outer(plain(lazy_momentum.advance)(lazy, settings, rate, decay), gradient)
        np.testing.assert_allclose(lazy[:4].reshape(2, 2) @ stored, state, rtol=1e-12, atol=1e-12)
        steps += 1
    assert steps == 22 if decay == 0 or not nesterov else steps < 22  # 0.9 ** 22 < 0.1


@pytest.mark.parametrize(
    ("optimizer", "momentum", "decay", "expected"),
    [
        (MOMENTUM, 0.9, 2.0, True),
        (NESTEROV, 0.9, 1.0, True),
        (NESTEROV, 0.9, 2.0, False),
        (NESTEROV, 0.9, 1.8, False),
        (MOMENTUM, 0.05, 0.0, False),
    ],
)
def test_which_steps_are_possible(optimizer: int, momentum: float, decay: float, expected: bool) -> None:
    settings: Any = SimpleNamespace(momentum=momentum, optimizer=optimizer)
    assert plain(lazy_momentum.is_possible)(settings, 0.5, decay) == expected


@pytest.mark.parametrize("determinant", [0.05, -0.05, 20.0, np.nan])
def test_when_it_is_due(determinant: float) -> None:
    assert plain(lazy_momentum.is_due)(np.array([determinant, 0.0, 3.0, 1.0]))
    assert not plain(lazy_momentum.is_due)(np.array([0.5, 0.5, -0.5, 0.5]))
