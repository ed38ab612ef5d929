"""When a fit ends, and what it records."""

from __future__ import annotations

import os
import signal
from typing import Any

import numpy as np
import pytest
from estimator_problems import NO_CONVERGENCE, problem
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss

from fastfnn import ConfigError, FNNClassifier

OPTIONS: dict[str, Any] = {"hidden_layer_sizes": (8,), "random_state": 0}


def test_warns_when_the_epochs_do_not_suffice() -> None:
    X, y = problem()
    with pytest.warns(ConvergenceWarning, match="after 3 epochs, training has not converged") as caught:
        FNNClassifier(**OPTIONS, max_iter=3).fit(X, y)
    assert caught[0].filename == __file__


def test_tolerance() -> None:
    classifier = FNNClassifier(tol=0.5, max_iter=3000, solver="sgd").fit([[3.0, 2.0], [1.0, 6.0]], [1, 0])
    assert classifier.n_iter_ < 3000


@pytest.mark.parametrize("patience", [2, 5, 30])
def test_patience(patience: int) -> None:
    """The loss falls slowly: no epoch is better than the first one by the tolerance."""
    X, y = problem(2)
    classifier = FNNClassifier(**OPTIONS, tol=10.0, max_iter=300, n_iter_no_change=patience).fit(X, y)
    assert classifier.n_iter_ == patience + 2


@NO_CONVERGENCE
def test_endless_patience() -> None:
    X, y = problem(2)
    assert FNNClassifier(**OPTIONS, tol=1e9, max_iter=60, n_iter_no_change=np.inf).fit(X, y).n_iter_ == 60


def test_early_stopping() -> None:
    X, y = problem(n_rows=300)
    classifier = FNNClassifier(
        **OPTIONS, early_stopping=True, max_iter=1000, learning_rate_init=0.02, n_iter_no_change=5
    ).fit(X, y)
    scores = classifier.validation_scores_
    assert len(scores) == len(classifier.validation_costs_) == classifier.n_iter_ < 1000
    assert classifier.best_validation_score_ == max(scores)
    assert classifier.best_loss_ is None
    assert all(score < max(scores) + classifier.tol for score in scores[-5:])


def test_early_stopping_keeps_the_best_epoch() -> None:
    """A learning rate so high that the score jumps up and down."""
    X, y = problem(n_rows=100)
    X_validation, y_validation = problem(n_rows=100, seed=1)
    classifier = FNNClassifier(
        **OPTIONS, early_stopping=True, solver="sgd", learning_rate_init=0.5, batch_size=10, max_iter=400
    ).fit(X, y, validation=(X_validation, y_validation))
    assert len(set(classifier.validation_scores_)) > 1
    assert classifier.score(X_validation, y_validation) == classifier.best_validation_score_
    assert classifier.validation_scores_[-1] < classifier.best_validation_score_


def test_early_stopping_is_stratified() -> None:
    with pytest.raises(ValueError, match="least populated class"):
        FNNClassifier(early_stopping=True).fit([[1, 2], [2, 3], [3, 4], [4, 5]], [0, 0, 0, 1])


def test_validation_set_too_small() -> None:
    with pytest.raises(ValueError, match="test_size = 1"):
        FNNClassifier(early_stopping=True).fit([[1.0], [2.0]] * 3, [0, 1] * 3)


def test_early_stopping_with_string_labels() -> None:
    X, y = problem(n_rows=200)
    names = np.array(["class a", "class b", "class c"], dtype=object)[y]
    classifier = FNNClassifier(**OPTIONS, early_stopping=True, learning_rate_init=0.01).fit(X, names)
    assert len(classifier.validation_scores_) == classifier.n_iter_
    assert np.isfinite(classifier.validation_scores_).all()


@NO_CONVERGENCE
def test_own_validation_set_is_recorded_without_early_stopping() -> None:
    X, y = problem()
    names = np.array(["a", "b", "c"])
    classifier = FNNClassifier(**OPTIONS, max_iter=8, alpha=0.01)
    classifier.fit(X[:50], names[y[:50]], validation=(X[50:], names[y[50:]]))
    assert len(classifier.validation_scores_) == len(classifier.validation_costs_) == classifier.n_iter_ == 8
    assert classifier.validation_scores_[-1] == classifier.score(X[50:], names[y[50:]])
    penalty = 0.01 / 2 * sum(float(np.square(w).sum()) for w in classifier.coefs_)
    loss = log_loss(names[y[50:]], classifier.predict_proba(X[50:]))
    assert classifier.validation_costs_[-1] == pytest.approx(loss + penalty)
    assert classifier.best_loss_ == min(classifier.loss_curve_)


@NO_CONVERGENCE
def test_no_validation_records_without_a_set() -> None:
    X, y = problem()
    classifier = FNNClassifier(**OPTIONS, max_iter=3).fit(X, y)
    assert (classifier.validation_scores_, classifier.validation_costs_) == (None, None)
    assert classifier.best_validation_score_ is None


def test_divergence_is_an_error() -> None:
    X, y = problem()
    with pytest.raises(ConfigError, match=r"learning_rate_init: expected a rate .* found a loss of .* with 1e\+100"):
        FNNClassifier(**OPTIONS, solver="sgd", learning_rate_init=1e100, alpha=1.0).fit(X, y)
    with pytest.raises(ValueError, match="scale the features"):
        FNNClassifier(**OPTIONS).fit(np.finfo(float).max / 10 * np.abs(X), y)


def test_divergence_under_early_stopping_keeps_the_best_epoch() -> None:
    X, y = problem(n_rows=200)
    classifier = FNNClassifier(
        **OPTIONS, solver="sgd", learning_rate_init=0.05, alpha=1e3, early_stopping=True, batch_size=10
    )
    with pytest.warns(ConvergenceWarning, match="the weights of the best epoch are kept"):
        classifier.fit(X, y)
    assert np.isfinite(classifier.predict_proba(X)).all()


def test_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = problem()
    FNNClassifier(**OPTIONS, tol=10.0, n_iter_no_change=1, verbose=True).fit(X, y, validation=(X, y))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines if line.startswith("Iteration")] == [
        "Iteration 1",
        "Iteration 2",
        "Iteration 3",
    ]
    assert sum(line.startswith("Validation score") for line in lines) == 3


def test_adaptive_rate_ends_when_it_is_small(capsys: pytest.CaptureFixture[str]) -> None:
    classifier = FNNClassifier(
        solver="sgd", learning_rate="adaptive", tol=0.5, max_iter=3000, verbose=True, random_state=0
    ).fit([[3.0, 2.0], [1.0, 6.0]], [1, 0])
    assert classifier.n_iter_ < 3000
    assert "Learning rate reduced to 0.0002" in capsys.readouterr().out


@NO_CONVERGENCE
@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize(
    "schedule",
    [
        {"learning_rate": "step", "lr_step_epochs": 2, "lr_step_factor": 1e-300},
        {"learning_rate": "cosine", "max_iter": 200},
        {"warmup_epochs": 1e9},
    ],
)
def test_schedules(solver: str, schedule: dict[str, Any]) -> None:
    """Each brings the rate down to almost nothing at one end, where the loss then stays."""
    X, y = problem()
    options = {**OPTIONS, "max_iter": 12, "alpha": 0.0, "shuffle": False, "n_iter_no_change": np.inf, **schedule}
    losses = np.array(FNNClassifier(solver=solver, **options).fit(X, y).loss_curve_)
    changes = np.abs(np.diff(losses))
    still, moving = (changes[:1], None) if "warmup_epochs" in schedule else (changes[-1:], changes[0])
    assert still.max() < 1e-6
    assert moving is None or moving > 1e-6


@pytest.mark.usefixtures("ctrl_c_raises")
def test_keyboard_interrupt_keeps_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastfnn.estimator.epochs import EpochLoop

    def interrupted_validation(self: EpochLoop, penalty: float) -> None:
        if self.epochs == 3:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(EpochLoop, "_validate", interrupted_validation)
    X, y = problem()
    classifier = FNNClassifier(**OPTIONS, max_iter=1000, tol=0.0, n_iter_no_change=np.inf)
    with pytest.warns(UserWarning, match="training was interrupted after 3 epochs"):
        classifier.fit(X, y)
    assert classifier.n_iter_ == 3
    assert classifier.predict(X).shape == y.shape
