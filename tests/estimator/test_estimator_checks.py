"""scikit-learn's own checks of an estimator, all of them, none expected to fail."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from estimator_problems import NO_CONVERGENCE
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastfnn import FNNClassifier

ESTIMATORS = [
    FNNClassifier(),
    FNNClassifier(hidden_layer_sizes=(20, 10), activation="tanh", solver="sgd", learning_rate_init=0.1),
]


@NO_CONVERGENCE
@parametrize_with_checks(ESTIMATORS)
def test_check(estimator: Any, check: Any) -> None:
    check(estimator)


@NO_CONVERGENCE
@pytest.mark.parametrize("options", [{"batchnorm": "before"}, {"dropout": 0.2}, {"dtype": "float32"}])
def test_checks_of_predictions_with_options(options: dict[str, Any]) -> None:
    from sklearn.utils import estimator_checks

    for check in (
        estimator_checks.check_classifiers_train,
        estimator_checks.check_fit_idempotent,
        estimator_checks.check_methods_subset_invariance,
        estimator_checks.check_estimators_pickle,
    ):
        check("FNNClassifier", FNNClassifier(**options))


def test_the_check_that_needs_a_setting_of_scipy() -> None:
    """It is skipped unless SCIPY_ARRAY_API is set when scipy is imported."""
    code = (
        "from sklearn.utils.estimator_checks import check_array_api_input; from fastfnn import FNNClassifier; "
        "check_array_api_input('FNNClassifier', FNNClassifier(), 'numpy', expect_only_array_outputs=False)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
