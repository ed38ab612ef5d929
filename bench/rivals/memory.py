"""Whether the dense rows of all peers fit into memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fastfnn.data import Dataset

from . import RIVALS

FLOAT32_BYTES = 4
USABLE = 0.8  # of the memory that is free: processes need some for themselves


def available_bytes() -> float:
    """Memory that can be had without swapping; infinite where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return float("inf")
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return found[0] if found else float("inf")


def that_fit(
    wanted: Sequence[tuple[str, int]], data: Dataset, available: float
) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """The (peer, threads) whose dense rows fit beside each other, those asked for first before others; and the rest."""
    dense_bytes = data.train.features.shape[0] * data.n_features * FLOAT32_BYTES
    budget, fitting, left_out = USABLE * available, [], []
    for peer, threads in wanted:
        needed = RIVALS[peer].copies * dense_bytes
        if needed <= budget:
            budget -= needed
            fitting.append((peer, threads))
        else:
            left_out.append((peer, threads))
    return fitting, left_out
