"""Arrays as users have them -> features and labels as fastfnn keeps them, with every check on the way.

Shapes: N examples, K features, C classes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

from fastfnn.data.opening import unexpected

if TYPE_CHECKING:
    from scipy.sparse import csr_array

# (N, K): a C-contiguous array or memmap, or canonical CSR; uint8, float32 or float64.
Features: TypeAlias = "NDArray[Any] | csr_array"

KEPT = (np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.float64))
CHUNK_BYTES = 8 << 20


@dataclass(frozen=True, eq=False)
class Table:
    """Checked features (N, K) and their original labels (N,), with the names that errors give them."""

    features: Features
    labels: NDArray[Any]
    features_name: str
    labels_name: str

    @classmethod
    def of(cls, X: Any, y: Any, features_name: str = "X", labels_name: str = "y") -> Table:
        """Checks and converts both, and compares their counts.

        Raises:
            DataError: as `as_features` and `as_labels`, and when the counts differ.
        """
        features, labels = as_features(X, features_name), as_labels(y, labels_name)
        if features.shape[0] != len(labels):
            raise unexpected(
                labels_name, f"{features.shape[0]} labels, one for each row of {features_name}", len(labels)
            )
        return cls(features, labels, features_name, labels_name)


class Contents(NamedTuple):
    """What a source of data holds, before rows are set apart for validation."""

    train: Table
    test: Table | None = None
    image_shape: tuple[int, int] | None = None
    weights: NDArray[np.float64] | None = None  # (N,) of the training rows


def is_sparse(X: object) -> TypeGuard[csr_array]:
    """Whether X is a scipy sparse matrix or array; never imports scipy, for without it X cannot be one."""
    sparse = sys.modules.get("scipy.sparse")
    return sparse is not None and bool(sparse.issparse(X))


def row_chunks(features: Features) -> Iterator[NDArray[Any]]:
    """Dense features in blocks of rows of some megabytes, so that a memmap is never in memory as a whole."""
    step = max(1, CHUNK_BYTES // max(1, features.shape[1] * features.dtype.itemsize))
    for first in range(0, features.shape[0], step):
        yield features[first : first + step]


def density(features: Features) -> float:
    """The share of elements that are not zero."""
    if is_sparse(features):
        nonzero = int(features.nnz)
    else:
        nonzero = sum(int(np.count_nonzero(chunk)) for chunk in row_chunks(features))
    return float(nonzero / (features.shape[0] * features.shape[1]))


def as_features(X: Any, name: str = "X") -> Features:
    """Checks X and brings it into a form that the kernels read, without a copy where that is possible.

    Args:
        X: (N, K) array, memmap, scipy sparse or nested sequence, or images (N, height, width), which are flattened.
            uint8, float32 and float64 stay as they are; other real dtypes become float32.
        name: what errors call it.

    Returns:
        (N, K): a C-contiguous array or memmap, or a CSR array with sorted indices, no duplicates and no stored zeros.

    Raises:
        DataError: wrong number of dimensions, no rows, no columns, not numbers, NaN or infinity, damaged CSR.
    """
    if is_sparse(X):
        return _sparse_features(X, name)
    array = X if isinstance(X, np.memmap) else _as_array(X, name)
    _check_shape(array.shape, name, (2, 3))
    features = _convert(array.reshape(len(array), -1), name)
    _check_finite_dense(features, name)
    return features


def as_weights(weights: Any, rows: int) -> NDArray[np.float64]:
    """Checks the weights of examples.

    Raises:
        DataError: when they are not as many numbers as there are rows, finite, not negative and not all 0.
    """
    array = _as_array(weights, "sample_weight")
    if array.dtype.kind not in "biuf":
        raise unexpected("sample_weight", "numbers", f"dtype {array.dtype}")
    if array.shape != (rows,):
        raise unexpected("sample_weight", f"shape {(rows,)}, a weight for each row", array.shape)
    converted = array.astype(np.float64)
    if not (np.isfinite(converted).all() and (converted >= 0).all()):
        raise unexpected("sample_weight", "finite numbers that are not negative", "others")
    if not converted.any():
        raise unexpected("sample_weight", "a positive weight", "zeros only")
    return converted


def image_shape_of(shape: tuple[int, ...]) -> tuple[int, int] | None:
    """(height, width) of images (N, height, width), None for rows (N, K)."""
    return (shape[1], shape[2]) if len(shape) == 3 else None


def _as_array(values: Any, name: str) -> NDArray[Any]:
    if isinstance(values, np.ma.MaskedArray):
        raise unexpected(name, "an array in which every element counts", "a masked array")
    if is_sparse(values):
        raise unexpected(name, "a dense array", "a scipy sparse matrix")
    try:
        return np.asarray(values)
    except ValueError as error:
        raise unexpected(name, "an array", f"something that NumPy cannot turn into one ({error})") from None


def _check_shape(shape: tuple[int, ...], name: str, dimensions: tuple[int, ...]) -> None:
    if len(shape) not in dimensions:
        allowed = " or ".join(f"{n}" for n in dimensions)
        raise unexpected(name, f"{allowed} dimensions (rows first)", f"{len(shape)}, shape {shape}")
    if shape[0] == 0:
        raise unexpected(name, "at least one row", f"none, shape {shape}")
    if 0 in shape:
        raise unexpected(name, "at least one column", f"none, shape {shape}")


def _convert(array: NDArray[Any], name: str) -> NDArray[Any]:
    if array.dtype.kind not in "biuf":
        raise unexpected(name, "numbers (integers, booleans or floats)", f"dtype {array.dtype}")
    native = array.dtype.newbyteorder("=")
    target = native if native in KEPT else np.dtype(np.float32)
    if array.dtype == target and array.flags.c_contiguous:
        return array
    with np.errstate(over="ignore"):  # an overflow to infinity is found, and named, by the check that follows
        return array.astype(target, order="C")


def _check_finite_dense(features: NDArray[Any], name: str) -> None:
    if features.dtype.kind != "f":
        return
    first = 0
    for chunk in row_chunks(features):
        if not np.isfinite(chunk).all():
            row, column = np.argwhere(~np.isfinite(chunk))[0]
            raise _not_finite(name, chunk[row, column], first + row, column)
        first += len(chunk)


def _not_finite(name: str, value: Any, row: int, column: int) -> Exception:
    return unexpected(name, "finite numbers", f"{value} at row {row}, column {column} (counted from 0)")


def _sparse_features(X: Any, name: str) -> Features:
    _check_shape(X.shape, name, (2,))
    csr = _canonical(_checked_csr(X, name))
    csr.data = _convert(csr.data, name)
    bad = np.flatnonzero(~np.isfinite(csr.data))
    if bad.size:
        row = int(np.searchsorted(csr.indptr, bad[0], side="right")) - 1
        raise _not_finite(name, csr.data[bad[0]], row, csr.indices[bad[0]])
    return csr


def _checked_csr(X: Any, name: str) -> csr_array:
    """A CSR array over the arrays of X; compiled code trusts its indices, so all of them are checked."""
    from scipy import sparse

    csr = sparse.csr_array(X)
    if csr.dtype.kind not in "biuf":
        raise unexpected(name, "numbers (integers, booleans or floats)", f"dtype {csr.dtype}")
    try:
        csr.check_format(full_check=True)
    except ValueError as error:
        raise unexpected(name, "valid CSR arrays", f"damaged ones ({error})") from None
    return csr


def _canonical(csr: csr_array) -> csr_array:
    """Sorted indices, no duplicates, no stored zeros; the caller's arrays are never changed."""
    if csr.has_canonical_format and csr.data.all():
        return csr
    csr = csr.copy()
    csr.sum_duplicates()
    csr.eliminate_zeros()
    return csr


def as_labels(y: Any, name: str = "y") -> NDArray[Any]:
    """Checks labels (N,) of any kind: integers, booleans, strings, or floats that are whole (these become int64).

    Raises:
        DataError: wrong number of dimensions, none at all, NaN, a float with a fraction, mixed or unknown kinds.
    """
    labels = _as_array(y, name)
    if labels.ndim != 1:
        raise unexpected(name, "1 dimension, one label for each row", f"{labels.ndim}, shape {labels.shape}")
    if len(labels) == 0:
        raise unexpected(name, "at least one label", "none")
    if labels.dtype.kind in "OT":  # T: NumPy's variable-width strings
        labels = _from_objects(labels, name)
    if labels.dtype.kind == "f":
        return _from_floats(labels, name)
    if labels.dtype.kind == "S":
        return _from_bytes(labels, name)
    if labels.dtype.kind not in "biuU":
        raise unexpected(name, "integers, booleans, strings or whole floats as labels", f"dtype {labels.dtype}")
    return labels.astype(labels.dtype.newbyteorder("="), copy=False)


def _from_floats(labels: NDArray[Any], name: str) -> NDArray[np.int64]:
    whole = np.abs(labels) < 2**53  # false for NaN and infinity
    whole[whole] = labels[whole] % 1 == 0
    if not whole.all():
        row = int(np.argmin(whole))
        raise unexpected(name, "labels that are whole numbers", f"{labels[row]} at row {row} (counted from 0)")
    return labels.astype(np.int64)


def _from_bytes(labels: NDArray[Any], name: str) -> NDArray[np.str_]:
    try:
        return np.char.decode(labels, "utf-8")
    except UnicodeDecodeError as error:
        raise unexpected(name, "byte strings in UTF-8 as labels", repr(error.object)) from None


def _from_objects(labels: NDArray[Any], name: str) -> NDArray[Any]:
    """Python objects, as pandas gives for strings: all of one kind, or an error that names the first other one."""
    first = _kind(labels[0])
    for row, label in enumerate(labels):
        if _kind(label) is None or _kind(label) != first:
            expected = "labels of one kind (integers, booleans, strings or floats)"
            raise unexpected(name, expected, f"{label!r} at row {row} (counted from 0)")
    return np.array(labels.tolist())


def _kind(label: object) -> str | None:
    kinds = {"boolean": (bool, np.bool_), "integer": (int, np.integer), "string": (str,), "float": (float, np.floating)}
    return next((kind for kind, types in kinds.items() if isinstance(label, types)), None)


def encode(labels: NDArray[Any], classes: NDArray[Any], name: str) -> NDArray[np.int64]:
    """The class numbers (N,) of labels, given the sorted classes (C,).

    Raises:
        DataError: naming the first label that is not among the classes.
    """
    if (labels.dtype.kind == "U") != (classes.dtype.kind == "U"):
        raise unexpected(name, f"labels like {classes[0]!r}, as in the training data", repr(labels[0]))
    numbers = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
    unknown = np.flatnonzero(classes[numbers] != labels)
    if unknown.size:
        row = int(unknown[0])
        known = ", ".join(repr(label) for label in classes[:10].tolist()) + (", ..." if len(classes) > 10 else "")
        found = f"{labels[row].item()!r} at row {row} (counted from 0)"
        raise unexpected(name, f"labels that the training data has ({known})", found)
    return numbers.astype(np.int64)
