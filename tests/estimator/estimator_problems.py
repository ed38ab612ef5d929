"""Small classification problems, and networks that start alike in scikit-learn and here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.neural_network import MLPClassifier

from fastfnn import FNNClassifier

Array = NDArray[Any]
ACTIVATIONS = ["relu", "logistic", "tanh", "identity"]
NO_CONVERGENCE = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def problem(n_classes: int = 3, n_rows: int = 70, n_features: int = 6, seed: int = 0) -> tuple[Array, Array]:
    """Rows and labels 0, 1, ... that a network learns well, but not at once."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, n_features))
    directions = rng.normal(size=(n_features, n_classes))
    return X, (X @ directions + rng.gumbel(size=(n_rows, n_classes)) / 4).argmax(axis=1)


def alike(X: Array, y: Array, **options: Any) -> tuple[MLPClassifier, FNNClassifier]:
    """Both, trained for the same epochs from the weights that scikit-learn draws, under its penalty."""
    options = {"hidden_layer_sizes": (7, 5), "max_iter": 5, "tol": 0.0, "random_state": 0, "shuffle": False, **options}
    theirs = MLPClassifier(**options).fit(X, y)
    ours = FNNClassifier(**options, l2_convention="per_batch", warm_start=True)
    untrained = MLPClassifier(**{**options, "learning_rate_init": 1e-300, "max_iter": 1}).fit(X, y)
    ours.coefs_, ours.intercepts_ = untrained.coefs_, untrained.intercepts_
    return theirs, ours.fit(X, y)


def assert_same_weights(a: Any, b: Any, rtol: float = 1e-9, atol: float = 1e-12) -> None:
    """Of two fitted classifiers, of whichever library."""
    for name in ("coefs_", "intercepts_"):
        for layer, (mine, other) in enumerate(zip(getattr(a, name), getattr(b, name), strict=True)):
            np.testing.assert_allclose(mine, other, rtol=rtol, atol=atol, err_msg=f"{name}[{layer}]")
