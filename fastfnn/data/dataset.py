"""Dataset: features, labels and their splits, shared read-only by all runs.

Shapes: N examples, n examples of one split, K features, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypedDict, TypeVar, Unpack

import numpy as np
from numpy.typing import NDArray

from fastfnn.data.arrays import Contents, Features, Table, as_weights, density, encode, image_shape_of, is_sparse
from fastfnn.data.fingerprint import fingerprint
from fastfnn.data.memo import Memo
from fastfnn.data.opening import unexpected
from fastfnn.data.splits import draw_split, validation_count

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Split:
    """The rows `indices` of `features`; several splits may share one `features`, which is never copied.

    Attributes:
        features: (N, K) C-contiguous array or memmap, or canonical CSR; uint8, float32 or float64.
        labels: int64 (N,) class numbers 0..C-1 of all rows of `features`.
        indices: int64 (n,) rows that belong to this split, ascending.
        weights: float64 (N,) of all rows of `features` in the loss; None where all are 1.
    """

    features: Features
    labels: NDArray[np.int64]
    indices: NDArray[np.int64]
    weights: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        """The number of its rows, n."""
        return len(self.indices)

    @cached_property
    def total_weight(self) -> float:
        """The sum of the weights of its rows."""
        return float(len(self) if self.weights is None else self.weights[self.indices].sum())


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A classification problem, ready for training. Its arrays are shared: treat them as read-only.

    Attributes:
        name: for people; not part of the identity.
        classes: (C,) original label values, sorted; `classes[number]` decodes a class number.
        scale: what a stored feature is multiplied by to give the network's input.
        train, validation, test: the splits; the last two may be missing.
        image_shape: (height, width) when the features are pixels.
        split_seed: the seed that drew validation from train.
    """

    name: str
    classes: NDArray[Any]
    scale: float
    train: Split
    validation: Split | None = None
    test: Split | None = None
    image_shape: tuple[int, int] | None = None
    split_seed: int = 0
    _memo: Memo = field(default_factory=Memo, init=False)

    @classmethod
    def from_arrays(
        cls,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        test: tuple[Any, Any] | None = None,
        validation: float | int | tuple[Any, Any] | None = 0.2,
        split_seed: int = 0,
        stratify: bool = False,
        scale: float | None = None,
        name: str = "arrays",
        image_shape: tuple[int, int] | None = None,
    ) -> Dataset:
        """A dataset from arrays, without a copy where that is possible.

        Args:
            X: (N, K) array, memmap or scipy sparse, or images (N, height, width). uint8, float32 and float64 are kept,
                other real dtypes become float32.
            y: (N,) labels: integers, booleans, strings or whole floats.
            sample_weight: (N,) finite and not negative; costs and gradients are weighted means over the examples, of a
                batch or of a split. Accuracies and batch norm's statistics count every example once.
            test: (X_test, y_test), with no label that y does not have.
            validation: a fraction in (0, 1) or a number of rows to set apart, or (X_validation, y_validation);
                0 or None for no validation set.
            split_seed: draws the validation rows.
            stratify: keep the proportions of the classes in the validation set.
            scale: multiplies stored features; None means 1/255 for uint8 and 1 for floats.
            name: for people.
            image_shape: (height, width); found out from X when that has three dimensions.

        Raises:
            DataError: naming the array, what was expected and what was found.
        """
        train, shape = Table.of(X, y), image_shape_of(np.shape(X))
        weights = None if sample_weight is None else as_weights(sample_weight, len(train.labels))
        held_out = _pair_table(validation, "validation") if isinstance(validation, tuple | list) else validation
        return assemble(
            name,
            Contents(train, None if test is None else _pair_table(test, "test"), image_shape or shape, weights),
            scale=scale,
            validation=held_out,
            split_seed=split_seed,
            stratify=stratify,
        )

    @property
    def n_features(self) -> int:
        """K, the number of inputs of a network for this data."""
        return int(self.train.features.shape[1])

    @property
    def n_classes(self) -> int:
        """C, the number of outputs of a network for this data."""
        return len(self.classes)

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the contents: features, labels, classes, scale and splits. Computed once, on first use."""
        return self.derived("fingerprint", lambda: fingerprint(self))

    def splits(self) -> dict[str, Split]:
        """The splits that exist, by name: train, validation, test."""
        found = {"train": self.train, "validation": self.validation, "test": self.test}
        return {role: split for role, split in found.items() if split is not None}

    def derived(self, key: Hashable, make: Callable[[], T]) -> T:
        """Something computed from the data, such as the kernels' row formats: made once for each key, by one thread.

        Other threads that ask for the same key wait for it. Derived values do not travel with a pickle.
        """
        return self._memo.get(key, make)

    def describe(self) -> dict[str, Any]:
        """A summary of plain values, ready for JSON. `density` is the share of training features that are not zero."""
        features = self.train.features
        return {
            "name": self.name,
            "examples": {role: len(split) for role, split in self.splits().items()},
            "features": self.n_features,
            "classes": self.classes.tolist(),
            "dtype": features.dtype.name,
            "layout": "csr" if is_sparse(features) else "dense",
            "density": self.derived("density", lambda: density(features)),
            "image_shape": list(self.image_shape) if self.image_shape else None,
            "scale": self.scale,
            "split_seed": self.split_seed,
            "fingerprint": self.fingerprint,
        }

    def __repr__(self) -> str:
        """Name and counts on one line."""
        counts = ", ".join(f"{role}={len(split)}" for role, split in self.splits().items())
        return f"Dataset({self.name!r}, {counts}, features={self.n_features}, classes={self.n_classes})"


class SplitOptions(TypedDict, total=False):
    """How validation rows are set apart, as in `Dataset.from_arrays`."""

    validation: Table | float | int | None
    split_seed: int
    stratify: bool


def assemble(name: str, contents: Contents, *, scale: float | None = None, **options: Unpack[SplitOptions]) -> Dataset:
    """A dataset from checked tables; what `Dataset.from_arrays` and all loaders share.

    Raises:
        DataError: when tables do not fit together, or the split cannot be made.
    """
    train = contents.train
    classes, numbers = np.unique(train.labels, return_inverse=True)
    if len(classes) < 2:
        raise unexpected(train.labels_name, "at least two classes", f"one only, {classes[0].item()!r}")
    parts = _divide(train.features, numbers.astype(np.int64), contents.weights, options)
    companions = {"validation": options.get("validation"), "test": contents.test}
    for role, table in companions.items():
        if isinstance(table, Table):
            parts[role] = _companion(table, train, classes)
    return Dataset(
        name=name,
        classes=classes,
        scale=_checked_scale(scale, train.features),
        image_shape=_checked_image_shape(contents.image_shape, train),
        split_seed=int(options.get("split_seed", 0)),
        **parts,
    )


def _divide(
    features: Features, labels: NDArray[np.int64], weights: NDArray[np.float64] | None, options: SplitOptions
) -> dict[str, Split]:
    """Train, and validation if some of the rows become it; both over the same features."""
    validation = options.get("validation", 0.2)
    count = 0 if isinstance(validation, Table) else validation_count(validation, len(labels))
    if count == 0:
        return {"train": _whole(features, labels, weights)}
    train, held_out = draw_split(labels, count, options.get("split_seed", 0), options.get("stratify", False))
    parts = {"train": Split(features, labels, train, weights), "validation": Split(features, labels, held_out, weights)}
    for role, split in parts.items():
        if split.total_weight == 0:
            raise unexpected("sample_weight", f"a positive one in the {role} split", "zeros only")
    return parts


def _whole(features: Features, labels: NDArray[np.int64], weights: NDArray[np.float64] | None = None) -> Split:
    return Split(features, labels, np.arange(len(labels), dtype=np.int64), weights)


def _companion(table: Table, train: Table, classes: NDArray[Any]) -> Split:
    """A split with features of its own, which must look like the training data's."""
    return _whole(_matched(table, train), encode(table.labels, classes, table.labels_name))


def _matched(table: Table, train: Table) -> Features:
    mine, model = table.features, train.features
    if mine.shape[1] != model.shape[1]:
        expected = f"{model.shape[1]} features, as in {train.features_name}"
        raise unexpected(table.features_name, expected, mine.shape[1])
    if is_sparse(mine) != is_sparse(model):
        names = {True: "a sparse matrix", False: "a dense array"}
        expected = f"{names[is_sparse(model)]}, as {train.features_name} is"
        raise unexpected(table.features_name, expected, names[is_sparse(mine)])
    if mine.dtype != model.dtype and np.uint8 in (mine.dtype, model.dtype):
        expected = f"{model.dtype} features, as in {train.features_name}"
        raise unexpected(table.features_name, expected, mine.dtype)
    return mine.astype(model.dtype, copy=False)


def _checked_scale(scale: float | None, features: Features) -> float:
    if scale is None:
        return 1 / 255 if features.dtype == np.uint8 else 1.0
    if not (math.isfinite(scale) and scale > 0):
        raise unexpected("scale", "a positive number", scale)
    return float(scale)


def _checked_image_shape(shape: tuple[int, int] | None, train: Table) -> tuple[int, int] | None:
    if shape is None:
        return None
    if len(shape) != 2 or shape[0] * shape[1] != train.features.shape[1]:
        expected = f"(height, width) of the {train.features.shape[1]} features of {train.features_name}"
        raise unexpected("image_shape", expected, shape)
    return int(shape[0]), int(shape[1])


def _pair_table(pair: tuple[Any, Any] | list[Any], role: str) -> Table:
    if len(pair) != 2:
        raise unexpected(role, f"a pair (X_{role}, y_{role})", f"{len(pair)} items")
    return Table.of(pair[0], pair[1], f"X_{role}", f"y_{role}")
