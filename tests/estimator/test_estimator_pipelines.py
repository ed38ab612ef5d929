"""The classifier among scikit-learn's tools, and with the data that their users have."""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from estimator_problems import NO_CONVERGENCE, assert_same_weights, problem
from scipy import sparse
from sklearn.base import clone
from sklearn.ensemble import BaggingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import fastfnn
from fastfnn import FNNClassifier

pytestmark = NO_CONVERGENCE

OPTIONS: dict[str, Any] = {"hidden_layer_sizes": (8,), "random_state": 0, "max_iter": 30, "learning_rate_init": 0.02}


def frame(n_rows: int = 90) -> tuple[pd.DataFrame, pd.Series]:
    """A table with names of columns, and labels that are words."""
    X, y = problem(n_rows=n_rows)
    columns = [f"column {n}" for n in range(X.shape[1])]
    return pd.DataFrame(1000 * X, columns=columns), pd.Series(np.array(["ash", "birch", "cedar"])[y], name="tree")


def test_pipeline_with_a_frame() -> None:
    X, y = frame()
    pipeline = make_pipeline(StandardScaler(), FNNClassifier(**OPTIONS)).fit(X, y)
    assert pipeline.score(X, y) > 0.8
    assert set(pipeline.predict(X)) <= {"ash", "birch", "cedar"}
    assert pipeline.predict_proba(X).shape == (len(y), 3)


def test_grid_search_in_two_processes() -> None:
    X, y = frame()
    pipeline = make_pipeline(StandardScaler(), FNNClassifier(**OPTIONS))
    grid = {"fnnclassifier__alpha": [1e-4, 1.0], "fnnclassifier__hidden_layer_sizes": [(4,), (8, 4)]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of convergence, which processes print, and of loky
        search = GridSearchCV(pipeline, grid, cv=2, n_jobs=2, error_score="raise").fit(X, y)
    assert search.best_params_["fnnclassifier__alpha"] == 1e-4
    assert search.best_score_ > 0.7
    alone = cross_val_score(search.best_estimator_, X, y, cv=2)
    assert alone.mean() == pytest.approx(search.best_score_)


def test_sparse_pipeline_on_words() -> None:
    rng = np.random.default_rng(0)
    words = rng.choice(["red", "green", "blue"], (200, 2))
    y = words[:, 0] == words[:, 1]
    pipeline = make_pipeline(OneHotEncoder(), FNNClassifier(**{**OPTIONS, "max_iter": 300}))
    assert pipeline.fit(words, y).score(words, y) == 1.0
    assert pipeline.predict(words).dtype == bool


def test_bagging_passes_weights_of_rows() -> None:
    X, y = problem()
    assert BaggingClassifier(FNNClassifier(**OPTIONS), n_estimators=3, random_state=0).fit(X, y).score(X, y) > 0.7


def test_several_outputs_by_a_meta_estimator() -> None:
    X, y = problem()
    both = np.column_stack((y == 0, y > 1)).astype(int)
    assert MultiOutputClassifier(FNNClassifier(**OPTIONS)).fit(X, both).predict(X).shape == both.shape


def test_clone_forgets_the_fit_and_keeps_the_parameters() -> None:
    X, y = problem()
    fitted = FNNClassifier(**OPTIONS, batchnorm="before", dropout=(0.1,), class_weight={0: 2.0}).fit(X, y)
    copied = clone(fitted)
    assert copied.get_params() == fitted.get_params()
    assert not hasattr(copied, "coefs_")
    assert_same_weights(copied.fit(X, y), fitted, rtol=0)


@pytest.mark.parametrize("random_state", [7, np.random.RandomState(7)])
def test_random_states(random_state: Any) -> None:
    X, y = problem()
    options = {**OPTIONS, "random_state": random_state, "dropout": 0.2, "early_stopping": True}
    classifier = FNNClassifier(**options)
    first, second = (copy.deepcopy(classifier.fit(X, y)) for _ in range(2))
    same = all(np.array_equal(a, b) for a, b in zip(first.coefs_, second.coefs_, strict=True))
    assert same == isinstance(random_state, int)


def test_no_random_state() -> None:
    X, y = problem()
    a, b = (FNNClassifier(**{**OPTIONS, "random_state": None}).fit(X, y).coefs_[0] for _ in range(2))
    assert not np.array_equal(a, b)


def test_shuffle_changes_the_order() -> None:
    X, y = problem()
    fits = [FNNClassifier(**OPTIONS, batch_size=5, shuffle=shuffle).fit(X, y).coefs_[0] for shuffle in (True, False)]
    assert not np.allclose(*fits)


@pytest.mark.parametrize("options", [{}, {"batchnorm": "after", "dropout": 0.3, "activation": "tanh"}])
def test_copies_predict_the_same_bits(options: dict[str, Any]) -> None:
    X, y = problem()
    classifier = FNNClassifier(**OPTIONS, **options).fit(X, y)
    for copied in (pickle.loads(pickle.dumps(classifier)), copy.deepcopy(classifier)):
        np.testing.assert_array_equal(copied.predict_proba(X), classifier.predict_proba(X))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_network_travels(n_classes: int, tmp_path: Path) -> None:
    X, y = problem(n_classes)
    names = np.array(["ash", "birch", "cedar"], dtype=object)[y]
    classifier = FNNClassifier(**OPTIONS, batchnorm="before").fit(X, names)
    classifier.network_.save(tmp_path / "model.safetensors")
    network = fastfnn.Network.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(network.predict_proba(X), classifier.predict_proba(X))
    np.testing.assert_array_equal(network.predict(X), classifier.predict(X))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
def test_a_row_does_not_depend_on_its_neighbours(dtype: str, container: Any) -> None:
    X, y = problem(n_rows=150)
    X[np.abs(X) < 0.5] = 0.0
    classifier = FNNClassifier(**OPTIONS, dtype=dtype).fit(X, y)
    together = classifier.predict_proba(container(X))
    alone = np.vstack([classifier.predict_proba(container(X[n : n + 1])) for n in range(150)])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(together[::-1][:40], classifier.predict_proba(container(X[::-1][:40])))


@pytest.mark.parametrize("container", [sparse.csr_matrix, sparse.csc_array, sparse.coo_array, sparse.lil_matrix])
def test_sparse_equals_dense(container: Any) -> None:
    X, y = problem()
    X[np.abs(X) < 0.7] = 0.0
    dense, by_container = (FNNClassifier(**OPTIONS).fit(rows, y) for rows in (X, container(X)))
    np.testing.assert_allclose(by_container.predict_proba(X), dense.predict_proba(X), rtol=1e-9)
    np.testing.assert_allclose(dense.predict_proba(container(X)), dense.predict_proba(X), rtol=1e-9)


def test_sparse_with_duplicates_and_stored_zeros() -> None:
    X, y = problem()
    rows, columns = np.nonzero(np.ones_like(X))
    halves = sparse.coo_array((np.tile(X.ravel() / 2, 2), (np.tile(rows, 2), np.tile(columns, 2))), X.shape)
    twice = sparse.csr_array((halves.data, halves.col, np.arange(0, 2 * X.size + 1, 12)), X.shape)
    twice.data = np.stack((X / 2, X / 2), axis=1).ravel()
    twice.indices = np.tile(np.arange(6), 2 * len(X))
    before = twice.data.copy()
    np.testing.assert_allclose(
        FNNClassifier(**OPTIONS).fit(twice, y).predict_proba(X), FNNClassifier(**OPTIONS).fit(X, y).predict_proba(X)
    )
    np.testing.assert_array_equal(twice.data, before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_and_probabilities_have_the_dtype_of_the_rows(dtype: Any) -> None:
    X, y = problem()
    classifier = FNNClassifier(**OPTIONS).fit(X.astype(dtype), y)
    assert {w.dtype for w in [*classifier.coefs_, *classifier.intercepts_]} == {np.dtype(dtype)}
    assert classifier.predict_proba(X.astype(dtype)).dtype == dtype


def test_dtypes_give_about_the_same() -> None:
    X, y = problem()
    of_dtype = [FNNClassifier(**OPTIONS, dtype=dtype).fit(X, y).predict_proba(X) for dtype in ("float32", "float64")]
    np.testing.assert_allclose(*of_dtype, rtol=1e-2)


def test_pixels_are_not_scaled() -> None:
    X, y = problem()
    pixels = np.clip(40 * X + 128, 0, 255).astype(np.uint8)
    fits = [FNNClassifier(**OPTIONS).fit(rows, y) for rows in (pixels, pixels.astype(float), pixels.astype(np.int64))]
    for other in fits[1:]:
        assert_same_weights(fits[0], other)
    np.testing.assert_allclose(fits[0].predict_proba(pixels), fits[0].predict_proba(pixels.astype(float)))


def test_binary_probabilities() -> None:
    X, y = problem(2)
    classifier = FNNClassifier(**OPTIONS).fit(X, y)
    probabilities = classifier.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    np.testing.assert_array_equal(classifier.predict_log_proba(X), np.log(probabilities))
    assert roc_auc_score(y, probabilities[:, 1]) > 0.9


def test_one_class() -> None:
    X, _ = problem()
    classifier = FNNClassifier(**OPTIONS).fit(X, np.full(len(X), "only"))
    assert set(classifier.predict(X)) == {"only"}
    np.testing.assert_array_equal(classifier.predict_proba(X), np.ones((len(X), 1)))


def test_names_of_features() -> None:
    X, y = frame()
    classifier = FNNClassifier(**OPTIONS, early_stopping=True).fit(X, y)
    assert classifier.feature_names_in_.tolist() == X.columns.tolist()
    assert classifier.n_features_in_ == 6
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(X.rename(columns={"column 0": "other"}))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        classifier.predict(X.to_numpy())
    classifier.fit(X, y, validation=(X[:20], y[:20]))
    with pytest.raises(ValueError, match="feature names"):
        classifier.fit(X, y, validation=(X.rename(columns={"column 0": "other"}), y))


@pytest.mark.parametrize("batchnorm", ["before", "after"])
def test_batchnorm_with_a_last_batch_of_one(batchnorm: str) -> None:
    X, y = problem(n_rows=41)
    classifier = FNNClassifier(**OPTIONS, batchnorm=batchnorm, batch_size=10).fit(X, y)
    assert classifier.t_ == 40 * classifier.n_iter_
    assert classifier.score(X, y) > 0.7


def test_threads_do_not_change_the_result() -> None:
    X, y = problem(n_rows=2000, n_features=40)
    options = {**OPTIONS, "hidden_layer_sizes": (64,), "batch_size": 1000, "max_iter": 3}
    assert_same_weights(
        FNNClassifier(**options, threads=2).fit(X, y), FNNClassifier(**options).fit(X, y), rtol=0, atol=0
    )
