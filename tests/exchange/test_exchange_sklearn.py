"""Networks with the weights of scikit-learn's MLPClassifier."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import X, Y, largest_difference
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor

from fastfnn.config import NetworkConfig
from fastfnn.errors import DataError
from fastfnn.network import Network

FEATURES = X / 255


def fitted(labels: Any, dtype: str = "float64", **options: Any) -> MLPClassifier:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mlp = MLPClassifier(**{"hidden_layer_sizes": (8, 6), "max_iter": 20, "random_state": 0, **options})
        return mlp.fit(FEATURES.astype(dtype), labels)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-12)])
@pytest.mark.parametrize("activation", ["relu", "identity", "logistic", "tanh"])
@pytest.mark.parametrize("classes", [2, 3])
def test_same_probabilities(activation: Any, dtype: Any, tolerance: float, classes: int) -> None:
    mlp = fitted(Y % classes, dtype, activation=activation)
    network = Network.from_sklearn(mlp)
    assert network.config == NetworkConfig(hidden=(8, 6), activation=activation, dtype=dtype)
    features = FEATURES.astype(dtype)
    assert largest_difference(network.predict_proba(features), mlp.predict_proba(features)) < tolerance
    np.testing.assert_array_equal(network.predict(features), mlp.predict(features), strict=True)


@pytest.mark.parametrize("hidden", [(), (5,), (4, 4, 4, 4)], ids=len)
def test_depths(hidden: tuple[int, ...]) -> None:
    mlp = fitted(Y, hidden_layer_sizes=hidden)
    network = Network.from_sklearn(mlp)
    assert network.config.hidden == hidden
    assert largest_difference(network.predict_proba(FEATURES), mlp.predict_proba(FEATURES)) < 1e-12


CLASSES = [["no", "yes"], np.array(["b", "c", "ä"], object), [False, True], [7, 8, 9], [-1.0, 3.0]]


@pytest.mark.parametrize("names", CLASSES, ids=str)
def test_classes_are_kept(names: Any) -> None:
    mlp = fitted(np.array(names)[Y % len(names)])
    network = Network.from_sklearn(mlp)
    assert network.classes.tolist() == list(names)
    assert network.predict(FEATURES).tolist() == mlp.predict(FEATURES).tolist()


def test_an_imported_network_is_saved_like_any_other(tmp_path: Path) -> None:
    network = Network.from_sklearn(fitted(Y))
    network.save(tmp_path / "model")
    assert Network.load(tmp_path / "model").predict_proba(X).tobytes() == network.predict_proba(X).tobytes()


def test_scale_stands_for_what_came_before_the_classifier() -> None:
    mlp = fitted(Y)
    network = Network.from_sklearn(mlp, scale=1 / 255)
    assert largest_difference(network.predict_proba(X), mlp.predict_proba(FEATURES)) < 1e-12
    with pytest.raises(DataError, match="scale: expected a positive number, found -1"):
        Network.from_sklearn(mlp, scale=-1)


def test_the_classifier_is_left_alone() -> None:
    mlp = fitted(Y)
    network = Network.from_sklearn(mlp)
    network.parameters.weights[0][...] = 0
    assert mlp.coefs_[0].any()


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (MLPClassifier(), "mlp: expected a fitted MLPClassifier, found one before fit"),
        (MLPRegressor(), "mlp: expected a fitted MLPClassifier, found MLPRegressor"),
        (LogisticRegression(), "mlp: expected a fitted MLPClassifier, found LogisticRegression"),
        (None, "mlp: expected a fitted MLPClassifier, found NoneType"),
    ],
    ids=str,
)
def test_other_estimators_are_refused(estimator: Any, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        Network.from_sklearn(estimator)


def test_several_labels_for_an_example_are_refused() -> None:
    labels = np.column_stack((Y % 2, Y > 0)).astype(int)
    with pytest.raises(DataError, match=r"mlp: expected one label for each example, found 2 \(multilabel\)"):
        Network.from_sklearn(fitted(labels))


def test_a_single_class_is_refused() -> None:
    with pytest.raises(DataError, match="classes: expected 2 different labels"):
        Network.from_sklearn(fitted(np.zeros(len(Y))))


def test_weights_that_are_not_finite_are_refused() -> None:
    mlp = fitted(Y)
    mlp.coefs_[1][0, 0] = np.nan
    with pytest.raises(DataError, match="layer 2: weights hold values that are not finite"):
        Network.from_sklearn(mlp)
