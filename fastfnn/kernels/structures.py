"""What kernels are given: rows of features, the layout of a network in flat buffers, the buffers, the settings.

Named tuples of arrays and numbers, which Numba unpacks without a copy. Shapes: N examples, B examples of a batch, K
features in, H units out of a layer, C classes, L layers with weights; V lanes of a vector (16 float32, 8 float64).

A block is a run of consecutive examples of a batch that goes through the layers together, as tiles of V examples. The
workspace holds, for each layer, (tiles, units, V) values: a unit of a tile is one vector, whose lanes are examples.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Reals = NDArray[Any]  # of the network's dtype

BATCHNORM_OFF, BATCHNORM_BEFORE, BATCHNORM_AFTER = range(3)
SGD, MOMENTUM, NESTEROV, ADAM, ADAMW = range(5)


class SparseRows(NamedTuple):
    """Compressed rows: row i has values[offsets[i] : offsets[i + 1]] in the same range of columns."""

    offsets: Integers  # (N + 1,)
    columns: NDArray[Any]  # (non-zeros,) uint16 or uint32
    values: NDArray[Any]  # (non-zeros,) uint8, float32 or float64


class DenseRows(NamedTuple):
    """Rows one after the other."""

    values: NDArray[Any]  # (N * K,) uint8, float32 or float64
    features: int  # K


class Examples(NamedTuple):
    """The examples order[first : first + size]; those behind them come next."""

    order: Integers
    first: int
    size: int


class Panel(NamedTuple):
    """The weights between all features and the units of one panel, or their gradient, somewhere in `values`."""

    values: Reals
    main_at: int  # offset of feature 0's wide vector
    main_stride: int  # from a feature's wide vector to the next one's
    tail_at: int  # offset of feature 0's narrow vector; these lie one after the other


class Outputs(NamedTuple):
    """The first layer's outputs for the units of one panel, or their gradient: an example a row."""

    values: Reals
    at: int  # offset of the first example's first unit
    stride: int  # from an example to the next


class Inputs(NamedTuple):
    """The rows without their type, and the compiled code that knows it; see `panels`."""

    rows: Any  # (3,) addresses of a SparseRows' arrays, or features, 0 and the address of a DenseRows' values
    forward: Any  # (panels,) addresses of the forward functions
    update: Any  # (panels,) addresses of the update functions; empty where there is no training


class Layout(NamedTuple):
    """Where things are. All offsets count elements.

    First-layer weights are input-major in two parts: whole vectors, `main_width` units a feature, and what remains, as
    the half or quarter vector that holds it, `tail_width` units a feature. Later weights are (K, H) matrices.
    """

    units: Integers  # (L + 1,) units of each layer, features first
    weights: Integers  # (L,) offsets in the parameters
    biases: Integers  # (L,)
    scale: Integers  # (L - 1,) with batch norm
    shift: Integers  # (L - 1,)
    main_width: int
    tail_width: int
    tail_weights: int  # offset of the first layer's second part
    panels: Integers  # (panels, 3): units in wide vectors, units in the narrow one of the tail, first unit
    row_width: int  # units of the first layer, rounded up to whole vectors
    weights_end: int  # weights end here, biases and batch norm follow
    parameters_end: int
    allocated_units: Integers  # (L + 1,) units of each layer for which the workspace has room
    activations: Integers  # (L + 1,) offsets in the workspace; entry 0 is not used
    gradients: Integers  # (L + 1,)
    rectified: Integers  # (L + 1,) outputs of the ReLU where batch norm follows it
    normalised: Integers  # (L + 1,)
    deviations: Integers  # (L + 1,) one over the standard deviation, a number a unit
    lane_mask: int  # (tiles, V) ones for the examples of the block, zeros behind them
    running_mean: Integers  # (L - 1,) offsets in the running statistics
    running_variance: Integers  # (L - 1,)
    block: int  # most examples of a block


class Buffers(NamedTuple):
    """The memory of one run; everything is allocated before the first step."""

    parameters: Reals
    gradients: Reals  # laid out as the parameters
    first_moment: Reals  # likewise; empty where the optimiser has none
    second_moment: Reals
    running: Reals  # running means and variances
    workspace: Reals
    first_layer_rows: Reals  # (B, row_width) gradients of the first layer's outputs, an example a row
    scratch: Reals  # (V * row_width + 4 * V,)
    counters: NDArray[np.uint32]  # (V,) example numbers of a tile
    factor: NDArray[np.float64]  # (1,) the first layer's weights are this times what is stored


class Settings(NamedTuple):
    """The options of a run, as numbers."""

    training: bool  # else dropout is off and batch norm uses the running statistics
    feature_scale: float
    batch_size: int
    batchnorm: int
    optimizer: int
    momentum: float
    beta1: float
    beta2: float
    epsilon: float
    decay: float  # factor of W in the gradient of the penalty
    decay_per_batch: bool  # whether it is divided by the number of examples of the batch
    dropout_thresholds: NDArray[np.uint32]  # (L - 1,) random bits below are dropped
    dropout_scales: NDArray[np.float64]  # (L - 1,) 1 / (1 - p)


class Steps(NamedTuple):
    """Which steps to do: first..last-1 of an epoch; see `fastfnn.training.Stretch`."""

    order: Integers
    first: int
    last: int
    step: int
    learning_rates: NDArray[np.float64]
    dropout_keys: NDArray[np.uint32]
