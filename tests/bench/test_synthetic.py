"""Made-up rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import synthetic

from fastfnn.data import Dataset


@pytest.fixture
def images(small_mnist: Dataset, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """What is taken for MNIST."""
    monkeypatch.setattr(synthetic, "load_dataset", lambda name: small_mnist)
    return small_mnist


def test_rows_like_mnist(images: Dataset, tmp_path: Path) -> None:
    n = len(images.train)
    synthetic.write_mnist_like(tmp_path, n + 100)
    data, mapped = synthetic.read_rows(tmp_path)
    original = images.train.features[images.train.indices]
    labels = images.train.labels[images.train.indices]
    features = np.asarray(data.train.features)
    assert not mapped
    assert len(data.train) == n + 100
    np.testing.assert_array_equal(features[:n], original)
    np.testing.assert_array_equal(features[n:] > 0, original[:100] > 0)
    assert (features[n:][original[:100] == 17] == 18).all()
    assert (features[n:][original[:100] == 255] == 1).all()
    np.testing.assert_array_equal(data.train.labels, np.concatenate((labels, labels[:100])))


def test_large_files_are_mapped(images: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "MAPPED_FROM", 1000)
    synthetic.write_mnist_like(tmp_path, 20)
    data, mapped = synthetic.read_rows(tmp_path)
    assert mapped
    assert isinstance(data.train.features, np.memmap)
    np.testing.assert_array_equal(data.train.features, images.train.features[images.train.indices[:20]])


@pytest.mark.parametrize("density", [0.01, 0.5, 1.0])
def test_rows_of_a_density(density: float) -> None:
    data = synthetic.rows_of_density(500, 200, density)
    assert data.describe()["density"] == pytest.approx(density, abs=0.01)
    assert data.n_classes == synthetic.CLASSES


@pytest.mark.parametrize("density", [0.05, 0.5])
def test_columns_of_uneven_rows_differ_around_the_density(density: float) -> None:
    data = synthetic.rows_of_density(500, 200, density, uneven=True)
    shares = np.count_nonzero(np.asarray(data.train.features), axis=0) / 500
    assert shares.mean() == pytest.approx(density, abs=0.01)
    assert shares.min() < 0.1 * density
    assert shares.max() > 0.9
