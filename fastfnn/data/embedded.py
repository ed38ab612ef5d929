"""Datasets that need no network: the MNIST files inside the package, and the digits that scikit-learn brings.

Shapes: N examples, K features.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Unpack

import numpy as np

from fastfnn.data.arrays import Contents, Table
from fastfnn.data.dataset import Dataset, SplitOptions, assemble
from fastfnn.data.image_files import read_images
from fastfnn.data.opening import unexpected, unreadable
from fastfnn.data.splits import draw_split, validation_count

MNIST_FOLDER = Path(__file__).parent / "mnist"
MNIST_SHA256 = {
    "train-images-idx3-ubyte.gz": "0b367032e93c5d0cea0925647cfdb18614af8ee15f83e6f2fc2ad904a6835971",
    "train-labels-idx1-ubyte.gz": "1787548bbe0bff1ec2ecdc0ef292b02df999e2d1a6002d27500982c652b17203",
    "t10k-images-idx3-ubyte.gz": "1a1a05eab793c14bb050b398624a11b0ffd1a2953baed553b1b9bd079e2a20be",
    "t10k-labels-idx1-ubyte.gz": "b91679a0acfe4ba0e50a2437a903084cba1f5f92592b016a25a7dfd00455798b",
}

# The test set of the digits is the same for every split_seed, so that results stay comparable.
DIGITS_TEST_SEED = 0


def load_mnist(folder: Path = MNIST_FOLDER, **options: Unpack[SplitOptions]) -> Dataset:
    """The embedded MNIST: 60,000 training and 10,000 test images of 28 x 28 uint8 pixels, digits 0 to 9.

    Raises:
        DataError: when a file of the installation is missing or damaged, or the split cannot be made.
    """
    for name, sha256 in MNIST_SHA256.items():
        _check_sha256(folder / name, sha256)
    return assemble("mnist", read_images([folder / name for name in MNIST_SHA256], n_classes=10), **options)


def _check_sha256(path: Path, sha256: str) -> None:
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise unreadable(path, error) from None
    if found != sha256:
        raise unexpected(path, f"the file with SHA-256 {sha256}", found)


def load_digits(**options: Unpack[SplitOptions]) -> Dataset:
    """scikit-learn's digits: 1,797 images of 8 x 8 with grey levels 0 to 16, 20 % of them (fixed, stratified) for test.

    Raises:
        DataError: when the split cannot be made.
    """
    from sklearn import datasets

    X, y = datasets.load_digits(return_X_y=True)
    X, y = X.astype(np.uint8), y.astype(np.int64)
    train, test = draw_split(y, validation_count(0.2, len(y)), DIGITS_TEST_SEED, stratify=True)
    return assemble(
        "digits",
        Contents(
            Table.of(X[train], y[train], "digits", "digits labels"),
            Table.of(X[test], y[test], "digits for test", "digits labels for test"),
            image_shape=(8, 8),
        ),
        scale=1 / 16,
        **options,
    )
