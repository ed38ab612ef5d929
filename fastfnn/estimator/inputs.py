"""What scikit-learn's users pass -> the data set that is trained on.

Shapes: N examples, K features, C classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from fastfnn.data import Dataset, Features, Split, as_features
from fastfnn.errors import DataError

Array = NDArray[Any]
Rows = NDArray[np.int64]
Weights = NDArray[np.float64]

KEPT = [np.float64, np.float32, np.uint8]  # other numbers become the first one


def check_features(estimator: Any, X: Any) -> Any:
    """X to predict for, checked against what `estimator` was fitted on."""
    return validate_data(estimator, X, reset=False, accept_sparse="csr", dtype=KEPT)


def check_examples(estimator: Any, X: Any, y: Any, *, reset: bool) -> tuple[Features, Array]:
    """X and y to train on, as the kernels read X; `reset` forgets number and names of the features of earlier calls.

    Raises:
        ValueError: as scikit-learn's `validate_data`, and for labels that are not classes.
    """
    _refuse_multilabel(y)
    X, y = validate_data(estimator, X, y, reset=reset, accept_sparse="csr", dtype=KEPT, order="C")
    check_classification_targets(y)
    return _readable(X), y


def make_dataset(
    estimator: Any,
    features: Features,
    numbers: Rows,
    sample_weight: Any,
    validation: Any,
    random_state: np.random.RandomState,
) -> Dataset:
    """The rows and their weights, with a validation set or, for early stopping, some rows set apart as one."""
    weights = check_weights(sample_weight, len(numbers))
    weights = with_class_weights(weights, estimator.class_weight, estimator.classes_, numbers)
    train, held_out = Split(features, numbers, np.arange(len(numbers), dtype=np.int64), weights), None
    if validation is not None:
        held_out = _validation_split(estimator, validation)
    elif estimator.early_stopping:
        parts = split_rows(numbers, estimator.validation_fraction, random_state)
        train, held_out = (Split(features, numbers, rows, weights) for rows in parts)
    if train.total_weight == 0 or (held_out and held_out.total_weight == 0):
        raise DataError(
            "sample_weight: expected some weights, times those of the classes, that are not zero, found zeros only "
            "among the rows for training or for validation"
        )
    return Dataset("arrays", estimator.classes_, scale=1.0, train=train, validation=held_out)


def _validation_split(estimator: Any, validation: Any) -> Split:
    """The pair of a validation set, checked like the rows to train on."""
    if not isinstance(validation, tuple | list) or len(validation) != 2:
        raise DataError(f"validation: expected a pair (X, y), found {type(validation).__name__}")
    X = validate_data(estimator, validation[0], reset=False, accept_sparse="csr", dtype=KEPT, order="C")
    y = column_or_1d(validation[1], warn=True)
    check_consistent_length(X, y)
    return Split(_readable(X), class_numbers(y, estimator.classes_, "validation"), np.arange(len(y), dtype=np.int64))


def _readable(X: Any) -> Features:
    """Compiled code trusts the indices of a sparse matrix, so these are checked; dense ones have been."""
    return as_features(X) if hasattr(X, "indptr") else X


def _refuse_multilabel(y: Any) -> None:
    shape = y.shape if hasattr(y, "shape") else np.asarray(y).shape
    if len(shape) == 2 and shape[1] > 1:
        raise DataError(
            f"y: expected one label for each row, found {shape[1]} columns; multi-label targets are not supported, "
            "sklearn.multioutput.MultiOutputClassifier fits one classifier for each column"
        )


def class_numbers(y: Array, classes: Array, name: str = "y") -> Rows:
    """(N,) the numbers of labels among the sorted classes.

    Raises:
        DataError: naming the labels that are not among them.
    """
    unknown = sorted(set(np.unique(y).tolist()) - set(classes.tolist()), key=str)
    if unknown:
        raise DataError(f"{name}: expected labels among the classes {classes}, found {unknown}")
    return np.asarray(np.searchsorted(classes, y), np.int64)


def check_weights(sample_weight: Any, n_rows: int) -> Weights | None:
    """(N,) weights of the rows, or None where they are all 1.

    Raises:
        ValueError: when they are not one number for each row, not finite, negative or all zero.
    """
    if sample_weight is None:
        return None
    weights = check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    if weights.shape != (n_rows,):
        raise DataError(f"sample_weight: expected shape ({n_rows},), found {weights.shape}")
    if (weights < 0).any():
        raise DataError(f"sample_weight: expected no negative weights, found {weights.min()}")
    if not weights.any():
        raise DataError("sample_weight: expected weights of which some are not zero, found zeros only")
    return np.asarray(weights)


def with_class_weights(weights: Weights | None, class_weight: Any, classes: Array, numbers: Rows) -> Weights | None:
    """(N,) the rows' weights times those of their classes."""
    if class_weight is None:
        return weights
    if class_weight == "balanced":
        by_class = _balanced(numbers, weights, len(classes))
    else:
        by_class = compute_class_weight(class_weight, classes=classes, y=classes[numbers])
    return np.asarray(by_class[numbers] * (1.0 if weights is None else weights))


def _balanced(numbers: Rows, weights: Weights | None, n_classes: int) -> Weights:
    """(C,) such that all classes that occur weigh the same together, and the mean over the rows is 1."""
    totals = np.bincount(numbers, weights=weights, minlength=n_classes)
    occur = totals > 0
    balanced: Weights = np.divide(totals.sum() / occur.sum(), totals, out=np.zeros(n_classes), where=occur)
    return balanced


def split_rows(numbers: Rows, fraction: float, random_state: np.random.RandomState) -> tuple[Rows, Rows]:
    """Rows to train on and rows for validation, each ascending, with the proportions of the classes kept.

    Raises:
        ValueError: when there are too few rows.
    """
    rows = np.arange(len(numbers), dtype=np.int64)
    train, held_out = train_test_split(rows, test_size=fraction, random_state=random_state, stratify=numbers)
    return np.sort(train), np.sort(held_out)
