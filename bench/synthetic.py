"""Made-up rows: as many as wanted that look like MNIST's, and rows of any density, the same in all columns or not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastfnn.data import Dataset, load_dataset

MAPPED_FROM = 10**9
"""Bytes from which rows are mapped from their file and not read into memory."""

CLASSES = 10
FEATURES_FILE, LABELS_FILE = "features.npy", "labels.npy"


def write_mnist_like(folder: Path, rows: int) -> None:
    """Writes so many rows: those of MNIST's training, over and over, each time with other values for those not zero.

    So the density of every feature is MNIST's, and the work for a row does not depend on how many there are. Chunk by
    chunk, through a map: memory stays small.
    """
    split = load_dataset("mnist").train
    images = np.asarray(split.features)[split.indices]
    shape = (rows, images.shape[1])
    features = np.lib.format.open_memmap(folder / FEATURES_FILE, mode="w+", dtype=np.uint8, shape=shape)
    for turn, first in enumerate(range(0, rows, len(images))):
        others = np.where(images > 0, 1 + (images.astype(np.uint16) - 1 + turn) % 255, 0)
        features[first : first + len(images)] = others[: rows - first]
    if features.nbytes > MAPPED_FROM:
        features.flush()  # lest the disk be busy with it while epochs are timed
    np.save(folder / LABELS_FILE, np.resize(split.labels[split.indices], rows))


def read_rows(folder: Path) -> tuple[Dataset, bool]:
    """The rows of a folder, all of them for training, and whether they are mapped."""
    mapped = (folder / FEATURES_FILE).stat().st_size > MAPPED_FROM
    features = np.load(folder / FEATURES_FILE, mmap_mode="r" if mapped else None)
    return Dataset.from_arrays(features, np.load(folder / LABELS_FILE), validation=0), mapped


def rows_of_density(rows: int, columns: int, density: float, *, uneven: bool = False, seed: int = 0) -> Dataset:
    """Bytes of which this share, at random places, is not zero, with labels in turn.

    Uneven, the share differs from column to column as in images, whose edges are empty and whose middle is full: it is
    u ** (1 / density - 1) for u evenly between 0 and 1, in random order, whose mean is the density.
    """
    generator = np.random.default_rng(seed)
    values: NDArray[np.uint8] = generator.integers(1, 256, (rows, columns), dtype=np.uint8)
    middles = (np.arange(columns) + 0.5) / columns
    shares = generator.permutation(middles ** (1 / density - 1)) if uneven else density
    values[generator.random((rows, columns), dtype=np.float32) >= shares] = 0
    return Dataset.from_arrays(values, np.resize(np.arange(CLASSES), rows), validation=0)
