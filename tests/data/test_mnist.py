"""The datasets that need no network: embedded MNIST, and scikit-learn's digits."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastfnn.data import Dataset, load_dataset, read_idx
from fastfnn.data.embedded import MNIST_FOLDER, load_mnist
from fastfnn.errors import DataError

MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


@pytest.fixture(scope="module")
def mnist() -> Dataset:
    return load_dataset("mnist")


def test_shapes_and_counts(mnist: Dataset) -> None:
    assert mnist.train.features.shape == (60_000, 784)
    assert mnist.train.features.dtype == np.uint8
    assert mnist.validation is not None
    assert mnist.validation.features is mnist.train.features
    assert mnist.test is not None
    assert {role: len(split) for role, split in mnist.splits().items()} == {
        "train": 48_000,
        "validation": 12_000,
        "test": 10_000,
    }
    assert mnist.classes.tolist() == list(range(10))
    assert mnist.scale == 1 / 255
    assert mnist.image_shape == (28, 28)


def test_known_labels_and_density(mnist: Dataset) -> None:
    assert mnist.train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert mnist.describe()["density"] == pytest.approx(0.1912, abs=1e-4)


def test_fingerprint_is_pinned(mnist: Dataset) -> None:
    assert mnist.fingerprint == "d5c408474e6732afdc5317cf5bb1393541738dbd670eef7fc029c5c472eb26f9"


def test_split_options(mnist: Dataset) -> None:
    other = load_dataset("mnist", validation=1000, split_seed=1, stratify=True)
    assert other.validation is not None
    counts = np.bincount(other.train.labels[other.validation.indices])
    np.testing.assert_allclose(counts, np.bincount(mnist.train.labels) / 60, atol=1)
    assert other.fingerprint != mnist.fingerprint


@pytest.mark.parametrize("name", MD5)
def test_files_are_the_original_ones(name: str) -> None:
    array = read_idx(MNIST_FOLDER / f"{name}.gz")
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    assert hashlib.md5(header + array.tobytes()).hexdigest() == MD5[name]


def test_licence_and_attribution_lie_beside_the_files() -> None:
    assert "Attribution-ShareAlike 3.0" in (MNIST_FOLDER / "LICENSE").read_text()
    readme = (MNIST_FOLDER / "README.md").read_text()
    assert "Yann LeCun" in readme
    assert "Corinna Cortes" in readme


def test_damaged_installation(tmp_path: Path) -> None:
    folder = tmp_path / "mnist"
    shutil.copytree(MNIST_FOLDER, folder)
    with (folder / "t10k-labels-idx1-ubyte.gz").open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte.gz: expected the file with SHA-256 b91679a0"):
        load_mnist(folder)
    (folder / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(
        DataError, match=r"train-images-idx3-ubyte.gz: expected a file that can be opened, found no such"
    ):
        load_mnist(folder)


def test_importing_the_package_is_light() -> None:
    code = "import sys, fastfnn.data as d; d.load_dataset('mnist'); print([m for m in %r if m in sys.modules])"
    heavy = ("scipy", "sklearn", "pooch", "numba", "requests")
    done = subprocess.run([sys.executable, "-c", code % (heavy,)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_digits() -> None:
    data = load_dataset("digits")
    assert {role: len(split) for role, split in data.splits().items()} == {
        "train": 1150,
        "validation": 288,
        "test": 359,
    }
    assert data.train.features.dtype == np.uint8
    assert data.train.features.max() == 16
    assert data.scale == 1 / 16
    assert data.image_shape == (8, 8)


def test_digits_keep_their_test_set_for_every_split_seed() -> None:
    one, other = load_dataset("digits", split_seed=1), load_dataset("digits", split_seed=2)
    assert one.test is not None
    assert other.test is not None
    np.testing.assert_array_equal(one.test.features, other.test.features)
    assert not np.array_equal(one.train.indices, other.train.indices)
