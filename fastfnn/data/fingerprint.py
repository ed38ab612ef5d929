"""The identity of a dataset: SHA-256 over its contents, the same on every platform."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastfnn.data.arrays import Features, is_sparse, row_chunks

if TYPE_CHECKING:
    from fastfnn.data.dataset import Dataset

VERSION = "fastfnn data 1"


def fingerprint(data: Dataset) -> str:
    """SHA-256 (hex) over features, labels, weights, classes, scale and split indices, not names and seeds.

    Features are read once, in chunks; bytes are hashed little-endian, CSR indices as int64.
    """
    digest = hashlib.sha256()
    _add_text(digest, [VERSION, data.classes.tolist(), float(data.scale).hex()])
    known: dict[int, str] = {}
    for role, split in data.splits().items():
        if id(split.features) not in known:
            known[id(split.features)] = _features_digest(split.features)
        _add_text(digest, [role, known[id(split.features)]])
        _add_array(digest, split.labels)
        _add_array(digest, split.indices)
        if split.weights is not None:
            _add_array(digest, split.weights)
    return digest.hexdigest()


def _features_digest(features: Features) -> str:
    digest = hashlib.sha256()
    _add_text(digest, ["csr" if is_sparse(features) else "dense", features.dtype.name, list(features.shape)])
    if is_sparse(features):
        _add_array(digest, features.indptr.astype(np.int64))
        _add_array(digest, features.indices.astype(np.int64))
        _add_array(digest, features.data)
    else:
        for chunk in row_chunks(features):
            _add_bytes(digest, chunk)
    return digest.hexdigest()


def _add_text(digest: Any, values: list[Any]) -> None:
    digest.update(json.dumps(values).encode() + b"\n")


def _add_array(digest: Any, array: NDArray[Any]) -> None:
    """The length first, so that the boundary between two arrays cannot move unnoticed."""
    _add_text(digest, [array.dtype.name, len(array)])
    _add_bytes(digest, array)


def _add_bytes(digest: Any, array: NDArray[Any]) -> None:
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    digest.update(little.reshape(-1).view(np.uint8).data)
