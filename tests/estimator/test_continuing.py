"""partial_fit, warm starts and weights of one's own."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from estimator_problems import NO_CONVERGENCE, assert_same_weights, problem
from scipy import sparse

from fastfnn import ConfigError, DataError, FNNClassifier

pytestmark = NO_CONVERGENCE

OPTIONS: dict[str, Any] = {"hidden_layer_sizes": (6,), "random_state": 0, "batch_size": 16, "learning_rate_init": 0.01}


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {"solver": "sgd"},
        {"solver": "sgd", "momentum": 0.0, "shuffle": False},
        {"solver": "adam", "dropout": 0.3},
        {"solver": "adam", "batchnorm": "before"},
        {"solver": "sgd", "learning_rate": "step", "lr_step_epochs": 2},
    ],
)
def test_epochs_of_partial_fit_are_the_epochs_of_fit(n_classes: int, options: dict[str, Any]) -> None:
    X, y = problem(n_classes)
    at_once = FNNClassifier(**OPTIONS, **options, max_iter=6).fit(X, y)
    by_epoch = FNNClassifier(**OPTIONS, **options, max_iter=6)
    for _ in range(6):
        by_epoch.partial_fit(X, y, classes=np.unique(y))
    assert_same_weights(by_epoch, at_once, rtol=1e-12)
    np.testing.assert_allclose(by_epoch.loss_curve_, at_once.loss_curve_, rtol=1e-12)
    np.testing.assert_allclose(by_epoch.predict_proba(X), at_once.predict_proba(X), rtol=1e-12)
    assert (by_epoch.n_iter_, by_epoch.t_) == (1, 6 * len(y))


def test_moments_survive_a_change_of_the_rows_format() -> None:
    X, y = problem()
    X[np.abs(X) < 1] = 0.0
    mixed, dense = FNNClassifier(**OPTIONS), FNNClassifier(**OPTIONS)
    for rows in (X, sparse.csr_array(X), sparse.csc_matrix(X), X):
        mixed.partial_fit(rows, y, classes=[0, 1, 2])
        dense.partial_fit(X, y, classes=[0, 1, 2])
    assert_same_weights(mixed, dense)


def test_a_stored_classifier_goes_on_as_the_original() -> None:
    X, y = problem()
    original = FNNClassifier(**OPTIONS).partial_fit(X, y, classes=[0, 1, 2])
    stored = [pickle.loads(pickle.dumps(original)), copy.deepcopy(original)]
    original.partial_fit(X, y)
    for classifier in stored:
        assert_same_weights(classifier.partial_fit(X, y), original, rtol=0)


def test_classes_that_a_first_call_does_not_bring() -> None:
    classifier = FNNClassifier(random_state=0, learning_rate_init=0.05)
    classifier.partial_fit([[1.0], [2.0], [3.0]], ["a", "b", "c"], classes=["d", "c", "b", "a"])
    assert classifier.classes_.tolist() == ["a", "b", "c", "d"]
    for _ in range(100):
        classifier.partial_fit([[9.0]], ["d"])
    assert classifier.predict([[9.0]]).tolist() == ["d"]


def test_classes_must_be_given_and_stay() -> None:
    with pytest.raises(DataError, match="classes: expected all labels at the first call"):
        FNNClassifier().partial_fit([[3.0, 2.0]], [0])
    with pytest.raises(DataError, match=r"y: expected labels among the classes \[2\], found \[0, 1\]"):
        FNNClassifier().partial_fit([[3.0, 2.0], [1.0, 6.0]], [1, 0], classes=[2])
    classifier = FNNClassifier().partial_fit([[3.0, 2.0]], [0], classes=[0, 1])
    with pytest.raises(DataError, match=r"classes: expected those of the earlier calls, \[0 1\]"):
        classifier.partial_fit([[3.0, 2.0]], [1], classes=[1, 2])
    with pytest.raises(DataError, match=r"found \['b'\]"):
        classifier.partial_fit([[3.0, 2.0]], ["b"])


def test_partial_fit_refuses_what_needs_all_rows() -> None:
    X, y = problem()
    classifier = FNNClassifier(early_stopping=True, random_state=0).fit(X, y)
    with pytest.raises(ConfigError, match="partial_fit does not support early_stopping=True"):
        classifier.partial_fit(X, y)
    with pytest.raises(ConfigError, match="class_weight: partial_fit"):
        FNNClassifier(class_weight="balanced").partial_fit(X, y, classes=[0, 1, 2])


def test_warm_start_goes_on() -> None:
    X, y = problem()
    options = {**OPTIONS, "solver": "sgd", "momentum": 0.0}
    warm = FNNClassifier(**options, max_iter=4, warm_start=True).fit(X, y).fit(X, y)
    assert_same_weights(warm, FNNClassifier(**options, max_iter=8).fit(X, y), rtol=1e-12)
    assert (warm.n_iter_, len(warm.loss_curve_), warm.t_) == (4, 8, 8 * len(y))


def test_without_warm_start_a_fit_begins_anew() -> None:
    X, y = problem()
    twice = FNNClassifier(**OPTIONS, max_iter=4).fit(X[:40, :3], y[:40]).fit(X, y)
    assert_same_weights(twice, FNNClassifier(**OPTIONS, max_iter=4).fit(X, y), rtol=0)
    assert len(twice.loss_curve_) == 4


def test_warm_start_does_all_its_epochs() -> None:
    X, y = problem()
    classifier = FNNClassifier(**OPTIONS, warm_start=True, max_iter=10, n_iter_no_change=np.inf).fit(X, y)
    assert classifier.n_iter_ == 10
    assert classifier.set_params(max_iter=20).fit(X, y).n_iter_ == 20


def test_warm_start_needs_the_same_classes() -> None:
    X, y = problem()
    classifier = FNNClassifier(**OPTIONS, warm_start=True, max_iter=2).fit(X, y)
    classifier.fit(X, (y + 1) % 3)
    for others in (np.minimum(y, 1), np.where(y == 2, 3, y)):
        with pytest.raises(DataError, match=r"warm_start expects the same classes .* \[0 1 2\]"):
            classifier.fit(X, others)


def test_warm_start_with_early_stopping_and_without() -> None:
    X, y = problem()
    classifier = FNNClassifier(**OPTIONS, max_iter=5, warm_start=True, early_stopping=True).fit(X, y)
    assert len(classifier.fit(X, y).validation_scores_) > 5
    classifier.set_params(early_stopping=False, max_iter=20).fit(X, y)
    assert classifier.n_iter_ == 20


def test_own_weights_in_fit() -> None:
    X, y = problem()
    other = FNNClassifier(**OPTIONS, max_iter=3).fit(X, y)
    classifier = FNNClassifier(**{**OPTIONS, "learning_rate_init": 1e-300}, max_iter=1, warm_start=True)
    classifier.coefs_, classifier.intercepts_ = other.coefs_, other.intercepts_
    assert_same_weights(classifier.fit(X, y), other, rtol=0)


def test_own_weights_must_fit() -> None:
    X, y = problem()
    classifier = FNNClassifier(**OPTIONS, warm_start=True, max_iter=1).fit(X, y)
    with pytest.raises(DataError, match=r"coefs_: expected arrays of shapes \[\(6, 7\), \(7, 3\)\], found"):
        classifier.set_params(hidden_layer_sizes=(7,)).fit(X, y)
    classifier.set_params(hidden_layer_sizes=(6,))
    classifier.coefs_[0][0, 0] = np.nan
    with pytest.raises(DataError, match="coefs_: expected finite numbers"):
        classifier.fit(X, y)
    classifier.coefs_[0][0, 0] = 0.0
    del classifier.intercepts_
    with pytest.raises(DataError, match=r"intercepts_: expected arrays of shapes \[\(6,\), \(3,\)\], found \[\]"):
        classifier.fit(X, y)


def test_changed_weights_predict() -> None:
    X, y = problem()
    classifier = FNNClassifier(**OPTIONS, max_iter=1).fit(X, y)
    classifier.coefs_[-1][...] = 0.0
    classifier.intercepts_[-1][...] = np.log([1.0, 2.0, 5.0])
    np.testing.assert_allclose(classifier.predict_proba(X[:2]), [[0.125, 0.25, 0.625]] * 2)


def test_another_solver_goes_on_with_moments_of_its_own() -> None:
    X, y = problem()
    classifier = FNNClassifier(**OPTIONS, solver="adam").partial_fit(X, y, classes=[0, 1, 2])
    classifier.set_params(solver="sgd", momentum=0.0, batchnorm="after").partial_fit(X, y)
    assert np.isfinite(classifier.predict_proba(X)).all()


def test_parameters_of_a_fitted_classifier_do_not_change_its_predictions() -> None:
    X, y = problem()
    classifier = FNNClassifier(**OPTIONS, max_iter=3).fit(X, y)
    before = classifier.predict_proba(X)
    classifier.set_params(activation="tanh", batchnorm="after", hidden_layer_sizes=(3, 3))
    np.testing.assert_array_equal(classifier.predict_proba(X), before)


def test_a_fit_that_fails_leaves_the_classifier_as_it_was() -> None:
    X, y = problem()
    classifier = FNNClassifier(**OPTIONS, max_iter=3, warm_start=True).fit(X, y)
    before, losses = classifier.predict_proba(X), list(classifier.loss_curve_)
    classifier.set_params(learning_rate_init=1e200, solver="sgd")
    with pytest.raises(ConfigError, match="learning_rate_init"):
        classifier.fit(X, y)
    np.testing.assert_array_equal(classifier.predict_proba(X), before)
    assert classifier.loss_curve_ == losses
