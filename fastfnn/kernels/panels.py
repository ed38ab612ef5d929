"""The first layer's code for one kind of rows and one panel, compiled on its own and called through its address.

Rows come in many kinds and panels in many widths; compiled into the steps, every pair would be compiled for every run.
So the steps know neither: they call what they are given, and a run compiles the pairs that it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from threading import Lock
from typing import Any

import numpy as np
from numba import from_dtype, types

from fastfnn.kernels import dense_input, sparse_input
from fastfnn.kernels.compilation import INTERPRETED, compile_callback
from fastfnn.kernels.simd import array_at, zeros
from fastfnn.kernels.structures import DenseRows, Examples, Inputs, Layout, Outputs, Panel, SparseRows

Rows = SparseRows | DenseRows


def forward_function(is_sparse: bool, main_bytes: int, tail_bytes: int) -> Callable[..., None]:
    """`forward_panel` for a kind of rows and a panel; its closure holds numbers alone, so that it can be cached."""

    # fmt: off
    def forward(
        rows0, rows1, rows2, order, n, first, count, weights, main_at, main_stride, tail_at, z, z_at, z_stride,
        scale, biases_at, ahead,
    ):
        # fmt: on
        panel = Panel(array_at(weights, 1), main_at, main_stride, tail_at)
        examples = Examples(array_at(order, n), first, count)
        outputs = Outputs(array_at(z, 1), z_at, z_stride)
        main, tail = zeros(panel.values, main_bytes), zeros(panel.values, tail_bytes)
        if is_sparse:
            compressed = SparseRows(array_at(rows0, 1), array_at(rows1, 1), array_at(rows2, 1))
            sparse_input.forward_panel(compressed, examples, panel, scale, biases_at, outputs, ahead, main, tail)
        else:
            dense = DenseRows(array_at(rows2, 1), rows0)
            dense_input.forward_panel(dense, examples, panel, scale, biases_at, outputs, ahead, main, tail)

    return forward


def update_function(is_sparse: bool, main_bytes: int, tail_bytes: int) -> Callable[..., None]:
    """`update_panel` for a kind of rows and a panel, likewise."""

    # fmt: off
    def update(
        rows0, rows1, rows2, order, n, first, count, target, main_at, main_stride, tail_at, dz, dz_at, dz_stride,
    ):
        # fmt: on
        panel = Panel(array_at(target, 1), main_at, main_stride, tail_at)
        examples = Examples(array_at(order, n), first, count)
        gradient = Outputs(array_at(dz, 1), dz_at, dz_stride)
        main, tail = zeros(panel.values, main_bytes), zeros(panel.values, tail_bytes)
        if is_sparse:
            compressed = SparseRows(array_at(rows0, 1), array_at(rows1, 1), array_at(rows2, 1))
            sparse_input.update_panel(compressed, examples, panel, gradient, main, tail)
        else:
            dense = DenseRows(array_at(rows2, 1), rows0)
            dense_input.update_panel(dense, examples, panel, gradient, main, tail)

    return update


def pointer(dtype: Any) -> Any:
    """Numba's type of a pointer to values of a NumPy dtype."""
    return types.CPointer(from_dtype(np.dtype(dtype)))


def signature(rows: Rows, dtype: Any, direction: str) -> Any:
    """The signature of a forward or an update function for this kind of rows and this dtype of the network."""
    word, order, reals = types.int64, pointer(np.int64), pointer(dtype)
    if isinstance(rows, SparseRows):
        kind = (pointer(np.int64), pointer(rows.columns.dtype), pointer(rows.values.dtype))
    else:
        kind = (word, word, pointer(rows.values.dtype))
    common = (*kind, order, word, word, word, reals, word, word, word, reals, word, word)
    return types.void(*common, types.float64, word, word) if direction == "forward" else types.void(*common)


MAKERS = {"forward": forward_function, "update": update_function}


# Two threads that miss the memo at once would each compile, and the loser's code would have no owner but its caller.
_compiling = Lock()


@cache
def compiled(direction: str, is_sparse: bool, main_bytes: int, tail_bytes: int, signature: Any) -> Any:
    """The compiled function, kept for the life of the process because steps hold only its address."""
    return compile_callback(MAKERS[direction](is_sparse, main_bytes, tail_bytes), signature)


def bind_rows(rows: Rows, layout: Layout, dtype: Any, *, training: bool) -> Inputs:
    """What the steps need of the first layer; `rows` must outlive it. Updates are compiled only for training."""
    itemsize = np.dtype(dtype).itemsize
    functions: dict[str, Any] = {}
    for direction in ("forward", "update"):
        needed = layout.panels if training or direction == "forward" else layout.panels[:0]
        functions[direction] = [
            _function(rows, direction, int(main) * itemsize, int(tail) * itemsize, dtype) for main, tail, _ in needed
        ]
    if INTERPRETED:
        return Inputs((rows, None, None), functions["forward"], functions["update"])
    addresses = {name: np.array([f.address for f in found], dtype=np.int64) for name, found in functions.items()}
    return Inputs(_addresses(rows), addresses["forward"], addresses["update"])


def _function(rows: Rows, direction: str, main_bytes: int, tail_bytes: int, dtype: Any) -> Any:
    is_sparse = isinstance(rows, SparseRows)
    if not INTERPRETED:
        with _compiling:
            return compiled(direction, is_sparse, main_bytes, tail_bytes, signature(rows, dtype, direction))
    panel = getattr(sparse_input if is_sparse else dense_input, f"{direction}_panel")
    registers = [zeros(np.empty(0, dtype), size) for size in (main_bytes, tail_bytes)]
    return partial(_interpreted, panel, registers)


def _interpreted(panel: Any, registers: list[Any], rows: Rows, *words: Any) -> None:
    """What a compiled function does, on the arrays themselves instead of their addresses."""
    _, _, order, _, first, count, values, main_at, main_stride, tail_at, outputs, outputs_at, stride, *rest = words
    outputs = Outputs(outputs, outputs_at, stride)
    examples, where = Examples(order, first, count), Panel(values, main_at, main_stride, tail_at)
    scale_and_biases, ahead = rest[:2], rest[2:]
    panel(rows, examples, where, *scale_and_biases, outputs, *ahead, *registers)


def _addresses(rows: Rows) -> Any:
    if isinstance(rows, SparseRows):
        words = [array.ctypes.data for array in rows]
    else:
        words = [rows.features, 0, rows.values.ctypes.data]
    return np.array(words, dtype=np.int64)
