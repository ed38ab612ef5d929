"""Dataset.from_arrays: conversions, splits, fingerprints, the shared memo, and every error."""

from __future__ import annotations

import json
import pickle
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from fastfnn.data import Dataset, arrays
from fastfnn.data.arrays import as_features
from fastfnn.data.memo import Memo
from fastfnn.errors import DataError

N, K = 100, 6
RNG = np.random.default_rng(7)
X8 = RNG.integers(0, 256, (N, K), dtype=np.uint8)
X32 = RNG.standard_normal((N, K)).astype(np.float32)
Y = np.arange(N) % 4


def from_arrays(X: Any = X32, y: Any = Y, **options: Any) -> Dataset:
    return Dataset.from_arrays(X, y, **options)


class TestFeatures:
    @pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
    def test_kept_dtypes_are_not_copied(self, dtype: type) -> None:
        X = X8.astype(dtype)
        assert np.shares_memory(from_arrays(X).train.features, X)

    @pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint16, np.bool_, np.float16, np.longdouble])
    def test_other_dtypes_become_float32(self, dtype: type) -> None:
        X = (X8 % 2).astype(dtype)
        features = from_arrays(X).train.features
        assert features.dtype == np.float32
        np.testing.assert_array_equal(features, X.astype(np.float32))

    def test_foreign_byte_order_and_layout_become_native_rows(self) -> None:
        features = from_arrays(np.asfortranarray(X32.astype(">f8"))).train.features
        assert features.dtype == np.float64
        assert features.dtype.isnative
        assert features.flags.c_contiguous
        np.testing.assert_array_equal(features, X32)

    def test_scale(self) -> None:
        assert from_arrays(X8).scale == 1 / 255
        assert from_arrays(X32).scale == 1.0
        assert from_arrays(X8, scale=0.5).scale == 0.5

    def test_images_are_flattened_without_a_copy(self) -> None:
        images = X8.reshape(N, 2, 3)
        data = from_arrays(images)
        assert data.image_shape == (2, 3)
        assert np.shares_memory(data.train.features, images)
        assert data.n_features == K

    def test_lists(self) -> None:
        assert from_arrays([[1, 2], [3, 4], [5, 6]], ["a", "b", "a"], validation=None).n_features == 2

    def test_memmap_stays_a_memmap(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", X32)
        mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
        data = from_arrays(mapped)
        assert isinstance(data.train.features, np.memmap)
        assert data.fingerprint == from_arrays(X32).fingerprint


class TestSparse:
    def test_canonical_csr_shares_its_arrays(self) -> None:
        csr = sparse.csr_matrix(X32)
        features = from_arrays(csr).train.features
        assert np.shares_memory(features.data, csr.data)
        assert np.shares_memory(features.indices, csr.indices)

    def test_any_csr_becomes_canonical_and_the_original_stays(self) -> None:
        data, indices = np.array([1.0, 2.0, 3.0, 0.0, 5.0]), np.array([2, 0, 2, 1, 1])
        csr = sparse.csr_array((data, indices, [0, 3, 5]), shape=(2, 3))
        features = as_features(csr)
        assert features.indptr.tolist() == [0, 2, 3]
        assert features.indices.tolist() == [0, 2, 1]
        assert features.data.tolist() == [2, 4, 5]
        assert csr.data.tolist() == [1, 2, 3, 0, 5]
        assert csr.indices.tolist() == [2, 0, 2, 1, 1]

    @pytest.mark.parametrize("kind", [sparse.coo_matrix, sparse.csc_array, sparse.lil_matrix])
    def test_other_formats_and_dtypes(self, kind: Any) -> None:
        features = as_features(kind(X8.astype(np.int32)))
        assert features.format == "csr"
        assert features.dtype == np.float32
        np.testing.assert_array_equal(features.toarray(), X8)

    def test_fingerprint_is_that_of_the_canonical_form(self) -> None:
        csr = sparse.csr_array(X32)
        reversed_rows = sparse.csr_array(sparse.coo_array(csr).T.tocsc().T)
        wide = sparse.csr_array((csr.data, csr.indices.astype(np.int64), csr.indptr.astype(np.int64)), shape=csr.shape)
        prints = {from_arrays(X).fingerprint for X in (csr, reversed_rows, wide)}
        assert len(prints) == 1

    def test_damaged_csr(self) -> None:
        csr = sparse.csr_array(X32)
        csr.indices[3] = K
        with pytest.raises(DataError, match=r"X: expected valid CSR arrays, found damaged ones"):
            from_arrays(csr)

    def test_not_finite(self) -> None:
        dense = np.zeros((N, K))
        dense[[4, 9], [1, 5]] = np.nan
        with pytest.raises(DataError, match=r"X: expected finite numbers, found nan at row 4, column 1"):
            from_arrays(sparse.csr_array(dense))

    def test_describe(self) -> None:
        dense = np.zeros((N, K))
        dense[:, 0] = 1
        summary = from_arrays(sparse.csr_array(dense)).describe()
        assert summary["layout"] == "csr"
        assert summary["density"] == pytest.approx(1 / K)


class TestLabels:
    @pytest.mark.parametrize(
        ("y", "classes"),
        [
            (["b", "a", "b", "c"], ["a", "b", "c"]),
            (np.array(["b", "a", "b", "a"], object), ["a", "b"]),
            (np.array([b"b", b"a", b"b", b"a"]), ["a", "b"]),
            (np.array(["b", "a", "b", "a"], np.dtypes.StringDType()), ["a", "b"]),
            ([7, -3, 7, 100], [-3, 7, 100]),
            ([2.0, 1.0, 2.0, 1.0], [1, 2]),
            ([True, False, True, True], [False, True]),
            (np.array([2, 1, 2, 1], ">i2"), [1, 2]),
        ],
    )
    def test_kinds(self, y: Any, classes: list[Any]) -> None:
        data = from_arrays(X32[:4], y, validation=None)
        assert data.classes.tolist() == classes
        assert data.train.labels.dtype == np.int64
        assert data.classes[data.train.labels].tolist() == np.array(y).astype(data.classes.dtype).tolist()

    @pytest.mark.parametrize(
        ("y", "message"),
        [
            (Y[:-1], "y: expected 100 labels, one for each row of X, found 99"),
            (np.zeros((N, 2)), r"y: expected 1 dimension, one label for each row, found 2, shape \(100, 2\)"),
            (np.zeros(0), "y: expected at least one label, found none"),
            (np.where(Y == 3, np.nan, Y), "y: expected labels that are whole numbers, found nan at row 3"),
            (np.where(Y == 2, 0.5, Y), "y: expected labels that are whole numbers, found 0.5 at row 2"),
            (np.where(Y == 2, np.inf, Y), "y: expected labels that are whole numbers, found inf at row 2"),
            (np.array([b"a", b"\xff"] * 50), r"y: expected byte strings in UTF-8 as labels, found b'\\xff'"),
            (["a", None] * 50, "y: expected labels of one kind .*, found None at row 1"),
            (np.array(["a", 1] * 50, object), "y: expected labels of one kind .*, found 1 at row 1"),
            (
                Y.astype(complex),
                "y: expected integers, booleans, strings or whole floats as labels, found dtype complex",
            ),
            (np.ones(N, int), "y: expected at least two classes, found one only, 1"),
            (["cat"] * N, "y: expected at least two classes, found one only, 'cat'"),
            (sparse.csr_array(np.eye(N)), "y: expected a dense array, found a scipy sparse matrix"),
        ],
    )
    def test_errors(self, y: Any, message: str) -> None:
        with pytest.raises(DataError, match=message):
            from_arrays(X32, y)


def with_value(value: float, row: int, column: int) -> np.ndarray:
    X = X32.copy()
    X[row, column] = value
    return X


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (X32[0], r"X: expected 2 or 3 dimensions \(rows first\), found 1, shape \(6,\)"),
        (np.zeros((2, 2, 2, 2)), "X: expected 2 or 3 dimensions .* found 4"),
        (np.zeros((0, 6)), r"X: expected at least one row, found none, shape \(0, 6\)"),
        (np.zeros((N, 0)), r"X: expected at least one column, found none, shape \(100, 0\)"),
        (sparse.csr_array((0, 6)), "X: expected at least one row"),
        (sparse.csr_array(X32.astype(complex)), "X: expected numbers .* found dtype complex128"),
        (X32.astype(object), "X: expected numbers .* found dtype object"),
        (X32.astype(str), "X: expected numbers .* found dtype <U"),
        (X32.astype(complex), "X: expected numbers .* found dtype complex128"),
        ([[1, 2], [3]], "X: expected an array, found something that NumPy cannot turn into one"),
        (np.ma.masked_less(X32, 0), "X: expected an array in which every element counts, found a masked array"),
        (with_value(np.nan, 7, 3), r"X: expected finite numbers, found nan at row 7, column 3 \(counted from 0\)"),
        (with_value(-np.inf, 99, 5), r"X: expected finite numbers, found -inf at row 99, column 5"),
        (X32.astype(np.longdouble) * np.longdouble(1e300), "X: expected finite numbers, found -?inf at row 0"),
    ],
)
def test_feature_errors(X: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_arrays(X)


def test_not_finite_is_found_in_any_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "CHUNK_BYTES", 3 * K * 4)
    with pytest.raises(DataError, match=r"found nan at row 98, column 2"):
        from_arrays(with_value(np.nan, 98, 2))


class TestSplit:
    def test_train_and_validation_share_features_and_divide_the_rows(self) -> None:
        data = from_arrays(validation=0.25)
        assert data.validation is not None
        assert data.validation.features is data.train.features
        assert data.validation.labels is data.train.labels
        assert (len(data.train), len(data.validation)) == (75, 25)
        both = np.concatenate([data.train.indices, data.validation.indices])
        np.testing.assert_array_equal(np.sort(both), np.arange(N))
        for split in (data.train, data.validation):
            assert split.indices.dtype == np.int64
            assert (np.diff(split.indices) > 0).all()

    @pytest.mark.parametrize("validation", [0, None, 0.0])
    def test_no_validation(self, validation: Any) -> None:
        data = from_arrays(validation=validation)
        assert data.validation is None
        np.testing.assert_array_equal(data.train.indices, np.arange(N))

    def test_count(self) -> None:
        data = from_arrays(validation=13)
        assert data.validation is not None
        assert len(data.validation) == 13

    def test_seed(self) -> None:
        first, again, other = (from_arrays(split_seed=seed) for seed in (3, 3, 4))
        np.testing.assert_array_equal(first.train.indices, again.train.indices)
        assert not np.array_equal(first.train.indices, other.train.indices)
        assert first.split_seed == 3

    def test_stratified_counts_follow_the_largest_remainder(self) -> None:
        y = np.repeat([0, 1, 2], [61, 26, 13])
        data = from_arrays(y=y, validation=10, stratify=True)
        assert data.validation is not None
        # shares 6.1, 2.6 and 1.3: the one row that is left goes to the remainder 0.6
        assert np.bincount(y[data.validation.indices]).tolist() == [6, 3, 1]
        assert (np.diff(data.validation.indices) > 0).all()

    def test_stratified_rows_depend_on_the_seed(self) -> None:
        one, other = (from_arrays(stratify=True, split_seed=seed).train.indices for seed in (0, 1))
        assert not np.array_equal(one, other)

    def test_arrays_as_validation(self) -> None:
        data = from_arrays(validation=(X32[:8], Y[:8]))
        assert data.validation is not None
        assert len(data.train) == N
        assert data.validation.features is not data.train.features
        assert len(data.validation) == 8

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"validation": 1.0}, "validation: expected a fraction between 0 and 1, .* found 1.0"),
            ({"validation": -0.1}, "validation: expected a fraction between 0 and 1"),
            ({"validation": float("nan")}, "validation: expected a fraction .* found nan"),
            ({"validation": N}, "at least one row on each side of a split of 100 rows, found 100, which puts 100 of"),
            ({"validation": -1}, "at least one row on each side of a split of 100 rows"),
            ({"validation": 0.001}, "found 0.001, which puts 0 of 100 rows into validation"),
            ({"validation": 0.999}, "found 0.999, which puts 100 of 100 rows into validation"),
            ({"validation": (X32, Y, Y)}, r"validation: expected a pair \(X_validation, y_validation\), found 3 items"),
            ({"split_seed": -1}, "split_seed: expected an integer, 0 or more, found -1"),
            ({"split_seed": 0.5}, "split_seed: expected an integer, 0 or more, found 0.5"),
            ({"stratify": True, "validation": 3}, r"at least as many rows as classes \(4\) on each side, found 3 for"),
        ],
    )
    def test_errors(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(DataError, match=message):
            from_arrays(**options)

    def test_stratify_with_a_class_of_one_row(self) -> None:
        with pytest.raises(
            DataError, match=r"stratify: expected at least two rows of every class, found 1 of class num"
        ):
            from_arrays(y=np.repeat([0, 1], [99, 1]), stratify=True)

    def test_stratify_that_would_leave_a_class_without_training_rows(self) -> None:
        with pytest.raises(
            DataError, match=r"stratify: expected training rows of every class, found none of class number 1"
        ):
            from_arrays(y=np.repeat([0, 1], [98, 2]), validation=0.9, stratify=True)


class TestCompanions:
    def test_test_set_uses_the_classes_of_train(self) -> None:
        data = from_arrays(y=np.array(list("dcba"))[Y], test=(X32[:3], ["a", "d", "a"]))
        assert data.test is not None
        assert data.test.labels.tolist() == [0, 3, 0]
        assert data.test.indices.tolist() == [0, 1, 2]

    def test_floats_take_the_dtype_of_train(self) -> None:
        data = from_arrays(test=(X32[:3].astype(np.float64), Y[:3]))
        assert data.test is not None
        assert data.test.features.dtype == np.float32

    @pytest.mark.parametrize(
        ("X", "y", "message"),
        [
            (X32[:3, :5], Y[:3], "X_test: expected 6 features, as in X, found 5"),
            (
                X32[:3],
                [0, 9, 1],
                r"y_test: expected labels that the training data has \(0, 1, 2, 3\), found 9 at row 1",
            ),
            (X32[:3], list("abc"), "y_test: expected labels like .*0.*, as in the training data, found .*a"),
            (X32[:3], Y[:2], "y_test: expected 3 labels, one for each row of X_test, found 2"),
            (X8[:3], Y[:3], "X_test: expected float32 features, as in X, found uint8"),
            (sparse.csr_array(X32[:3]), Y[:3], "X_test: expected a dense array, as X is, found a sparse matrix"),
            (with_value(np.nan, 1, 2), Y, "X_test: expected finite numbers, found nan at row 1, column 2"),
        ],
    )
    def test_errors(self, X: Any, y: Any, message: str) -> None:
        with pytest.raises(DataError, match=message):
            from_arrays(test=(X, y))

    def test_validation_arrays_are_named(self) -> None:
        with pytest.raises(DataError, match=r"y_validation: expected labels that the training data has"):
            from_arrays(validation=(X32[:2], [0, 77]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 0}, "scale: expected a positive number, found 0"),
        ({"scale": float("inf")}, "scale: expected a positive number, found inf"),
        ({"image_shape": (2, 2)}, r"image_shape: expected \(height, width\) of the 6 features of X, found \(2, 2\)"),
    ],
)
def test_option_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_arrays(**options)


class TestFingerprint:
    def test_is_pinned(self) -> None:
        """Stores identify runs by it: a change of this value makes every stored run unfindable."""
        data = Dataset.from_arrays([[0.0, 1.0], [2.0, 3.0]], ["a", "b"], validation=None)
        assert data.fingerprint == PINNED

    @pytest.mark.parametrize(
        "change",
        [
            {"X": with_value(9.0, 50, 0)},
            {"X": X32.astype(np.float64)},
            {"y": np.where(np.arange(N) == 5, 0, Y)},
            {"y": Y + 1},
            {"scale": 2.0},
            {"split_seed": 1},
            {"validation": 0.3},
            {"test": (X32[:2], Y[:2])},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_depends_on_contents(self, change: dict[str, Any]) -> None:
        assert from_arrays(**change).fingerprint != from_arrays().fingerprint

    def test_does_not_depend_on_names_chunks_or_label_width(self, monkeypatch: pytest.MonkeyPatch) -> None:
        expected = from_arrays().fingerprint
        assert from_arrays(name="other").fingerprint == expected
        assert from_arrays(y=Y.astype(np.int8)).fingerprint == expected
        monkeypatch.setattr(arrays, "CHUNK_BYTES", 7 * K * 4)
        assert from_arrays().fingerprint == expected

    def test_test_rows_are_not_validation_rows(self) -> None:
        pair = (X32[:8], Y[:8])
        as_test, as_validation = from_arrays(validation=None, test=pair), from_arrays(validation=pair)
        assert as_test.fingerprint != as_validation.fingerprint


PINNED = "311b514e5ee8be7fa177109d6948a78c8f930007ef4640e2da507d09cccd5f81"


def test_describe_is_json() -> None:
    data = from_arrays(X8.reshape(N, 2, 3), np.array(["x", "y"])[Y % 2], name="mine", test=(X8[:4], ["x"] * 4))
    summary = json.loads(json.dumps(data.describe()))
    assert summary == {
        "name": "mine",
        "examples": {"train": 80, "validation": 20, "test": 4},
        "features": 6,
        "classes": ["x", "y"],
        "dtype": "uint8",
        "layout": "dense",
        "density": np.count_nonzero(X8) / X8.size,
        "image_shape": [2, 3],
        "scale": 1 / 255,
        "split_seed": 0,
        "fingerprint": data.fingerprint,
    }


def test_repr() -> None:
    assert repr(from_arrays(name="mine")) == "Dataset('mine', train=80, validation=20, features=6, classes=4)"


def test_pickle_keeps_sharing_and_drops_derived_values() -> None:
    data = from_arrays(X8)
    data.derived("rows", threading.Lock)  # a lock cannot be pickled
    copy = pickle.loads(pickle.dumps(data))
    assert copy.fingerprint == data.fingerprint
    assert copy.validation.features is copy.train.features
    assert copy.derived("rows", lambda: "made again") == "made again"


class TestMemo:
    def test_concurrent_callers_share_one_value(self) -> None:
        memo, made, results = Memo(), [], []
        start = threading.Barrier(8)

        def make() -> object:
            made.append(threading.get_ident())
            time.sleep(0.05)
            return object()

        def call() -> None:
            start.wait()
            results.append(memo.get("key", make))

        threads = [threading.Thread(target=call) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(made) == 1
        assert len(results) == 8
        assert len(set(map(id, results))) == 1

    def test_keys_do_not_wait_for_each_other(self) -> None:
        memo = Memo()
        assert memo.get("outer", lambda: memo.get("inner", lambda: 1) + 1) == 2

    def test_failure_is_raised_and_not_kept(self) -> None:
        memo = Memo()
        with pytest.raises(ZeroDivisionError):
            memo.get("key", lambda: 1 // 0)
        assert memo.get("key", lambda: 5) == 5


class TestWeights:
    """Of examples in the loss."""

    def test_they_belong_to_the_rows_of_train_and_validation(self) -> None:
        weights = np.arange(len(Y)) + 0.5
        data = from_arrays(sample_weight=weights)
        assert data.validation is not None
        for split in (data.train, data.validation):
            np.testing.assert_array_equal(split.weights, weights)
            assert split.total_weight == pytest.approx(weights[split.indices].sum())
        assert from_arrays().train.weights is None
        assert from_arrays().train.total_weight == len(from_arrays().train)

    def test_they_are_part_of_the_identity(self) -> None:
        prints = {from_arrays(sample_weight=w).fingerprint for w in (None, np.arange(len(Y)), np.ones(len(Y)))}
        assert len(prints) == 3

    @pytest.mark.parametrize(
        ("weights", "expected"),
        [
            ([1.0, 2.0], "a weight for each row"),
            (np.full(len(Y), -1), "not negative"),
            (np.full(len(Y), np.nan), "finite"),
            (np.zeros(len(Y)), "a positive weight, found zeros only"),
            (["a"] * len(Y), "numbers"),
        ],
    )
    def test_what_is_refused(self, weights: Any, expected: str) -> None:
        with pytest.raises(DataError, match=f"sample_weight: expected .*{expected}|sample_weight: .*{expected}"):
            from_arrays(sample_weight=weights)
