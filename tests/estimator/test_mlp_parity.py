"""The same numbers as scikit-learn's MLPClassifier, from the same weights and in the same order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from estimator_problems import ACTIVATIONS, NO_CONVERGENCE, alike, assert_same_weights, problem
from scipy import sparse

from fastfnn import FNNClassifier

pytestmark = NO_CONVERGENCE

SGD = {"solver": "sgd", "momentum": 0.0, "nesterovs_momentum": False, "learning_rate_init": 0.1, "alpha": 0.05}
SOLVERS = {
    "sgd": SGD,
    "momentum": {**SGD, "momentum": 0.9},
    "nesterov": {**SGD, "momentum": 0.9, "nesterovs_momentum": True},
    "adam": {"solver": "adam", "learning_rate_init": 0.01, "alpha": 0.05, "epsilon": 1e-300},
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("batch_size", [16, 70])  # the first leaves a last batch of 6
def test_sgd_step_for_step(activation: str, n_classes: int, batch_size: int) -> None:
    X, y = problem(n_classes)
    theirs, ours = alike(X, y, activation=activation, batch_size=batch_size, **SGD)
    assert_same_weights(ours, theirs)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-9)
    assert (ours.out_activation_, ours.n_layers_, ours.n_outputs_) == (
        theirs.out_activation_,
        theirs.n_layers_,
        theirs.n_outputs_,
    )
    assert (ours.n_iter_, ours.t_) == (theirs.n_iter_, theirs.t_)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("n_classes", [2, 4])
def test_every_solver(solver: str, n_classes: int) -> None:
    """Adam adds epsilon to the corrected deviation here (Kingma and Ba, algorithm 1), there to the uncorrected one."""
    X, y = problem(n_classes)
    theirs, ours = alike(X, y, batch_size=16, **SOLVERS[solver])
    assert_same_weights(ours, theirs)


def test_adam_with_the_usual_epsilon_is_close() -> None:
    X, y = problem()
    theirs, ours = alike(X, y, batch_size=16, **{**SOLVERS["adam"], "epsilon": 1e-8})
    assert_same_weights(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("learning_rate", ["invscaling", "adaptive"])
def test_learning_rates_between_epochs(learning_rate: str) -> None:
    X, y = problem()
    options = {**SGD, "learning_rate": learning_rate, "tol": 1e-2, "n_iter_no_change": 2, "max_iter": 40}
    theirs, ours = alike(X, y, batch_size=16, **options)
    assert ours.n_iter_ == theirs.n_iter_
    assert_same_weights(ours, theirs)


def test_loss_curve() -> None:
    X, y = problem()
    theirs, ours = alike(X, y, batch_size=16, **{**SGD, "alpha": 0.0})
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose([ours.loss_, ours.best_loss_], [theirs.loss_, theirs.best_loss_], rtol=1e-9)


def test_stops_at_the_same_epoch() -> None:
    X, y = problem(2)
    options = {**SGD, "alpha": 0.0, "tol": 1e-3, "max_iter": 500, "n_iter_no_change": 3}
    theirs, ours = alike(X, y, batch_size=70, **options)
    assert ours.n_iter_ == theirs.n_iter_ < 500
    assert_same_weights(ours, theirs)


@pytest.mark.parametrize("hidden", [(), (1,), (40,), (3, 4, 5, 6)])
def test_other_shapes(hidden: tuple[int, ...]) -> None:
    X, y = problem(5, n_features=11)
    theirs, ours = alike(X, y, hidden_layer_sizes=hidden, batch_size=9, **SGD)
    assert_same_weights(ours, theirs)


def test_sparse_input() -> None:
    X, y = problem()
    X[np.abs(X) < 0.7] = 0.0
    theirs, ours = alike(sparse.csr_array(X), y, batch_size=16, **SGD)
    assert_same_weights(ours, theirs)
    _, dense = alike(X, y, batch_size=16, **SGD)
    assert_same_weights(ours, dense)


def test_float32() -> None:
    X, y = problem()
    theirs, ours = alike(X.astype(np.float32), y, batch_size=16, **SGD)
    assert {w.dtype for w in [*ours.coefs_, *ours.intercepts_]} == {np.dtype(np.float32)}
    assert_same_weights(ours, theirs, rtol=1e-3, atol=1e-5)


def test_weights_of_rows() -> None:
    X, y = problem()
    weights = np.random.default_rng(1).integers(0, 4, len(y)).astype(float)
    from sklearn.neural_network import MLPClassifier

    options: dict[str, Any] = {**SGD, "hidden_layer_sizes": (7, 5), "batch_size": 16, "max_iter": 5, "shuffle": False}
    theirs = MLPClassifier(**options, random_state=0).fit(X, y, sample_weight=weights)
    start = MLPClassifier(**{**options, "learning_rate_init": 1e-300, "max_iter": 1}, random_state=0).fit(X, y)
    ours = FNNClassifier(**options, l2_convention="per_batch", warm_start=True)
    ours.coefs_, ours.intercepts_ = start.coefs_, start.intercepts_
    assert_same_weights(ours.fit(X, y, sample_weight=weights), theirs)


def test_worked_by_hand() -> None:
    """One example through a network of two logistic units and one output, one step of gradient descent."""
    X, rate, alpha = np.array([[0.5, -1.0]]), 0.2, 0.1
    w1, b1, w2, b2 = np.array([[0.4, -0.3], [0.1, 0.6]]), np.array([0.2, 0.0]), np.array([[0.7], [-0.5]]), 0.3
    # Hidden: z = (0.5*0.4 - 0.1 + 0.2, -0.5*0.3 - 0.6) = (0.3, -0.75), h = sigmoid(z) = (0.574443, 0.320821).
    # Output: 0.7*0.574443 - 0.5*0.320821 + 0.3 = 0.541699, p = 0.632208; the label is 1, so dz = p - 1 = -0.367792.
    # dw2 = h dz + alpha w2 = (-0.141275, -0.167996), db2 = -0.367792.
    # dz1 = dz w2 h (1 - h) = (-0.062937, 0.040070); dw1 = x dz1 + alpha w1, db1 = dz1.
    classifier = FNNClassifier(
        (2,), "logistic", solver="sgd", momentum=0.0, learning_rate_init=rate, alpha=alpha, random_state=0
    )
    classifier.coefs_, classifier.intercepts_ = [w1, w2], [b1, np.array([b2])]
    classifier.partial_fit(X, [1], classes=[0, 1])
    dw1 = np.array([[0.008532, -0.009965], [0.072937, 0.019930]])
    np.testing.assert_allclose(classifier.coefs_[0], w1 - rate * dw1, atol=2e-6)
    np.testing.assert_allclose(classifier.coefs_[1], w2 - rate * np.array([[-0.141275], [-0.167996]]), atol=2e-6)
    np.testing.assert_allclose(classifier.intercepts_[0], b1 - rate * np.array([-0.062937, 0.040070]), atol=2e-6)
    np.testing.assert_allclose(classifier.intercepts_[1], b2 - rate * -0.367792, atol=2e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("l2_convention", ["fixed", "per_batch"])
def test_gradient_against_differences_of_the_loss(activation: str, n_classes: int, l2_convention: str) -> None:
    X, y = problem(n_classes, n_rows=7, n_features=3)
    options: dict[str, Any] = {"activation": activation, "alpha": 0.3, "l2_convention": l2_convention}

    def step(coefs: list[Any], intercepts: list[Any], rate: float) -> FNNClassifier:
        classifier = FNNClassifier(
            (4,), solver="sgd", momentum=0.0, learning_rate_init=rate, shuffle=False, random_state=0, **options
        )
        classifier.coefs_, classifier.intercepts_ = coefs, intercepts
        return classifier.partial_fit(X, y, classes=np.unique(y))

    rng = np.random.default_rng(3)
    outputs = 1 if n_classes == 2 else n_classes
    coefs = [rng.normal(size=(3, 4)), rng.normal(size=(4, outputs))]
    intercepts = [rng.normal(size=4), rng.normal(size=outputs)]
    gradient = coefs[0] - step(coefs, intercepts, rate=1.0).coefs_[0]
    numeric = np.empty_like(gradient)
    for place in np.ndindex(gradient.shape):
        losses = []
        for change in (1e-5, -1e-5):
            moved = coefs[0].copy()
            moved[place] += change
            losses.append(step([moved, coefs[1]], intercepts, rate=1e-300).loss_)
        numeric[place] = (losses[0] - losses[1]) / 2e-5
    np.testing.assert_allclose(gradient, numeric, rtol=1e-5, atol=1e-8)
