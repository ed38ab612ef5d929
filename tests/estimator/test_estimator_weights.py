"""Weights of rows and of classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from estimator_problems import ACTIVATIONS, NO_CONVERGENCE, assert_same_weights, problem
from sklearn.utils.class_weight import compute_sample_weight

from fastfnn import FNNClassifier

pytestmark = NO_CONVERGENCE

FULL_BATCH: dict[str, Any] = {"hidden_layer_sizes": (8,), "batch_size": 10**6, "max_iter": 20, "random_state": 0}


def counted(n_classes: int = 3) -> tuple[Any, Any, Any]:
    """Rows, labels, and how often each row counts, some of them not at all."""
    X, y = problem(n_classes, n_rows=40)
    return X, y, np.random.default_rng(5).integers(0, 4, len(y))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_weight_two_is_the_row_twice(activation: str, solver: str, n_classes: int) -> None:
    X, y, counts = counted(n_classes)
    options = {**FULL_BATCH, "activation": activation, "solver": solver, "learning_rate_init": 0.01}
    weighted = FNNClassifier(**options).fit(X, y, sample_weight=counts)
    repeated = FNNClassifier(**options).fit(X.repeat(counts, axis=0), y.repeat(counts))
    assert_same_weights(weighted, repeated, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-6)


def test_weight_two_in_float32() -> None:
    X, y, counts = counted()
    X = X.astype(np.float32)
    options = {**FULL_BATCH, "solver": "sgd", "learning_rate_init": 0.01}
    weighted = FNNClassifier(**options).fit(X, y, sample_weight=counts)
    repeated = FNNClassifier(**options).fit(X.repeat(counts, axis=0), y.repeat(counts))
    assert_same_weights(weighted, repeated, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("l2_convention", ["fixed", "per_batch"])
def test_penalty_with_weights(l2_convention: str) -> None:
    X, y, counts = counted()
    options = {**FULL_BATCH, "alpha": 0.5, "l2_convention": l2_convention, "solver": "sgd", "learning_rate_init": 0.01}
    weighted = FNNClassifier(**options).fit(X, y, sample_weight=counts)
    repeated = FNNClassifier(**options).fit(X.repeat(counts, axis=0), y.repeat(counts))
    assert_same_weights(weighted, repeated, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-6)


def test_partial_fit_takes_weights() -> None:
    X, y, counts = counted()
    weighted, repeated = FNNClassifier(**FULL_BATCH), FNNClassifier(**FULL_BATCH)
    for _ in range(5):
        weighted.partial_fit(X, y, classes=[0, 1, 2], sample_weight=counts)
        repeated.partial_fit(X.repeat(counts, axis=0), y.repeat(counts), classes=[0, 1, 2])
    assert_same_weights(weighted, repeated, rtol=1e-6, atol=1e-9)


def test_equal_weights_change_nothing() -> None:
    X, y, _ = counted()
    options = {**FULL_BATCH, "batch_size": 7}
    plain = FNNClassifier(**options).fit(X, y)
    assert_same_weights(FNNClassifier(**options).fit(X, y, sample_weight=np.full(len(y), 3.0)), plain, rtol=1e-9)


def test_class_weights_are_sample_weights() -> None:
    X, y, _ = counted()
    of_classes = {0: 5.0, 2: 0.25}
    options = {**FULL_BATCH, "batch_size": 7}
    by_class = FNNClassifier(**options, class_weight=of_classes).fit(X, y)
    by_row = FNNClassifier(**options).fit(X, y, sample_weight=[of_classes.get(label, 1.0) for label in y])
    assert_same_weights(by_class, by_row)


def test_balanced_classes_are_the_matching_sample_weights() -> None:
    X, y, _ = counted()
    X, y = X[y != 1], y[y != 1]
    X, y = np.concatenate((X, X[y == 0])), np.concatenate((y, y[y == 0]))
    balanced = FNNClassifier(**FULL_BATCH, class_weight="balanced").fit(X, y)
    by_row = FNNClassifier(**FULL_BATCH).fit(X, y, sample_weight=compute_sample_weight("balanced", y))
    assert_same_weights(balanced, by_row)


def test_balance_counts_weights_of_rows() -> None:
    X, y, counts = counted()
    options = {**FULL_BATCH, "class_weight": "balanced"}
    weighted = FNNClassifier(**options).fit(X, y, sample_weight=counts)
    repeated = FNNClassifier(**options).fit(X.repeat(counts, axis=0), y.repeat(counts))
    assert_same_weights(weighted, repeated, rtol=1e-6, atol=1e-9)


def test_class_weights_with_string_labels_in_partial_fit() -> None:
    X, y, _ = counted(2)
    names = np.array(["no", "yes"])[y]
    by_class = FNNClassifier(**FULL_BATCH, class_weight={"yes": 3.0})
    by_row = FNNClassifier(**FULL_BATCH)
    by_class.partial_fit(X, names, classes=["yes", "no"])
    by_row.partial_fit(X, y, classes=[0, 1], sample_weight=1.0 + 2.0 * y)
    assert_same_weights(by_class, by_row)


def test_rare_class_is_found_when_balanced() -> None:
    rng = np.random.default_rng(0)
    y = (np.arange(400) % 20 == 0).astype(int)
    X = rng.normal(size=(400, 2)) + y[:, None]
    recalls = []
    for class_weight in (None, "balanced"):
        classifier = FNNClassifier((8,), class_weight=class_weight, learning_rate_init=0.01, random_state=0).fit(X, y)
        recalls.append((classifier.predict(X[y == 1]) == 1).mean())
    assert recalls[0] < 0.5 < recalls[1]
