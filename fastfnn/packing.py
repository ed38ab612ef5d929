"""A network in the flat buffers of the kernels, and a configuration as the numbers that they read."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastfnn import kernels
from fastfnn.config import NetworkConfig, TrainingConfig
from fastfnn.kernels import Buffers, Layout, Settings
from fastfnn.kernels.simd import VECTOR_BYTES
from fastfnn.kernels.structures import (
    ADAM,
    ADAMW,
    BATCHNORM_AFTER,
    BATCHNORM_BEFORE,
    BATCHNORM_OFF,
    MOMENTUM,
    NESTEROV,
    SGD,
)
from fastfnn.layout import lanes_of, make_layout, round_up
from fastfnn.parameters import Parameters
from fastfnn.rows import make_rows

Array = NDArray[Any]

BATCHNORM_CODES = {"off": BATCHNORM_OFF, "before": BATCHNORM_BEFORE, "after": BATCHNORM_AFTER}
OPTIMIZER_CODES = {"sgd": SGD, "momentum": MOMENTUM, "nesterov": NESTEROV, "adam": ADAM, "adamw": ADAMW}
MOMENTS = {"sgd": 0, "momentum": 1, "nesterov": 1, "adam": 2, "adamw": 2}


def aligned_zeros(count: int, dtype: str) -> Array:
    """Zeros that begin at a cache line; a vector that crosses lines costs two loads."""
    itemsize = np.dtype(dtype).itemsize
    buffer = np.zeros(count + VECTOR_BYTES // itemsize, dtype)
    skip = -buffer.ctypes.data % VECTOR_BYTES // itemsize
    return buffer[skip : skip + count]


def read_only(array: Array) -> Array:
    """A view that cannot be written to: Numba compiles anew for each combination of what can and what cannot."""
    view = array.view()
    view.flags.writeable = False
    return view


class PackedNetwork:
    """The parameters of a network in the buffers of the kernels, with room to train on batches of `batch_size`.

    A `batch_size` of 0 has room for evaluation only.
    """

    def __init__(
        self, parameters: Parameters, config: NetworkConfig, *, block: int, batch_size: int = 0, moments: int = 0
    ) -> None:
        sizes = [parameters.weights[0].shape[0], *(len(biases) for biases in parameters.biases)]
        layout, n_running, n_workspace = make_layout(
            sizes, batchnorm=config.batchnorm != "off", dtype=config.dtype, block=block
        )
        lanes = lanes_of(config.dtype)
        size = layout.parameters_end
        # A block's last tile is written whole, wherever in the batch the block begins.
        rows = round_up(batch_size + lanes - 1, lanes) * layout.row_width
        self.layout: Layout = layout
        self.buffers = Buffers(
            parameters=aligned_zeros(size, config.dtype),
            gradients=aligned_zeros(size if batch_size else 0, config.dtype),
            first_moment=aligned_zeros(size if moments > 0 else 0, config.dtype),
            second_moment=aligned_zeros(size if moments > 1 else 0, config.dtype),
            running=aligned_zeros(n_running, config.dtype),
            workspace=aligned_zeros(n_workspace, config.dtype),
            first_layer_rows=aligned_zeros(rows, config.dtype),
            scratch=aligned_zeros(lanes * (layout.row_width + 4), config.dtype),
            counters=np.zeros(lanes, np.uint32),
            factor=np.ones(1),
        )
        self._put(parameters)

    def _views(self) -> dict[str, Array]:
        """Every tensor as a view of the buffers, but for the first layer's weights, which lie in two parts."""
        layout, buffers = self.layout, self.buffers
        views = {}
        for number, (fan_in, fan_out) in enumerate(pairwise(layout.units)):
            layer = number + 1
            if number:
                at = layout.weights[number]
                views[f"weights.{layer}"] = buffers.parameters[at : at + fan_in * fan_out].reshape(fan_in, fan_out)
            places = {"biases": (buffers.parameters, layout.biases)}
            if number < len(layout.scale):
                places |= {"scale": (buffers.parameters, layout.scale), "shift": (buffers.parameters, layout.shift)}
                places |= {"running_mean": (buffers.running, layout.running_mean)}
                places |= {"running_variance": (buffers.running, layout.running_variance)}
            for kind, (buffer, offsets) in places.items():
                views[f"{kind}.{layer}"] = buffer[offsets[number] : offsets[number] + fan_out]
        return views

    def _first_layer_parts(self) -> tuple[Array, Array]:
        """The first layer's weights as two matrices, (K, main width) and (K, tail width)."""
        layout, parameters = self.layout, self.buffers.parameters
        features = layout.units[0]
        main = parameters[layout.weights[0] :][: features * layout.main_width]
        tail = parameters[layout.tail_weights :][: features * layout.tail_width]
        return main.reshape(features, -1), tail.reshape(features, -1)

    def _put(self, parameters: Parameters) -> None:
        for name, array in parameters.tensors().items():
            if name != "weights.1":
                self._views()[name][...] = array
        weights = parameters.weights[0]
        main, tail = self._first_layer_parts()
        units = weights.shape[1]
        main[:, : min(units, main.shape[1])] = weights[:, : main.shape[1]]
        tail[:, : max(0, units - main.shape[1])] = weights[:, main.shape[1] :]

    def parameters(self) -> Parameters:
        """A copy of the parameters."""
        tensors = {name: view.copy() for name, view in self._views().items()}
        stored = np.hstack(self._first_layer_parts())[:, : self.layout.units[1]]
        tensors["weights.1"] = stored * stored.dtype.type(self.buffers.factor[0])
        return Parameters.from_tensors(tensors, len(self.layout.weights))


def settings_of(config: NetworkConfig, feature_scale: float, *, training: bool) -> Settings:
    """A configuration as numbers; for evaluation, one without training options will do."""
    options = config if isinstance(config, TrainingConfig) else TrainingConfig(**dict(config), batch_size=2)
    probabilities = np.array(options.dropout_by_layer)
    return Settings(
        training=training,
        feature_scale=feature_scale,
        batch_size=options.batch_size,
        batchnorm=BATCHNORM_CODES[options.batchnorm],
        optimizer=OPTIMIZER_CODES[options.optimizer],
        momentum=options.momentum,
        beta1=options.adam_beta1,
        beta2=options.adam_beta2,
        epsilon=options.adam_epsilon,
        decay=options.l2,
        decay_per_batch=options.l2_convention == "per_batch",
        dropout_thresholds=(probabilities * 2**32).astype(np.uint32),
        dropout_scales=1 / (1 - probabilities),
    )


def predict_logits(parameters: Parameters, config: NetworkConfig, feature_scale: float, features: Any) -> Array:
    """Logits (N, C) of the rows of a matrix (N, K)."""
    packed = PackedNetwork(parameters, config, block=kernels.EVALUATION_BLOCK)
    # Always compressed: were the kind chosen by the density, a row's last bits would depend on the rows beside it.
    rows = make_rows(features, "sparse", config.dtype)
    order = read_only(np.arange(features.shape[0], dtype=np.int64))
    logits = np.empty((len(order), len(parameters.biases[-1])), config.dtype)
    keys = np.zeros(len(config.hidden), np.uint32)
    settings = settings_of(config, feature_scale, training=False)
    inputs = kernels.bind_rows(rows, packed.layout, config.dtype, training=False)
    kernels.logits(inputs, order, packed.layout, packed.buffers, settings, keys, logits)
    return logits
