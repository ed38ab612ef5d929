"""The first layer's functions for some rows, called on their own as the steps call them."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastfnn.config import NetworkConfig
from fastfnn.kernels import Share
from fastfnn.kernels.processor import INTERPRETED
from fastfnn.layout import lanes_of
from fastfnn.packing import PackedNetwork
from fastfnn.parameters import Parameters, initialise
from fastfnn.prefetching import whole_share
from fastfnn.rows import FeatureOrder, make_rows

Array = NDArray[Any]
UNTOUCHED = 77.0
SMALL_BATCH = 16  # examples, too few for the making of fixed-point numbers, or of squares for matrix registers


def call(function: Any, *arguments: Any) -> None:
    """Calls compiled code at its address: floats as doubles, integers and addresses as words.

    Places for a result and for an exception come first, as in all that Numba compiles.
    """
    if INTERPRETED:
        function(*arguments)
        return
    words = [a.ctypes.data if isinstance(a, np.ndarray) else a for a in arguments]
    kinds = [ctypes.c_double if isinstance(word, float) else ctypes.c_int64 for word in words]
    plain = [word if isinstance(word, float) else int(word) for word in words]
    places = (ctypes.c_void_p * 2)()
    first = [ctypes.addressof(places) + 8 * i for i in range(2)]
    compiled = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *kinds)
    assert compiled(int(function))(*first, *plain) == 0


def present(functions: Any) -> list[Any]:
    """The functions that there are."""
    return [function for function in functions if function != 0]


class FirstLayer:
    """A first layer with random weights and biases on the rows of a matrix (N, K).

    With `only_evaluated`, weights lie as small batches want them, and there are no updates.
    """

    def __init__(
        self,
        X: Array,
        units: int,
        order: FeatureOrder,
        dtype: str,
        share: Share | None = None,
        weights_ahead: int = 0,
        only_evaluated: bool = False,
    ) -> None:
        self.X, self.order, self.config = X, order, NetworkConfig(hidden=(units,), dtype=dtype)
        self.batch_size = SMALL_BATCH if only_evaluated else 0
        self.start = initialise(self.config, X.shape[1], 2, seed=1)
        self.start.biases[0][:] = np.linspace(-1, 1, units)
        self.network = self.packed(self.start)
        self.rows = make_rows(X, order, dtype)
        # Like the rows, shares must outlive what is bound.
        self.whole = whole_share(self.rows, weights_ahead)
        self.share = share or self.whole
        self.inputs = self.network.bind(self.rows, self.whole, self.share, training=not only_evaluated)

    def packed(self, parameters: Parameters) -> PackedNetwork:
        of_bytes = self.X.dtype == np.uint8
        return PackedNetwork(
            parameters, self.config, self.order, block=1, batch_size=self.batch_size, of_bytes=of_bytes
        )

    def given(self, examples: Array, first: int, count: int) -> tuple[Any, ...]:
        """What every function is given first."""
        return (*self.inputs.rows, examples, len(examples), first, count)

    def forward(self, examples: Array, first: int, count: int) -> tuple[Array, Array]:
        """The products of the listed features, rows (count, H), and of the dense ones, whole tiles (examples, H).

        Without scale and biases; where there are no such features, what there was before.
        """
        inputs, layout, weights = self.inputs, self.network.layout, self.network.buffers.parameters
        given, lanes, units = self.given(examples, first, count), lanes_of(self.config.dtype), int(layout.units[1])
        rows = np.full((count, layout.row_widths[1]), UNTOUCHED, weights.dtype)
        for function, unit in zip(inputs.forward, layout.panel_units, strict=True):
            of_panel = (weights, layout.weights[0] + unit, layout.main_width, layout.tail_weights)
            ahead = len(present(inputs.dense_forward)) == 0
            if function != 0:
                outputs = (rows.reshape(-1), unit, rows.shape[1])
                call(function, *given, *self.whole[2:], *of_panel, *outputs, ahead, 1, inputs.found)
        tiles = np.full((-(-count // lanes), units + 1, lanes), UNTOUCHED, weights.dtype)
        for function in present(inputs.dense_forward):
            of_weights = (weights, layout.dense_weights, layout.dense_stride, units)
            outputs = (tiles.reshape(-1), 0, (units + 1) * lanes)
            call(function, *given, *of_weights, *outputs, first + count, inputs.scratch, inputs.starts)
        assert (tiles[:, units] == UNTOUCHED).all()
        return rows[:, :units], tiles[:, :units].swapaxes(1, 2).reshape(-1, units)

    def update(self, examples: Array, first: int, dz: Array) -> None:
        """Adds x.T @ dz to the weights; dz (B, row_width) is an example a row."""
        inputs, layout, weights = self.inputs, self.network.layout, self.network.buffers.parameters
        given, share = self.given(examples, first, len(dz)), self.share
        of_dense = (share.feature_begin, share.feature_end, share.cuts, share.cuts_stride)
        for function in present(inputs.dense_update):
            of_weights = (weights, layout.dense_weights, layout.dense_stride, layout.units[1])
            of_rows, memory = (dz.reshape(-1), 0, layout.row_widths[1]), (inputs.scratch, inputs.starts)
            call(function, *given, *of_dense, *of_weights, *of_rows, *memory)
        for function, unit in zip(present(inputs.update), layout.panel_units, strict=self.rows.records > 0):
            of_panel = (weights, layout.weights[0] + unit, layout.main_width, layout.tail_weights)
            of_rows = (dz.reshape(-1), unit, layout.row_widths[1])
            call(function, *given, *share[2:], *of_panel, *of_rows, 1.0, 0, 1, inputs.found)

    def assert_changed_by(self, change: Array, tolerance: float) -> None:
        """Checks that the parameters are those of the start plus a change (K, H) of the weights, and padding is 0."""
        expected = Parameters([self.start.weights[0] + change, *self.start.weights[1:]], self.start.biases)
        found, wanted = self.network.buffers.parameters, self.packed(expected).buffers.parameters
        np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * max(1, np.abs(change).max()))
        np.testing.assert_array_equal(found[wanted == 0], 0)
