"""How early the weights of listed features are asked for.

Those of many columns do not fit a near cache, and the processor does not know which ones come next; it only sees a few
features ahead. While one example is multiplied, or changes its weights, those of a later one can be on their way.
`bench/peers.py --synthetic 20000x20000@0.005 --hidden 64` measures it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastfnn.kernels import Rows, Share
from fastfnn.kernels.memory import round_up
from fastfnn.kernels.processor import VECTOR_BYTES
from fastfnn.kernels.structures import ROWS_AHEAD
from fastfnn.layout import FEATURES_PER_VECTOR, PANEL_VECTORS

Array = NDArray[Any]

EXAMPLES_AHEAD = 2
BYTES_OF_EXAMPLES = 9 * 256 * 1024  # of a panel's weights, above which it pays to ask for those of each example
BYTES_OF_BATCH = 6 * 256 * 1024  # likewise for those of the next batch, of which all are still near when it comes
BYTES_NEAR = 900 * 1024  # of weights, up to which those of two batches stay near


def whole_share(rows: Rows, weights_ahead: int = 0) -> Share:
    """All features."""
    dense = round_up(rows.dense, FEATURES_PER_VECTOR)
    return Share(0, dense, np.empty(0, np.int32), 0, weights_ahead)


def bytes_of_panel(feature_bytes: int, listed: int) -> int:
    """Of the weights that are gone through at a time, where so many features are listed; `feature_bytes` are of one."""
    return min(feature_bytes, PANEL_VECTORS[0] * VECTOR_BYTES) * listed


def examples_ahead(feature_bytes: int, listed: int) -> int:
    """Of how many examples later weights are asked for, 0 for none; so many features are listed."""
    return EXAMPLES_AHEAD if bytes_of_panel(feature_bytes, listed) > BYTES_OF_EXAMPLES else 0


def next_batch_pays(feature_bytes: int, densities: Array, batch_size: int) -> bool:
    """Whether an update asks for the next batch's weights, beside its own; `densities` (K - dense,) of the features.

    By then, its rows must have been asked for too.
    """
    touched = feature_bytes * float((1 - np.exp(-2 * batch_size * densities)).sum())
    far = bytes_of_panel(feature_bytes, len(densities)) > BYTES_OF_BATCH
    return far and touched <= BYTES_NEAR and batch_size <= ROWS_AHEAD
