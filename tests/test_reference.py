"""The NumPy specification: gradients by finite differences, and numbers worked by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from fastfnn import reference
from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.parameters import Parameters, initialise
from fastfnn.streams import dropout_keys
from fastfnn.stretch import Stretch, Totals

Array = NDArray[Any]

MASK = [[0, 0, 1, 1, 1, 0, 0, 1], [0, 0, 1, 1, 1, 1, 0, 0], [1, 0, 1, 1, 1, 1, 0, 0]]
N, K, C = 24, 6, 3
rng = np.random.default_rng(7)
X = rng.normal(size=(N, K)) * (rng.random((N, K)) < 0.6)
Y = np.arange(N) % C


def numeric_gradient(f: Callable[[Array], float], x: Array, h: float = 1e-6) -> Array:
    """Central differences of a scalar function."""
    gradient = np.empty_like(x)
    for at in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[at] += h
        down[at] -= h
        gradient[at] = (f(up) - f(down)) / (2 * h)
    return gradient


def assert_close(actual: Array, expected: Array) -> None:
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-8)


# ---------------------------------------------------------------------------------------------------- each operation


def test_linear_backward() -> None:
    x, weights, biases, dz = (rng.normal(size=s) for s in ((5, 4), (4, 3), (3,), (5, 3)))
    dx, dweights, dbiases = reference.linear_backward(dz, x, weights)
    assert_close(dx, numeric_gradient(lambda v: (reference.linear(v, weights, biases) * dz).sum(), x))
    assert_close(dweights, numeric_gradient(lambda v: (reference.linear(x, v, biases) * dz).sum(), weights))
    assert_close(dbiases, numeric_gradient(lambda v: (reference.linear(x, weights, v) * dz).sum(), biases))


def test_relu() -> None:
    z, da = np.array([[-2.0, 0.0, 3.0, np.nan]]), np.array([[5.0, 6.0, 7.0, 8.0]])
    np.testing.assert_array_equal(reference.relu(z), [[0, 0, 3, np.nan]])
    np.testing.assert_array_equal(reference.relu_backward(da[:, :3], reference.relu(z)[:, :3]), [[0, 0, 7]])


def test_batchnorm_backward() -> None:
    z, scale, shift, dy = (rng.normal(size=s) for s in ((7, 3), (3,), (3,), (7, 3)))
    _, normalised, _, variance = reference.batchnorm(z, scale, shift)
    dz, dscale, dshift = reference.batchnorm_backward(dy, normalised, scale, variance)
    assert_close(dz, numeric_gradient(lambda v: (reference.batchnorm(v, scale, shift)[0] * dy).sum(), z))
    assert_close(dscale, numeric_gradient(lambda v: (reference.batchnorm(z, v, shift)[0] * dy).sum(), scale))
    assert_close(dshift, numeric_gradient(lambda v: (reference.batchnorm(z, scale, v)[0] * dy).sum(), shift))


def test_batchnorm_by_hand() -> None:
    """Values 0 and 4: mean 2, biased variance 4, normalised to -+1 but for epsilon."""
    y, normalised, mean, variance = reference.batchnorm(np.array([[0.0], [4.0]]), np.array([3.0]), np.array([10.0]))
    assert (mean.tolist(), variance.tolist()) == ([2.0], [4.0])
    one = 2 / math.sqrt(4 + 1e-5)
    np.testing.assert_allclose(normalised, [[-one], [one]], rtol=1e-15)
    np.testing.assert_allclose(y, [[10 - 3 * one], [10 + 3 * one]], rtol=1e-15)


def test_batchnorm_inference_by_hand() -> None:
    arguments = (np.array([v]) for v in (2.0, 0.5, 3.0, 4.0))
    y = reference.batchnorm_inference(np.array([[7.0]]), *arguments)
    assert y[0, 0] == pytest.approx((7 - 3) / math.sqrt(4 + 1e-5) * 2 + 0.5, rel=1e-15)


def test_dropout_scales_what_stays() -> None:
    a, mask = np.array([[1.0, 2.0, -3.0]]), np.array([[True, False, True]])
    np.testing.assert_allclose(reference.dropout(a, mask, 0.75), [[4, 0, -12]])
    da = rng.normal(size=(1, 3))
    numeric = numeric_gradient(lambda v: (reference.dropout(v, mask, 0.75) * da).sum(), a)
    assert_close(reference.dropout_backward(da, mask, 0.75), numeric)


def test_cross_entropy_backward() -> None:
    logits, labels = rng.normal(size=(5, 4)), np.array([0, 3, 1, 1, 2])
    _, softmax = reference.cross_entropy(logits, labels)
    numeric = numeric_gradient(lambda v: reference.cross_entropy(v, labels)[0].mean(), logits)
    assert_close(reference.cross_entropy_backward(softmax, labels, np.ones(5)), numeric)


def test_weighted_cross_entropy_backward() -> None:
    logits, labels, weights = rng.normal(size=(3, 4)), np.array([0, 3, 1]), np.array([2.0, 0.0, 0.5])
    _, softmax = reference.cross_entropy(logits, labels)
    numeric = numeric_gradient(lambda v: reference.cross_entropy(v, labels)[0] @ weights / 2.5, logits)
    assert_close(reference.cross_entropy_backward(softmax, labels, weights), numeric)
    assert not reference.cross_entropy_backward(softmax, labels, np.zeros(3)).any()


@pytest.mark.parametrize("name", ["identity", "logistic", "tanh"])
def test_smooth_activations_backward(name: str) -> None:
    activation, backward = reference.ACTIVATIONS[name]
    z, da = rng.normal(size=(2, 5)), rng.normal(size=(2, 5))
    assert_close(backward(da, activation(z)), numeric_gradient(lambda v: (activation(v) * da).sum(), z))


def test_activations_by_hand() -> None:
    z = np.array([0.0, math.log(3), -math.log(3)])
    np.testing.assert_allclose(reference.logistic(z), [0.5, 0.75, 0.25], rtol=1e-15)
    np.testing.assert_allclose(reference.tanh(z), [0, 0.8, -0.8], rtol=1e-15)
    np.testing.assert_array_equal(reference.identity(z), z)


def test_cross_entropy_by_hand() -> None:
    """Logits log 1, log 2, log 5 have softmax 1/8, 2/8, 5/8."""
    losses, softmax = reference.cross_entropy(np.log([[1.0, 2.0, 5.0]] * 3), np.arange(3))
    np.testing.assert_allclose(softmax, [[0.125, 0.25, 0.625]] * 3, rtol=1e-15)
    np.testing.assert_allclose(losses, -np.log([0.125, 0.25, 0.625]), rtol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cross_entropy_of_huge_logits(dtype: str) -> None:
    logits = np.array([[1e4, -1e4, 0.0], [1e4, 1e4, -1e4]], dtype)
    losses, softmax = reference.cross_entropy(logits, np.array([1, 0]))
    np.testing.assert_allclose(losses, [2e4, math.log(2)], rtol=1e-6)
    np.testing.assert_array_equal(softmax, np.array([[1, 0, 0], [0.5, 0.5, 0]], dtype))
    assert losses.dtype == dtype


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=6), st.floats(-1000, 1000))
@settings(max_examples=50, deadline=None)
def test_cross_entropy_does_not_change_with_a_shift(logits: list[float], shift: float) -> None:
    rows, label = np.array([logits]), np.array([0])
    np.testing.assert_allclose(
        reference.cross_entropy(rows + shift, label)[0], reference.cross_entropy(rows, label)[0], atol=1e-10
    )


# ------------------------------------------------------------------------------------------- gradients of the network


def dataset(X: Any = X, **options: Any) -> Dataset:
    return Dataset.from_arrays(X, Y, validation=None, **options)


def some_parameters(config: TrainingConfig) -> Parameters:
    """Random values everywhere, so that no gradient is hidden behind a 0 or a 1."""
    parameters = initialise(config, K, C, seed=1)
    noise = np.random.default_rng(3)
    for kind in ("biases", "scale", "shift"):
        setattr(parameters, kind, [a + 0.3 * noise.normal(size=a.shape) for a in getattr(parameters, kind)])
    return parameters


def one_step(data: Dataset, config: TrainingConfig, parameters: Parameters, rate: float) -> tuple[Totals, Parameters]:
    """Sums of one step on the first batch, and the parameters after it."""
    engine = reference.NumpyEngine(data, config)
    engine.p = parameters.copy()
    keys = dropout_keys(config.seed, 0, len(config.hidden))
    totals = engine.run(Stretch(data.train.indices, 0, 1, 0, np.array([rate]), keys))
    return totals, engine.parameters()


def cost(data: Dataset, config: TrainingConfig, parameters: Parameters) -> float:
    """What the step descends: mean cross-entropy of the batch, and the penalty in its convention."""
    totals, _ = one_step(data, config, parameters, rate=0.0)
    divisor = totals.weight if config.l2_convention == "per_batch" else 1
    squares = sum(float((w**2).sum()) for w in parameters.weights)
    return totals.loss / totals.weight + config.l2 / (2 * divisor) * squares


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "xavier": {"init": "xavier"},
    "softmax regression": {"hidden": ()},
    "deep": {"hidden": (5, 4, 3, 4)},
    "l2": {"l2": 0.7},
    "l2 per batch": {"l2": 9.0, "l2_convention": "per_batch"},
    "batchnorm before": {"batchnorm": "before"},
    "batchnorm after": {"batchnorm": "after", "l2": 0.1},
    "groups before": {"batchnorm": "before", "batchnorm_group": 4},
    "groups after": {"batchnorm": "after", "batchnorm_group": 6},
    "tanh": {"activation": "tanh", "dropout": 0.3},
    "logistic": {"activation": "logistic", "batchnorm": "before"},
    "identity": {"activation": "identity", "batchnorm": "after"},
    "dropout": {"dropout": 0.4},
    "dropout by layer": {"dropout": (0.0, 0.5)},
    "everything": {"dropout": (0.2, 0.5), "batchnorm": "after", "batchnorm_group": 3, "l2": 0.3},
}


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_gradients_by_finite_differences(options: dict[str, Any], sparse: bool) -> None:
    check_gradients(dataset(csr_matrix(X) if sparse else X), options)


@pytest.mark.parametrize("name", ["plain", "l2 per batch"])
def test_gradients_with_weights_by_finite_differences(name: str) -> None:
    check_gradients(dataset(sample_weight=np.arange(N) % 4), OPTIONS[name])


def check_gradients(data: Dataset, options: dict[str, Any]) -> None:
    """A step of plain gradient descent at rate 1 subtracts the gradient of the cost."""
    config = TrainingConfig(**{"hidden": (5, 4), "batch_size": 12, "dtype": "float64", **options})
    before = some_parameters(config)
    _, after = one_step(data, config, before, rate=1.0)
    for name, array in before.tensors().items():
        if name.startswith("running"):
            continue

        def at(values: Array, name: str = name) -> float:
            tensors = {**before.tensors(), name: values}
            return cost(data, config, Parameters.from_tensors(tensors, len(before.weights)))

        np.testing.assert_allclose(
            array - after.tensors()[name], numeric_gradient(at, array), rtol=1e-5, atol=2e-8, err_msg=name
        )


def test_gradient_of_softmax_regression_in_closed_form() -> None:
    config = TrainingConfig(hidden=(), batch_size=N, dtype="float64")
    before = some_parameters(config)
    _, after = one_step(dataset(), config, before, rate=1.0)
    scores = np.exp(X @ before.weights[0] + before.biases[0])
    error = scores / scores.sum(axis=1, keepdims=True) - np.eye(C)[Y]
    np.testing.assert_allclose(before.weights[0] - after.weights[0], X.T @ error / N, atol=1e-14)
    np.testing.assert_allclose(before.biases[0] - after.biases[0], error.mean(axis=0), atol=1e-14)


def test_step_of_a_2_2_2_network_by_hand() -> None:
    """x = (1, 2), label 1: z = (1, -2), a = (1, 0), logits (1, -1), softmax (q, 1 - q), dlogits (q, -q)."""
    data = Dataset.from_arrays(np.array([[1.0, 2.0], [0.0, 0.0]]), np.array([1, 0]), validation=None)
    config = TrainingConfig(hidden=2, batch_size=1, dtype="float64")
    before = Parameters(
        weights=[np.array([[1.0, 0.0], [0.0, -1.0]]), np.array([[1.0, -1.0], [2.0, 0.0]])],
        biases=[np.zeros(2), np.zeros(2)],
    )
    totals, after = one_step(data, config, before, rate=0.1)
    q = 1 / (1 + math.exp(-2))
    assert (totals.correct, totals.examples, totals.steps) == (0, 1, 1)
    assert totals.loss == pytest.approx(2.1269280110429727, rel=1e-15)
    np.testing.assert_allclose(after.weights[1], [[1 - 0.1 * q, -1 + 0.1 * q], [2.0, 0.0]], rtol=1e-15)
    np.testing.assert_allclose(after.biases[1], [-0.1 * q, 0.1 * q], rtol=1e-15)
    np.testing.assert_allclose(after.weights[0], [[1 - 0.1 * 2 * q, 0.0], [-0.1 * 4 * q, -1.0]], rtol=1e-15)
    np.testing.assert_allclose(after.biases[0], [-0.1 * 2 * q, 0.0], rtol=1e-15)


def test_running_statistics_by_hand() -> None:
    """Groups (0, 4) and (1, 1): means 2 and 1, variances 4 and 0; the second group sees what the first left."""
    data = Dataset.from_arrays(np.array([[0.0], [4.0], [1.0], [1.0]]), np.array([0, 1, 0, 1]), validation=None)
    config = TrainingConfig(hidden=1, batch_size=4, batchnorm="before", batchnorm_group=2, dtype="float64")
    parameters = initialise(config, 1, 2, seed=0)
    parameters.weights[0][...] = 1.0
    _, after = one_step(data, config, parameters, rate=0.0)
    assert after.running_mean[0].tolist() == pytest.approx([0.9 * (0.1 * 2) + 0.1 * 1], rel=1e-15)
    assert after.running_variance[0].tolist() == pytest.approx([0.9 * (0.9 + 0.1 * 4) + 0.1 * 0], rel=1e-15)


def test_last_short_batch_is_the_mean_over_its_own_examples() -> None:
    config = TrainingConfig(hidden=(), batch_size=16, dtype="float64", shuffle=False)
    before, data = some_parameters(config), dataset()
    engine = reference.NumpyEngine(data, config)
    engine.p = before.copy()
    totals = engine.run(Stretch(data.train.indices, 1, 2, 1, np.array([1.0]), np.empty(0, np.uint32)))
    scores = np.exp(X[16:] @ before.weights[0] + before.biases[0])
    error = scores / scores.sum(axis=1, keepdims=True) - np.eye(C)[Y[16:]]
    assert totals.examples == 8
    np.testing.assert_allclose(before.weights[0] - engine.p.weights[0], X[16:].T @ error / 8, atol=1e-14)


@pytest.mark.parametrize("placement", ["before", "after"])
def test_evaluation_uses_running_statistics_and_no_dropout(placement: str) -> None:
    config = TrainingConfig(hidden=2, batchnorm=placement, dropout=0.5, dtype="float64")
    p = some_parameters(config)
    p.running_mean[0][...], p.running_variance[0][...] = [1.0, -1.0], [4.0, 0.25]

    def normalise(z: Array) -> Array:
        deviation = np.sqrt(np.array([4.0, 0.25]) + 1e-5)
        return np.asarray((z - np.array([1.0, -1.0])) / deviation * p.scale[0] + p.shift[0])

    z = X @ p.weights[0] + p.biases[0]
    a = np.maximum(normalise(z), 0) if placement == "before" else normalise(np.maximum(z, 0))
    logits = a @ p.weights[1] + p.biases[1]
    engine = reference.NumpyEngine(dataset(), config)
    engine.p = p
    loss, accuracy = engine.evaluate(engine.data.train)
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(N), Y]
    assert loss == pytest.approx(losses.mean(), rel=1e-13)
    assert accuracy == (logits.argmax(axis=1) == Y).mean()


def test_evaluation_in_chunks_is_the_evaluation_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = reference.NumpyEngine(dataset(), TrainingConfig(dtype="float64"))
    whole = engine.evaluate(engine.data.train)
    monkeypatch.setattr(reference, "EVALUATION_CHUNK", 5)
    assert engine.evaluate(engine.data.train) == pytest.approx(whole, rel=1e-14)


# --------------------------------------------------------------------------------------------------------- optimisers

ADAM_1 = 1 - 0.1 * 0.5 / (0.5 + 1e-8)
ADAM_2 = 0.1 * (0.02 / 0.19) / (math.sqrt(0.00031225 / 0.001999) + 1e-8)


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        ("sgd", [0.95, 0.975]),
        ("momentum", [0.95, 0.93]),  # velocities 0.5, 0.2
        ("nesterov", [0.905, 0.912]),  # 0.1 * (0.5 + 0.45), 0.1 * (-0.25 + 0.18)
        ("adam", [ADAM_1, ADAM_1 - ADAM_2]),  # means 0.05, 0.02; squares 0.00025, 0.00031225
        ("adamw", [ADAM_1, ADAM_1 - ADAM_2]),
    ],
)
def test_two_steps_by_hand(optimizer: str, expected: list[float]) -> None:
    config = TrainingConfig(optimizer=optimizer, momentum=0.9, adam_beta1=0.9, adam_beta2=0.999, adam_epsilon=1e-8)
    w, state = np.array([1.0]), [np.zeros(1), np.zeros(1)]
    for step, (dw, value) in enumerate(zip((0.5, -0.25), expected, strict=True), start=1):
        w = reference.update(w, np.array([dw]), state, 0.1, step, config, decay=0.0)
        assert w[0] == pytest.approx(value, rel=1e-13)


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        ("sgd", 1 - 0.1 * (0.5 + 0.2)),
        ("adam", 1 - 0.1 * 0.7 / (0.7 + 1e-8)),
        ("adamw", 1 * (1 - 0.1 * 0.2) - 0.1 * 0.5 / (0.5 + 1e-8)),
    ],
)
def test_penalty_by_hand(optimizer: str, expected: float) -> None:
    """adamw shrinks the weights apart from the moments; the others see the penalty in the gradient."""
    config = TrainingConfig(optimizer=optimizer)
    state = [np.zeros(1), np.zeros(1)]
    w = reference.update(np.array([1.0]), np.array([0.5]), state, 0.1, 1, config, decay=0.2)
    assert w[0] == pytest.approx(expected, rel=1e-13)


def test_penalty_gradient_of_both_conventions() -> None:
    assert reference.penalty_gradient(TrainingConfig(l2=0.5), 10) == 0.5
    assert reference.penalty_gradient(TrainingConfig(l2=0.5, l2_convention="per_batch"), 10) == 0.05


@pytest.mark.parametrize("optimizer", reference.OPTIMIZERS)
def test_optimisers_keep_float32(optimizer: str) -> None:
    w, state = np.ones(2, np.float32), [np.zeros(2, np.float32), np.zeros(2, np.float32)]
    w = reference.update(w, np.ones(2, np.float32), state, 0.1, 1, TrainingConfig(optimizer=optimizer), decay=0.1)
    assert {array.dtype for array in (w, *state)} == {np.dtype(np.float32)}


# ------------------------------------------------------------------------------------------------------------ dropout


def test_avalanche_is_the_finaliser_of_murmurhash3() -> None:
    values = np.array([0, 1, 0xDEADBEEF], np.uint32)
    assert [hex(v) for v in reference.avalanche(values)] == ["0x0", "0x514e28b7", "0xde5c6a9"]


def test_avalanche_flips_half_of_the_bits() -> None:
    values = np.arange(1, 2001, dtype=np.uint32)
    for bit in range(32):
        flipped = reference.avalanche(values) ^ reference.avalanche(values ^ np.uint32(1 << bit))
        assert np.bitwise_count(flipped).mean() == pytest.approx(16, abs=0.5)


def test_mask_is_what_it_was() -> None:
    """A change here changes every stored result with dropout."""
    mask = reference.dropout_mask(np.array([0, 1, 59_999]), 8, np.uint32(12345), 0.5)
    assert mask.astype(int).tolist() == MASK


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 0.9])
def test_fraction_that_stays(probability: float) -> None:
    """Within five deviations of the binomial; also of every unit and of every example."""
    mask = reference.dropout_mask(np.arange(2000), 100, dropout_keys(0, 0, 1)[0], probability)
    deviation = math.sqrt(probability * (1 - probability))
    assert abs(mask.mean() - (1 - probability)) <= 5 * deviation / math.sqrt(mask.size)
    assert np.abs(mask.mean(axis=0) - (1 - probability)).max() <= 5 * deviation / math.sqrt(2000)
    assert np.abs(mask.mean(axis=1) - (1 - probability)).max() <= 5 * deviation / math.sqrt(100)


@given(
    st.lists(st.integers(0, 2**40), min_size=1, max_size=20),
    st.integers(0, 2**32 - 1),
    st.randoms(use_true_random=False),
)
@settings(max_examples=50, deadline=None)
def test_mask_of_an_example_does_not_depend_on_its_batch(examples: list[int], key: int, random: Any) -> None:
    batch = np.array(examples)
    mask = reference.dropout_mask(batch, 9, np.uint32(key), 0.4)
    order = random.sample(range(len(batch)), len(batch))
    np.testing.assert_array_equal(reference.dropout_mask(batch[order], 9, np.uint32(key), 0.4), mask[order])
    np.testing.assert_array_equal(reference.dropout_mask(batch[:1], 9, np.uint32(key), 0.4), mask[:1])
    np.testing.assert_array_equal(reference.dropout_mask(batch, 4, np.uint32(key), 0.4), mask[:, :4])


def test_masks_differ_between_epochs_layers_and_seeds() -> None:
    """Any two agree on about half of their units, as independent ones do."""
    keys = [key for seed in (0, 1) for epoch in (0, 1) for key in dropout_keys(seed, epoch, 2)]
    masks = [reference.dropout_mask(np.arange(100), 50, key, 0.5) for key in keys]
    agreements = [(a == b).mean() for i, a in enumerate(masks) for b in masks[:i]]
    assert agreements == pytest.approx([0.5] * 28, abs=0.04)


def test_a_unit_more_likely_dropped_is_dropped_too() -> None:
    """One random number a unit: masks of a larger probability are subsets."""
    small, large = (reference.dropout_mask(np.arange(50), 20, np.uint32(3), p) for p in (0.2, 0.6))
    assert not (large & ~small).any()
