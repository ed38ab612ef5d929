"""Networks at rest: files, predictions and initial weights."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import C, K, X, Y, random_network
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_matrix, csr_array, csr_matrix

import fastfnn
from fastfnn.config import NetworkConfig, TrainingConfig
from fastfnn.data import Dataset
from fastfnn.errors import DataError
from fastfnn.model_files import read_safetensors
from fastfnn.network import Network
from fastfnn.parameters import Parameters, initialise
from fastfnn.reference import infer

Array = NDArray[Any]

CONFIG = TrainingConfig(hidden=(8,), batchnorm="before", epochs=2, batch_size=20)


@pytest.fixture(scope="module")
def network() -> Network:
    """A trained one."""
    return fastfnn.train(Dataset.from_arrays(X, Y), CONFIG).network


# -------------------------------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batchnorm", ["off", "before", "after"])
@pytest.mark.parametrize("hidden", [(), (8,), (20, 7, 5)], ids=str)
def test_round_trip(tmp_path: Path, hidden: tuple[int, ...], batchnorm: Any, dtype: Any) -> None:
    config = NetworkConfig(hidden=hidden, batchnorm=batchnorm, dtype=dtype, init="xavier", activation="tanh")
    network, path = random_network(config), tmp_path / "model.safetensors"
    network.save(path)
    again = Network.load(path)
    assert again.config == config
    assert again.scale == network.scale
    assert again.layer_sizes == network.layer_sizes == [K, *hidden, C]
    for name, array in network.parameters.tensors().items():
        np.testing.assert_array_equal(again.parameters.tensors()[name], array, strict=True)
    assert again.predict_proba(X).tobytes() == network.predict_proba(X).tobytes()


def test_trained_network_keeps_only_what_predicts(network: Network, tmp_path: Path) -> None:
    network.save(tmp_path / "a")
    again = Network.load(tmp_path / "a")
    assert again.config == NetworkConfig(hidden=(8,), batchnorm="before")
    assert again.predict_proba(X).tobytes() == network.predict_proba(X).tobytes()
    again.save(tmp_path / "b")
    assert Network.load(tmp_path / "b").predict_proba(X).tobytes() == network.predict_proba(X).tobytes()


@pytest.mark.parametrize(
    "classes", [["ä", "cat", "a longer label"], [-5, 0, 2**62], [0.0, 1.0, 2.5], [False, True, True]], ids=str
)
def test_labels_come_back(tmp_path: Path, classes: list[Any]) -> None:
    network, path = random_network(NetworkConfig(hidden=(8,)), classes), tmp_path / "model"
    network.save(path)
    again = Network.load(path)
    np.testing.assert_array_equal(again.classes, np.array(classes), strict=True)
    np.testing.assert_array_equal(again.predict(X), network.predict(X), strict=True)
    assert json.loads(read_safetensors(path)[0]["classes"]) == classes


def test_saving_leaves_the_old_file_when_it_fails(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"old")

    def no_space(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_space)
        with pytest.raises(OSError, match="No space"):
            network.save(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    network.save(path)
    assert list(tmp_path.iterdir()) == [path]
    assert Network.load(path).n_features == K


def test_saved_file_has_the_permissions_of_a_new_file(network: Network, tmp_path: Path) -> None:
    network.save(tmp_path / "model")
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "model").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_saving_into_a_missing_folder(network: Network, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        network.save(tmp_path / "no" / "model")


# -------------------------------------------------------------------------------------------------------- predictions


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batchnorm", ["off", "before", "after"])
def test_probabilities_are_those_of_the_reference(dtype: Any, batchnorm: Any) -> None:
    network = random_network(NetworkConfig(hidden=(20, 7, 5), batchnorm=batchnorm, dtype=dtype))
    logits = infer(network.parameters, X.astype(dtype) * np.dtype(dtype).type(1 / 255), network.config).astype("f8")
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = network.predict_proba(X)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol={"float32": 1e-4, "float64": 1e-12}[dtype])
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol={"float32": 1e-6, "float64": 1e-14}[dtype])
    np.testing.assert_array_equal(network.predict(X), network.classes[expected.argmax(axis=1)])


def test_prediction_by_hand() -> None:
    """Logits (2 * 1 - 2, 2 * 0.5 - 0) = (0, 1) of the example (510, 0), scaled by 1/255."""
    parameters = Parameters([np.array([[1.0, 0.5], [7.0, 7.0]])], [np.array([-2.0, 0.0])])
    network = Network(NetworkConfig(hidden=(), dtype="float64"), parameters, np.array(["no", "yes"]), 1 / 255)
    e = np.exp(1)
    np.testing.assert_allclose(network.predict_proba([[510, 0]]), [[1 / (1 + e), e / (1 + e)]], rtol=1e-14)
    assert network.predict([[510, 0]]).tolist() == ["yes"]


FORMS: dict[str, Callable[[Array], Any]] = {
    "images": lambda x: x.reshape(-1, 3, 4),
    "int64": lambda x: x.astype(np.int64),
    "float32": lambda x: x.astype(np.float32),
    "float64": lambda x: x.astype(np.float64),
    "big-endian": lambda x: x.astype(">f4"),
    "column by column": np.asfortranarray,
    "strided": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "read-only": lambda x: np.frombuffer(x.tobytes(), np.uint8).reshape(x.shape),
    "lists": lambda x: x.tolist(),
    "CSR": csr_matrix,
    "CSR array of floats": lambda x: csr_array(x.astype(float)),
    "CSC": csc_matrix,
    "COO": coo_array,
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_any_form_of_the_same_features(network: Network, form: Callable[[Array], Any]) -> None:
    np.testing.assert_allclose(network.predict_proba(form(X)), network.predict_proba(X), rtol=1e-5)
    np.testing.assert_array_equal(network.predict(form(X)), network.predict(X))


def test_prediction_leaves_its_input_alone(network: Network) -> None:
    unsorted = csr_matrix((np.array([1.0, 2.0]), np.array([5, 0]), np.array([0, 2])), shape=(1, K))
    network.predict(unsorted)
    assert (unsorted.indices.tolist(), unsorted.data.tolist()) == ([5, 0], [1.0, 2.0])


def test_prediction_of_a_row_does_not_depend_on_its_companions(network: Network) -> None:
    whole = network.predict_proba(csr_matrix(X))
    for rows in (slice(3, 4), slice(5, 50), slice(None, None, -1)):
        np.testing.assert_array_equal(network.predict_proba(csr_matrix(X[rows])), whole[rows])


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        (np.zeros((2, 11)), r"X: expected 12 features, found shape \(2, 11\)"),
        (np.zeros(12), r"X: expected 2 or 3 dimensions .* found 1, shape \(12,\)"),
        (np.zeros((1, 1, 3, 4)), r"X: expected 2 or 3 dimensions .* found 4"),
        (np.zeros((2, 4, 4)), r"X: expected 12 features, found shape \(2, 16\)"),
        (csr_matrix((2, 11)), r"X: expected 12 features, found shape \(2, 11\)"),
        (np.zeros((0, 12)), "X: expected at least one row"),
        (np.zeros((1, 12), complex), "X: expected numbers"),
        ([[1], [1, 2]], "X: "),
        ([], "found"),
        (3, "found"),
        (np.full((1, 12), np.nan), "X: expected finite numbers, found nan at row 0, column 0"),
        (np.full((1, 12), np.inf), "X: expected finite numbers"),
        (csr_matrix(np.full((1, 12), np.nan)), "X: expected finite numbers"),
        ([["a"] * 12], "X: expected numbers .* found dtype <U1"),
        ([[None] * 12], "X: expected numbers .* found dtype object"),
    ],
)
def test_features_that_are_refused(network: Network, features: Any, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        network.predict(features)


# ----------------------------------------------------------------------------------------------------- initialisation


@pytest.mark.parametrize(("init", "variance"), [("he", 2 / 784), ("xavier", 2 / (784 + 500))])
def test_initial_variance(init: Any, variance: float) -> None:
    weights = initialise(NetworkConfig(hidden=500, init=init, dtype="float64"), 784, 10, seed=0).weights[0]
    deviation_of_variance = variance * (2 / weights.size) ** 0.5
    assert abs(weights.var() - variance) < 5 * deviation_of_variance
    assert abs(weights.mean()) < 5 * (variance / weights.size) ** 0.5


def test_initial_biases_and_batchnorm() -> None:
    p = initialise(NetworkConfig(hidden=(4, 3), batchnorm="after"), 5, 2, seed=0)
    assert [w.shape for w in p.weights] == [(5, 4), (4, 3), (3, 2)]
    assert not any(array.any() for array in (*p.biases, *p.shift, *p.running_mean))
    assert all((array == 1).all() for array in (*p.scale, *p.running_variance))
    assert {array.dtype for array in p.tensors().values()} == {np.dtype(np.float32)}


def test_initialisation_is_a_function_of_shape_and_seed() -> None:
    def weights(seed: int = 0, **options: Any) -> list[bytes]:
        return [w.tobytes() for w in initialise(TrainingConfig(**options), 9, 4, seed).weights]

    assert weights() == weights(batch_size=7, learning_rate=1.0, batchnorm="after", dropout=0.5, epochs=3)
    assert weights() != weights(seed=1)
    wide = initialise(TrainingConfig(dtype="float64"), 9, 4, 0).weights
    assert weights() == [w.astype(np.float32).tobytes() for w in wide]


# ---------------------------------------------------------------------------------------------------------------- MNIST


def test_default_network_learns_mnist(mnist: Dataset, tmp_path: Path) -> None:
    """About 0.90 for this seed; a broken gradient or a wrong scale stays far below."""
    result = fastfnn.train(mnist, TrainingConfig(batch_size=16, learning_rate=0.009, epochs=3))
    assert result.test_accuracy > 0.85
    assert mnist.test is not None
    result.network.save(tmp_path / "model")
    predicted = Network.load(tmp_path / "model").predict(np.asarray(mnist.test.features))
    assert (predicted == mnist.classes[mnist.test.labels]).mean() == result.test_accuracy
