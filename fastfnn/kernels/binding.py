"""The first layer's code for one kind of rows, and activations, compiled on their own and called through addresses.

Rows come in many kinds, panels in many widths, and most runs have the same activation; compiled into the steps, all of
it would be compiled for every run. So the steps know none: they call what they are given, and a run compiles what it
needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from threading import Lock
from typing import Any

import numpy as np
from numba import from_dtype, types

from fastfnn.kernels import activations, dense_by_feature, dense_by_unit, dense_features, panels
from fastfnn.kernels.compilation import INTERPRETED, compile_callback
from fastfnn.kernels.memory import aligned_zeros
from fastfnn.kernels.simd import ROOMY, VECTOR_BYTES, zeros
from fastfnn.kernels.structures import RELU, DenseWeights, Examples, Inputs, Outputs, Panel, Rows, Share

# Features of which an update keeps the sums of five units in registers.
WIDE_BYTES = 4 * VECTOR_BYTES if ROOMY else VECTOR_BYTES
Function = Callable[..., None]

# The makers' functions are named by what they do, and their closures hold numbers alone, so that they can be cached.
# Every one of the first layer begins with the fields of `Rows` and `Examples`.


def make_dense_forward(four_bytes: int, direct_bytes: int) -> Function:
    """`dense_features.forward`."""

    # fmt: off
    def dense_forward(
        entries, columns, values, dense, records, stride, order, n, first, count,
        weights, weights_at, weights_stride, units, z, z_at, z_stride, scratch,
    ):
        # fmt: on
        rows = Rows(entries, columns, values, dense, records, stride)
        examples = Examples(order, n, first, count)
        matrix = DenseWeights(weights, weights_at, weights_stride, units)
        outputs = Outputs(z, z_at, z_stride)
        like, four, direct = zeros(scratch, VECTOR_BYTES), zeros(scratch, four_bytes), zeros(scratch, direct_bytes)
        dense_features.forward(rows, examples, matrix, outputs, scratch, like, four, direct)

    return dense_forward


def make_dense_update(wide_bytes: int, direct_bytes: int) -> Function:
    """`dense_features.update`."""

    # fmt: off
    def dense_update(
        entries, columns, values, dense, records, stride, order, n, first, count,
        feature_begin, feature_end, cuts, cuts_stride,
        target, target_at, target_stride, units, dz, dz_at, dz_stride, scratch,
    ):
        # fmt: on
        rows = Rows(entries, columns, values, dense, records, stride)
        examples = Examples(order, n, first, count)
        share = Share(feature_begin, feature_end, cuts, cuts_stride)
        matrix = DenseWeights(target, target_at, target_stride, units)
        gradient = Outputs(dz, dz_at, dz_stride)
        like, wide, direct = zeros(scratch, VECTOR_BYTES), zeros(scratch, wide_bytes), zeros(scratch, direct_bytes)
        dense_features.update(rows, examples, share, matrix, gradient, scratch, like, wide, direct)

    return dense_update


def make_forward(main_bytes: int, tail_bytes: int) -> Function:
    """`panels.forward_panel` for a panel."""

    # fmt: off
    def forward(
        entries, columns, values, dense, records, stride, order, n, first, count,
        weights, main_at, main_stride, tail_at, scale, biases_at, z, z_at, z_stride, scratch, ahead,
    ):
        # fmt: on
        rows = Rows(entries, columns, values, dense, records, stride)
        examples = Examples(order, n, first, count)
        panel = Panel(weights, main_at, main_stride, tail_at)
        outputs = Outputs(z, z_at, z_stride)
        main, tail, like = zeros(scratch, main_bytes), zeros(scratch, tail_bytes), zeros(scratch, VECTOR_BYTES)
        panels.forward_panel(rows, examples, panel, scale, biases_at, outputs, scratch, ahead, main, tail, like)

    return forward


def make_update(main_bytes: int, tail_bytes: int) -> Function:
    """`panels.update_panel` for a panel."""

    # fmt: off
    def update(
        entries, columns, values, dense, records, stride, order, n, first, count,
        feature_begin, feature_end, cuts, cuts_stride,
        target, main_at, main_stride, tail_at, dz, dz_at, dz_stride, scratch,
    ):
        # fmt: on
        rows = Rows(entries, columns, values, dense, records, stride)
        examples = Examples(order, n, first, count)
        share = Share(feature_begin, feature_end, cuts, cuts_stride)
        panel = Panel(target, main_at, main_stride, tail_at)
        gradient = Outputs(dz, dz_at, dz_stride)
        main, tail, like = zeros(scratch, main_bytes), zeros(scratch, tail_bytes), zeros(scratch, VECTOR_BYTES)
        panels.update_panel(rows, examples, share, panel, gradient, scratch, main, tail, like)

    return update


def make_activate(activation: int) -> Function:
    """`activations.forward` for an activation."""

    def activate(workspace, at, count):
        activations.forward(workspace, at, count, activation, zeros(workspace, VECTOR_BYTES))

    return activate


def make_activate_backward(activation: int) -> Function:
    """`activations.backward` for an activation."""

    def activate_backward(workspace, da_at, a_at, count, scale):
        activations.backward(workspace, da_at, a_at, count, scale, activation, zeros(workspace, VECTOR_BYTES))

    return activate_backward


@cache
def pointer(dtype: Any) -> Any:
    """Numba's type of a pointer to values of a NumPy dtype."""
    return types.CPointer(from_dtype(np.dtype(dtype)))


def signature(rows: Rows, dtype: Any, make: Callable[..., Function]) -> Any:
    """The signature of what `make` makes, for this kind of rows and this dtype of the network."""
    word, reals = types.int64, pointer(dtype)
    of_rows = (pointer(np.int64), pointer(rows.columns.dtype), pointer(rows.values.dtype), word, word, word)
    of_examples = (pointer(np.int64), word, word, word)
    of_share = (word, word, pointer(np.int32), word)
    of_outputs = (reals, word, word)
    of_weights = (reals, word, word, word)
    rest = {
        make_dense_forward: (*of_weights, *of_outputs, reals),
        make_dense_update: (*of_share, *of_weights, *of_outputs, reals),
        make_forward: (*of_weights, types.float64, word, *of_outputs, reals, word),
        make_update: (*of_share, *of_weights, *of_outputs, reals),
    }
    return types.void(*of_rows, *of_examples, *rest[make])


# Two threads that miss the memo at once would each compile, and the loser's code would have no owner but its caller.
_compiling = Lock()


@cache
def compiled(make: Callable[..., Function], constants: tuple[int, ...], signature: Any) -> Any:
    """The compiled function, kept for the life of the process because steps hold only its address."""
    return compile_callback(make(*constants), signature)


def bind_rows(
    rows: Rows,
    share: Share,
    panels: Sequence[tuple[int, int, int]],
    dtype: Any,
    *,
    by_feature: bool,
    training: bool,
) -> Inputs:
    """What the steps need of the first layer; `rows` and `share` must outlive it.

    Panels are the units in wide vectors, those in a narrow one, and the first unit. `by_feature` is the layout's
    `dense_by_feature`. Updates are compiled only for training.
    """
    itemsize = np.dtype(dtype).itemsize
    panel_sizes = [(main * itemsize, tail * itemsize) for main, tail, _ in panels]
    forward_sizes, update_sizes = [(0, 0)], [(0, 0)]
    if not by_feature:
        direct_bytes = VECTOR_BYTES if rows.values.dtype == dtype else 0
        forward_sizes, update_sizes = [(4 * itemsize, direct_bytes)], [(WIDE_BYTES, direct_bytes)]

    def functions(make: Callable[..., Function], sizes: Sequence[tuple[int, int]], *, needed: bool) -> Any:
        every = [_function(make, size, signature(rows, dtype, make)) if needed else 0 for size in sizes]
        return _addresses(every)

    lanes = VECTOR_BYTES // itemsize
    of_pass = max(
        dense_by_unit.EXAMPLES_PER_PASS * WIDE_BYTES // itemsize,
        dense_by_feature.EXAMPLES_PER_PASS * dense_by_feature.FEATURES_TOGETHER,
    )
    return Inputs(
        rows=_words(rows),
        share=_words(share),
        dense_forward=functions(make_dense_forward, forward_sizes, needed=rows.dense > 0),
        dense_update=functions(make_dense_update, update_sizes, needed=training and rows.dense > 0),
        forward=functions(make_forward, panel_sizes, needed=True),
        update=functions(make_update, panel_sizes, needed=training and rows.records > 0),
        scratch=aligned_zeros(max(lanes * rows.stride, of_pass) + 2 * lanes, dtype),
    )


def bind_activation(activation: int, dtype: Any) -> Any:
    """The functions of an activation for `Settings`; none for ReLU, which the steps know."""
    reals, word = pointer(dtype), types.int64
    signatures = {
        make_activate: types.void(reals, word, word),
        make_activate_backward: types.void(reals, word, word, word, types.float64),
    }
    needed = activation != RELU
    return _addresses([_function(make, (activation,), of) if needed else 0 for make, of in signatures.items()])


def _function(make: Callable[..., Function], constants: tuple[int, ...], signature: Any) -> Any:
    if INTERPRETED:
        return make(*constants)
    with _compiling:
        return compiled(make, constants, signature)


def _addresses(functions: list[Any]) -> Any:
    """Addresses of compiled functions, 0 for one that is missing."""
    if INTERPRETED:
        return functions
    return np.array([each and each.address for each in functions], np.int64)


def _words(structure: Any) -> Any:
    """The fields of a named tuple as integers, addresses in place of arrays."""
    if INTERPRETED:
        return structure
    return np.array([f.ctypes.data if isinstance(f, np.ndarray) else f for f in structure], dtype=np.int64)
