"""What kernels are given: rows of features, the layout of a network in flat buffers, the buffers, the settings.

Named tuples of arrays and numbers, which the compiler unpacks without a copy, and the sizes on which kernels and their
callers agree. Shapes: N examples, B examples of a batch, K features in, H units out of a layer, C classes, L layers
with weights; V lanes of a vector (16 float32, 8 float64).

A block is a run of consecutive examples of a batch that goes through the layers together, as tiles of V examples. The
workspace holds, for each layer, (tiles, units, V) values: a unit of a tile is one vector, whose lanes are examples.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastfnn.kernels.processor import ROOMY, VECTOR_BYTES

Integers = NDArray[np.int64]
Reals = NDArray[Any]  # of the network's dtype

RELU, IDENTITY, LOGISTIC, TANH = range(4)
RECORDS, RECORDS_BY_KIND = 1, 2
IN_SCRATCH, VALUES_IN_PLACE, BYTES_IN_PLACE = range(3)  # what the update of dense features multiplies where it lies
BATCHNORM_OFF, BATCHNORM_BEFORE, BATCHNORM_AFTER = range(3)
SGD, MOMENTUM, NESTEROV, ADAM, ADAMW = range(5)

EVALUATION_BLOCK = 128  # examples; fixed, so that a result does not depend on the batch size of the run
EXAMPLES_PER_PASS = 64  # of an update of dense features, so that what it needs of them stays in the nearest cache
FEATURES_TOGETHER = 64  # dense features, or words of four, whose values for a pass or a grid of tiles stay there too
FEATURES_OF_SUM = 256  # bytes whose products with digits are summed as integers, exactly even as a float32
TILES_TOGETHER = 4 if ROOMY else 1  # of a grid of sums
EXAMPLES_TOGETHER = 128  # of a block, that go through the first layer, or through matrix registers, together
TILES_OF_BYTES = 2  # of a grid of sums of products of bytes, or as many vectors of features
WORDS_OF_FEATURES = max(  # of four bytes each: those of the tiles, or of the examples of a pass
    TILES_OF_BYTES * FEATURES_OF_SUM * VECTOR_BYTES // 4 // 4, EXAMPLES_TOGETHER * FEATURES_TOGETHER // 4
)
PARTS = 3  # bfloat16 numbers that make up a float32
NARROW_UNITS = 32  # at most, of which all squares are multiplied by one square of values after the other
TERMS_OF_SQUARES = 32  # squares of terms of a product in them, for which there is room
BYTES_PER_LINE = 64
ROWS_AHEAD = 32  # far enough for rows of large data, near enough to be in the second-level cache still
ROWS_AT_ONCE = 16  # whose first lines are asked for together, and which are looked up together
WORDS_OF_ROW = 3  # that say where its listed values are
FILLED_TO = 4  # the listed features of a record are filled up to a multiple of this many
TILES_BY_ROWS = 2  # of a batch, up to which gradients of narrow layers are computed from rows too
MOST_GROUPS = 4  # of blocks of a batch, whose gradients are summed on their own; each is one thread's work
FLAG_STRIDE = 16  # from a thread's flag to the next one's: two cache lines, which processors fetch in pairs
SMALLEST_DETERMINANT = 0.1  # of what lazy momentum has to multiply out, and of a step that is done lazily
EPSILON = 1e-5  # what batch norm adds to the variance, unless the settings say otherwise


class Rows(NamedTuple):
    """Rows of features in two groups: the first `dense` ones all have a value, of the others those that are not zero.

    Without records, rows are those of a matrix (N, K) of dense features alone. With records, row i begins at cache line
    entries[2 * i] of the values and has `dense` of them, a multiple of 16, then those of entries[2 * i + 1] listed
    features, a multiple of four, and then their columns, counted from the first feature that is not dense. Listed
    features are filled up with zeros of the column behind the last one.

    Entries are read in random order: half the bytes are half the cache lines.
    """

    entries: NDArray[np.uint32]  # (2 N,) with records
    columns: NDArray[Any]  # the records as uint16 or uint32
    values: NDArray[Any]  # the records, or the matrix, as uint8, float32 or float64
    dense: int
    records: int  # 0 or RECORDS, or RECORDS_BY_KIND for a thread that reads dense or listed values, not both


class Share(NamedTuple):
    """Features of the first layer: all of them, or those that one thread updates.

    Of the listed ones, example i has those from cuts[i * cuts_stride] to the next entry.
    """

    feature_begin: int  # of the dense ones, padded: whole vectors
    feature_end: int
    cuts: NDArray[np.int32]  # of the listed ones
    cuts_stride: int  # 0 where it has all of them, negative where there are none
    weights_ahead: int  # of how many examples later the weights of listed ones are asked for; 0 where they are near


class Cuts(NamedTuple):
    """Which of the listed features of each row are in a share, as there."""

    numbers: NDArray[np.int32]
    stride: int


class Ranges(NamedTuple):
    """Ranges of the parameters in whole vectors, begin and end, unless it is said otherwise."""

    size: int  # how many
    numbers: Integers  # of one range after the other


class Part(NamedTuple):
    """What one thread of a team does."""

    thread: int
    threads: int
    first_layer: Ranges  # of the first layer's weights
    dense: Ranges  # of these, those of dense features
    listed: Ranges  # and those of listed ones
    others: Ranges  # of biases and batch norm, and of later weights of layers together: all of them, for one thread
    rows: Ranges  # of the rows of later weights: layer, first row, last row
    flags: Integers  # arrivals of each thread at the barrier, and whether the team is dissolved; see `team`
    dense_threads: int  # of the team: they go through the dense features, the others through the listed ones; or 0
    give_way: Any  # address of a function that offers the core to other threads; 0 where there is none


class Targets(NamedTuple):
    """What the network's answers are compared with."""

    labels: NDArray[np.int32]  # (N,) class numbers
    weights: NDArray[np.float64]  # (N,) of the examples in the loss; empty where all are 1
    weighted: bool


class Examples(NamedTuple):
    """The examples order[first : first + size]; those behind them, to `end`, come next."""

    order: Integers
    end: int
    first: int
    size: int


class DenseWeights(NamedTuple):
    """The weights of the dense features, or their gradient, somewhere in `values`; see `Layout`."""

    values: Reals
    at: int
    stride: int  # from a vector of features, or from a feature, to the next one
    units: int


class Panel(NamedTuple):
    """The weights between the listed features and the units of one panel, or their gradient, somewhere in `values`."""

    values: Reals
    main_at: int  # offset of feature 0's wide vector
    main_stride: int  # from a feature's wide vector to the next one's
    tail_at: int  # offset of feature 0's narrow vector; these lie one after the other


class Outputs(NamedTuple):
    """The first layer's outputs, for all units or some, or their gradient: rows of examples, or tiles."""

    values: Reals
    at: int  # offset of the first one's first unit
    stride: int  # from an example, or a tile, to the next one


class Inputs(NamedTuple):
    """The rows without their type, and the compiled code that knows it; see `binding`."""

    rows: Any  # the fields of a `Rows`, addresses in place of arrays
    whole: Any  # the fields of the `Share` that is multiplied, likewise
    share: Any  # those of the one that is updated
    dense_forward: Any  # (1,) address of the forward function for dense features; 0 where there are none
    dense_update: Any  # (1,) likewise; 0 where there is no training
    forward: Any  # (panels,) addresses of the forward functions for listed features; 0 where there are none
    update: Any  # (panels,) likewise; 0 where there is no training
    at_once: Any  # (2,) those of the functions for both, forward and in the update; 0 where each has its own
    scratch: Reals  # values in the network's dtype
    found: Integers  # (ROWS_AT_ONCE * WORDS_OF_ROW,) where the listed features of a few rows are
    starts: Integers  # (EXAMPLES_TOGETHER + 1,) where rows begin; 1 where `dense_by_bytes` knows the weights


class Layout(NamedTuple):
    """Where things are. All offsets count elements.

    First-layer weights of dense features lie unit by unit, (dense_features / V, H, V), or feature by feature,
    (dense_features, dense_stride), filled up with zeros to whole vectors. Those of listed features are input-major in
    two parts: whole vectors, `main_width` units a feature, and what remains, as the half or quarter vector that holds
    it, `tail_width` units a feature. Later weights are (K, H) matrices whose rows are filled up with zeros to whole
    vectors.

    The workspace has room for a whole batch. Gradients of a layer's linear outputs are rows too where it pays: the
    first layer's an example a row, later ones a lane of a tile a row.
    """

    depth: int  # L
    units: Integers  # (L + 1,) units of each layer, features first
    dense_features: int  # to whole vectors
    dense_weights: int  # offset of the first layer's weights of dense features
    dense_stride: int  # from a vector of features, or from a feature, to the next one
    dense_by_feature: bool
    weights: Integers  # (L,) offsets in the parameters, for the first layer of the listed features' whole vectors
    biases: Integers  # (L,)
    scale: Integers  # (L - 1,) with batch norm
    shift: Integers  # (L - 1,)
    main_width: int
    tail_width: int
    tail_weights: int  # offset of the narrow ones
    panels: int
    panel_units: Integers  # (panels,) the first unit of each panel
    row_widths: Integers  # (L + 1,) from a row of values of a layer's units to the next one: later weights, gradients
    weights_end: int  # weights end here, biases and batch norm follow
    parameters_end: int
    by_matrix: Integers  # (L + 1,) whether matrix registers pay for the weights before each layer
    trains_by_matrix: bool  # whether they do for batches as small as these
    trains_by_bytes: bool  # whether fixed-point numbers are worth making for them
    allocated_units: Integers  # (L + 1,) units of each layer for which the workspace has room
    activations: Integers  # (L + 1,) offsets in the workspace; entry 0 is not used
    gradients: Integers  # (L + 1,)
    unnormalised: Integers  # (L + 1,) what batch norm is given
    normalised: Integers  # (L + 1,)
    means: Integers  # (L + 1,) of each unit over the examples of a block, a number a unit
    deviations: Integers  # (L + 1,) one over the standard deviation, a number a unit
    rows: Integers  # (L + 1,) gradients as rows; negative where there are none
    partial_weights: Integers  # (L,) offsets in the partial gradients; negative for layers whose gradients are rows
    partial_biases: Integers  # (L,)
    partial_size: int  # of a block
    lane_mask: int  # (V,) ones for the examples of a block's last tile, zeros behind them
    running_mean: Integers  # (L - 1,) offsets in the running statistics
    running_variance: Integers  # (L - 1,)
    layers_together: bool  # whether a block goes through all layers behind the first in one call: see `narrow_layers`
    block: int  # examples of every block of a batch but the last one
    first_layer_by_blocks: bool  # whether its gradient is summed a block at a time, while its rows are near
    first_layer_by_kinds: bool  # whether threads divide its dense and its listed features, and not the examples
    first_layer_by_groups: bool  # whether its gradient is summed beside the weights, for each group of blocks apart
    first_layer_size: int  # elements of its weights, which come first of all parameters


class Buffers(NamedTuple):
    """The memory of one run; everything is allocated before the first step."""

    parameters: Reals
    gradients: Reals  # laid out as the parameters
    partials: Reals  # (blocks, partial_size) gradients of narrow layers and of biases, block by block
    group_gradients: Reals  # (MOST_GROUPS, first_layer_size) the first layer's by groups of blocks, or empty
    first_moment: Reals  # likewise; empty where the optimiser has none
    second_moment: Reals
    running: Reals  # running means and variances
    workspace: Reals
    losses: NDArray[np.float64]  # (tiles,) of the examples of each tile
    correct: Integers  # (tiles,)
    scratch: Reals  # (2 * V * row_widths[1] + 4 * V,)
    squares: Reals  # what matrix registers are loaded from; empty where layers behind the first use none
    counters: NDArray[np.uint32]  # (V,) example numbers of a tile
    factor: NDArray[np.float64]  # (1,) the first layer's weights are this times what is stored
    lazy: NDArray[np.float64]  # (5,) P of `lazy_momentum`, by rows, and how many steps it is of; a thread has its own


class Statistics(NamedTuple):
    """How batch norm normalises in training."""

    epsilon: float
    on_deviation: bool  # whether epsilon is added to the standard deviation, else to the variance
    unbiased: bool  # whether the variance is divided by the number of examples less one
    affine: bool  # whether scale and shift are trained
    unchanged: bool  # whether the gradient is passed on as if there were no normalisation


class Settings(NamedTuple):
    """The options of a run, as numbers."""

    training: bool  # else dropout is off and batch norm uses the running statistics
    feature_scale: float
    batch_size: int
    rectified: bool  # whether the activation is ReLU
    activation: Any  # (2,) addresses of the forward and the backward function of another one; see `binding`
    normalisation: Any  # (2,) those of batch norm; 0 where there is none
    dropout: Any  # (1,) that of dropout; 0 where there is none
    layers: Any  # (1,) that of all layers behind the first together; 0 where they are passed one by one
    matrix: Any  # (2,) those of products and of gradients in matrix registers; 0 where none are
    update: Any  # (1,) that of the optimiser; 0 where there is no training
    batchnorm: int
    statistics: Statistics
    optimizer: int
    momentum: float
    lazy: bool  # whether it is lazy for the weights of listed features; see `lazy_momentum`
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
