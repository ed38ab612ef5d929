"""Bands of listed features, whose weights stay in a near cache while a whole batch goes over them.

The weights of many columns do not fit there. Where most of them occur in a batch, every example asks for some that have
left the cache since; band by band, they come once. `bench/peers.py --synthetic 20000x20000@0.005 --hidden 64` measures
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastfnn import kernels
from fastfnn.kernels import Rows, Share
from fastfnn.kernels.memory import round_up
from fastfnn.kernels.processor import VECTOR_BYTES
from fastfnn.layout import FEATURES_PER_VECTOR, PANEL_VECTORS

Array = NDArray[Any]

BYTES_OF_BAND = 640 * 1024  # of weights: they leave room for the rows, and for their products or gradients
BYTES_OF_CACHE = 5 * 1024 * 1024 // 2  # of weights that a batch touches, above which bands pay
VALUES_OF_BAND = 10  # of a row, on average, below which going to the row once more costs more than it gains


def bands_that_pay(row_bytes: int, densities: Array, examples: int) -> int:
    """In how many bands the listed features of these densities (K - dense,) are gone through, for so many examples.

    `row_bytes` are a feature's weights.
    """
    touched = row_bytes * float((1 - np.exp(-examples * densities)).sum())
    if touched < BYTES_OF_CACHE:
        return 1
    of_panel = min(row_bytes, PANEL_VECTORS[0] * VECTOR_BYTES) * len(densities)
    return max(1, min(-(-of_panel // BYTES_OF_BAND), int(densities.sum() / VALUES_OF_BAND)))


def cut_rows(rows: Rows, ends: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int32]:
    """(N, bands + 1) where the listed values of each row are cut; the features of band b end before ends[b]."""
    cuts = np.zeros((len(rows.entries) // 2, len(ends) + 1), np.int32)
    if rows.records:
        kernels.cut_records(rows.entries, rows.columns, rows.values, rows.dense, np.asarray(ends, np.int64), cuts)
    return cuts


def ends_of_bands(begin: int, end: int, bands: int) -> NDArray[np.int64]:
    """(bands,) the feature behind the last one of each band of begin..end-1; bands are of about the same size."""
    return np.linspace(begin, end, bands + 1).astype(np.int64)[1:]


def whole_share(rows: Rows, listed: int = 0, bands: int = 1) -> Share:
    """All features, the listed ones, of which there are so many, in bands."""
    cuts, stride = np.empty(0, np.int32), 0
    if bands > 1:
        cuts, stride = cut_rows(rows, ends_of_bands(0, listed, bands)).reshape(-1), bands + 1
    return Share(0, round_up(rows.dense, FEATURES_PER_VECTOR), cuts, stride, bands)
