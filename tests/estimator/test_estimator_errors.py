"""What is refused, and what the messages say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from estimator_problems import NO_CONVERGENCE, problem
from scipy import sparse
from sklearn.exceptions import NotFittedError
from sklearn.utils import get_tags

from fastfnn import ConfigError, DataError, FNNClassifier

X, Y = problem()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_layer_sizes", 0),
        ("activation", "gelu"),
        ("solver", "lbfgs"),
        ("alpha", -1.0),
        ("batch_size", 0),
        ("learning_rate", "linear"),
        ("learning_rate_init", 0.0),
        ("power_t", -1.0),
        ("max_iter", 0),
        ("shuffle", "yes"),
        ("random_state", "seed"),
        ("tol", -1.0),
        ("warm_start", "yes"),
        ("momentum", 1.0),
        ("nesterovs_momentum", "yes"),
        ("early_stopping", "yes"),
        ("validation_fraction", 1.0),
        ("beta_1", 1.0),
        ("beta_2", -0.1),
        ("epsilon", 0.0),
        ("n_iter_no_change", 0),
        ("l2_convention", "theirs"),
        ("batchnorm", True),
        ("dropout", 1.0),
        ("class_weight", "equal"),
        ("lr_step_epochs", 0),
        ("lr_step_factor", 0.0),
        ("warmup_epochs", -1.0),
        ("dtype", "float16"),
        ("threads", 0),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_parameters(name: str, value: Any, method: str) -> None:
    with pytest.raises(ValueError, match=f"The '{name}' parameter of FNNClassifier must be"):
        getattr(FNNClassifier(**{name: value}), method)(X, Y)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_layer_sizes": (3, 0)}, "at least 1 unit"),
        ({"dropout": (0.1, 0.2)}, "dropout: expected 1 probabilities"),
        ({"dropout": (1.5,)}, "dropout: expected probabilities"),
        ({"batchnorm": "before", "batch_size": 1}, "batchnorm: a group of one example"),
    ],
)
def test_parameters_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FNNClassifier(**options).fit(X, Y)


@pytest.mark.parametrize("columns", [2, 5])
def test_multilabel_targets(columns: int) -> None:
    with pytest.raises(DataError, match=f"y: expected one label for each row, found {columns} columns"):
        FNNClassifier().fit(X, np.ones((len(X), columns), int))
    with pytest.raises(DataError, match="multi-label targets are not supported"):
        FNNClassifier().partial_fit(X, np.ones((len(X), columns), int).tolist(), classes=[0, 1])


def test_tags_say_so() -> None:
    tags = get_tags(FNNClassifier())
    assert not tags.classifier_tags.multi_label
    assert not tags.target_tags.multi_output
    assert tags.classifier_tags.multi_class
    assert tags.input_tags.sparse


@pytest.mark.parametrize(
    ("sample_weight", "message"),
    [
        (np.ones(3), r"sample_weight: expected shape \(70,\), found \(3,\)"),
        (np.ones((70, 2)), "sample_weight: expected shape"),
        (-np.ones(70), "sample_weight: expected no negative weights, found -1.0"),
        (np.zeros(70), "sample_weight: .* zero"),
        (np.full(70, np.nan), "sample_weight contains NaN"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_weights_of_rows(sample_weight: Any, message: str, method: str) -> None:
    options = {"classes": [0, 1, 2]} if method == "partial_fit" else {}
    with pytest.raises(ValueError, match=message):
        getattr(FNNClassifier(), method)(X, Y, sample_weight=sample_weight, **options)


def test_weights_that_leave_nothing_to_train_on() -> None:
    weights = np.zeros(len(Y))
    weights[Y == 1] = 1.0
    with pytest.raises(DataError, match=r"sample_weight: .* found zeros only"):
        FNNClassifier(class_weight={1: 0.0}).fit(X, Y, sample_weight=weights)
    weights[:] = 0.0
    weights[0] = 1.0
    with pytest.raises(DataError, match=r"sample_weight: .* found zeros only"):
        FNNClassifier(early_stopping=True, random_state=0).fit(X, Y, sample_weight=weights)


def test_class_weight_of_an_unknown_class() -> None:
    with pytest.raises(ValueError, match="class"):
        FNNClassifier(class_weight={0: 1.0, 7: 2.0}).fit(X, Y)


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        (X, r"validation: expected a pair \(X, y\), found ndarray"),
        ((X, Y, Y), "validation: expected a pair"),
        ((X[:, :3], Y), "features"),
        ((X, Y[:5]), "inconsistent numbers of samples"),
        ((X, Y + 1), r"validation: expected labels among the classes \[0 1 2\], found \[3\]"),
        ((np.full_like(X, np.nan), Y), "NaN"),
    ],
)
def test_validation_sets(validation: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FNNClassifier().fit(X, Y, validation=validation)


def test_labels_that_are_numbers_of_a_regression() -> None:
    with pytest.raises(ValueError, match="continuous"):
        FNNClassifier().fit(X, X[:, 0])


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba"])
def test_not_fitted(method: str) -> None:
    with pytest.raises(NotFittedError):
        getattr(FNNClassifier(), method)(X)


@NO_CONVERGENCE
def test_rows_that_do_not_fit() -> None:
    classifier = FNNClassifier(max_iter=2).fit(X, Y)
    with pytest.raises(ValueError, match="expecting 6 features"):
        classifier.predict(X[:, :5])
    with pytest.raises(ValueError, match="NaN"):
        classifier.predict(np.where(X > 0, X, np.nan))
    with pytest.raises(ValueError, match="expecting 6 features"):
        classifier.partial_fit(X[:, :5], Y)


def test_damaged_sparse_matrix() -> None:
    matrix = sparse.csr_array(X)
    matrix.indices = matrix.indices + 7
    with pytest.raises(ValueError, match="X: expected valid CSR arrays"):
        FNNClassifier().fit(matrix, Y)


def test_too_large_for_float32() -> None:
    with pytest.raises(DataError, match="fit float32"):
        FNNClassifier(dtype="float32").fit(1e300 * X, Y)
