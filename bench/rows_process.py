"""Trains on the rows of a folder in a process of its own: tells its memory, then times epochs on request.

Started by scaling.py; a process of its own, since memory that was needed once is seldom given back. Asked for "epoch"
or "reading", it does an epoch, or reads its rows.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from children import serve
from reading import reader
from synthetic import read_rows

from fastfnn.benchmarks.epochs import Epochs
from fastfnn.benchmarks.memory import PeakPrivateMemory, memory_now
from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.kernels import Rows
from fastfnn.rows import order_of_features, rows_of_split


def load(folder: Path, config: TrainingConfig) -> tuple[dict[str, Callable[[], float]], dict[str, Any]]:
    """Timers; the first epoch is done: memory before the rows are read and at its peak, and the size of the rows."""
    Epochs(tiny_data(), config)  # loads the kernels
    before = memory_now()
    with PeakPrivateMemory() as peak:
        data, mapped = read_rows(folder)
        epochs = Epochs(data, config)
        epochs.time_epoch()
    rows = rows_of_split(data, data.train, order_of_features(data, config.input), config.dtype)
    time_reading, read_bytes = reader(rows, data.train.indices)
    return {"epoch": epochs.time_epoch, "reading": time_reading}, {
        "rows": len(data.train),
        "steps": epochs.steps,
        "load_seconds": epochs.engine.load_seconds,
        "features_bytes": data.train.features.nbytes,
        "features_mapped": mapped,
        "rows_bytes": stored_bytes(rows),
        "read_bytes": read_bytes,
        "private_bytes_before": before,
        "peak_private_bytes": peak.bytes,
        "peak_resident_bytes": memory_now("VmHWM"),
    }


def tiny_data() -> Dataset:
    """Rows with dense features and others, as MNIST's have."""
    features = np.hstack((np.ones((20, 16), np.uint8), np.eye(20, dtype=np.uint8)))
    return Dataset.from_arrays(features, np.arange(20) % 2, validation=0)


def stored_bytes(rows: Rows) -> int:
    """The memory of the rows; arrays that begin at one place are two views of it."""
    arrays = [field for field in rows if isinstance(field, np.ndarray)]
    return sum({array.ctypes.data: array.nbytes for array in arrays}.values())


def main() -> None:
    folder, config = sys.argv[1:]
    serve(*load(Path(folder), TrainingConfig.from_json(config)))


if __name__ == "__main__":
    main()
