"""A network in the flat buffers of the kernels, and a configuration as the numbers that they read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastfnn import kernels
from fastfnn.config import NetworkConfig, TrainingConfig
from fastfnn.kernels import EVALUATION_BLOCK, Buffers, FirstLayer, Inputs, Layout, Rows, Settings, Share
from fastfnn.kernels.machine_code import Key
from fastfnn.kernels.memory import aligned_zeros, room_for_squares
from fastfnn.kernels.routines import addresses
from fastfnn.kernels.structures import (
    ADAM,
    ADAMW,
    BATCHNORM_AFTER,
    BATCHNORM_BEFORE,
    BATCHNORM_OFF,
    EPSILON,
    IDENTITY,
    LOGISTIC,
    MOMENTUM,
    MOST_GROUPS,
    NESTEROV,
    RELU,
    SGD,
    SMALLEST_DETERMINANT,
    TANH,
    Statistics,
)
from fastfnn.layout import lanes_of, make_layout, most_tiles, panels
from fastfnn.parameters import Parameters
from fastfnn.prefetching import examples_ahead, whole_share
from fastfnn.rows import FeatureOrder, identity_order, make_rows

Array = NDArray[Any]

ACTIVATION_CODES = {"relu": RELU, "identity": IDENTITY, "logistic": LOGISTIC, "tanh": TANH}
BATCHNORM_CODES = {"off": BATCHNORM_OFF, "before": BATCHNORM_BEFORE, "after": BATCHNORM_AFTER}
OPTIMIZER_CODES = {"sgd": SGD, "momentum": MOMENTUM, "nesterov": NESTEROV, "adam": ADAM, "adamw": ADAMW}
MOMENTS = {"sgd": 0, "momentum": 1, "nesterov": 1, "adam": 2, "adamw": 2}
# Of a listed value where momentum is lazy, in steps of momentum on a feature's weights: with 20 units on MNIST, both
# ways take as long at batch size 35; `bench/batch_size.py --optimizer momentum` measures it.
COST_OF_OCCURRENCE = 0.4


class PackedNetwork:
    """The parameters of a network in the buffers of the kernels, with room to train on batches of `batch_size`.

    A `batch_size` of 0 has room for evaluation only. The first layer's weights lie in the order of the features.
    """

    def __init__(
        self,
        parameters: Parameters,
        config: NetworkConfig,
        order: FeatureOrder,
        *,
        block: int,
        batch_size: int = 0,
        moments: int = 0,
        density: float = 1.0,
        of_bytes: bool = False,
    ) -> None:
        self.order = order
        sizes = [parameters.weights[0].shape[0], *(len(biases) for biases in parameters.biases)]
        layout, n_running, n_workspace = make_layout(
            sizes,
            order.dense,
            batchnorm=config.batchnorm != "off",
            dtype=config.dtype,
            block=block,
            batch_size=batch_size,
            density=density,
            of_bytes=of_bytes,
        )
        lanes = lanes_of(config.dtype)
        size = layout.parameters_end
        tiles = max(most_tiles(max(batch_size, 1), block, lanes), EVALUATION_BLOCK // lanes)
        self.layout: Layout = layout
        self.dtype = config.dtype
        gradients = aligned_zeros(size if batch_size else 0, config.dtype)
        self.buffers = Buffers(
            parameters=aligned_zeros(size, config.dtype),
            gradients=gradients,
            partials=self._partials(gradients, batch_size),
            group_gradients=aligned_zeros(
                MOST_GROUPS * layout.first_layer_size if layout.first_layer_by_groups else 0, config.dtype
            ),
            first_moment=aligned_zeros(size if moments > 0 else 0, config.dtype),
            second_moment=aligned_zeros(size if moments > 1 else 0, config.dtype),
            running=aligned_zeros(n_running, config.dtype),
            workspace=aligned_zeros(n_workspace, config.dtype),
            losses=np.zeros(tiles),
            correct=np.zeros(tiles, np.int64),
            scratch=self._scratch(),
            squares=self._squares(),
            counters=np.zeros(lanes, np.uint32),
            factor=np.ones(1),
            lazy=np.array([1.0, 0.0, 0.0, 1.0, 0.0]),
        )
        self._put(parameters, self.buffers.parameters)
        fill(self._running_views(), parameters)

    def _partials(self, gradients: Array, batch_size: int) -> Array:
        """Room for the partial gradients of a batch; those of its only block may be the gradients themselves."""
        layout = self.layout
        if layout.layers_together and batch_size <= layout.block:
            return gradients[layout.first_layer_size :][: layout.partial_size]
        return aligned_zeros(-(-batch_size // layout.block) * layout.partial_size, self.dtype)

    def _scratch(self) -> Array:
        lanes = lanes_of(self.dtype)
        return aligned_zeros(lanes * (2 * int(self.layout.row_widths[1]) + 4), self.dtype)

    def _squares(self) -> Array:
        layers = np.flatnonzero(self.layout.by_matrix)
        sizes = [room_for_squares(*map(int, self.layout.units[n - 1 : n + 1])) for n in layers if n > 1]
        return aligned_zeros(max(sizes, default=0), self.dtype)

    def bind(self, rows: Rows, whole: Share, share: Share, *, training: bool, few: bool = False) -> Inputs:
        """The compiled first layer for rows, of which `share` is updated; rows and both shares must outlive it."""
        return kernels.bind_rows(self.first_layer(rows, whole, share, training=training, few=few), rows, whole, share)

    def functions(self, config: NetworkConfig, settings: Settings) -> dict[str, list[Key | None]]:
        """The functions that a configuration asks for, for each field of `Settings` that has some."""
        activation = ACTIVATION_CODES[config.activation]
        return kernels.functions_of_settings(self.layout, self.buffers, settings, activation)

    def bind_settings(self, config: NetworkConfig, feature_scale: float, *, training: bool) -> Settings:
        """A configuration as the numbers and functions that the kernels are given."""
        settings = settings_of(config, feature_scale, training=training)
        functions = self.functions(config, settings)
        return settings._replace(**{name: addresses(keys) for name, keys in functions.items()})

    def first_layer(self, rows: Rows, whole: Share, share: Share, *, training: bool, few: bool = False) -> FirstLayer:
        """What the first layer's functions depend on; see `FirstLayer.of`."""
        layout = self.layout
        of_layer = panels(layout.main_width, layout.tail_width, lanes_of(self.dtype))
        asks = whole.weights_ahead > 0, share.weights_ahead > 0
        return FirstLayer.of(rows, of_layer, self.dtype, layout, asks, training=training, few=few)

    @property
    def bytes_of_listed(self) -> int:
        """Of the weights of a listed feature."""
        return int(self.layout.main_width + self.layout.tail_width) * np.dtype(self.dtype).itemsize

    @property
    def weights_ahead(self) -> int:
        """Of how many examples later the weights of listed features are asked for; 0 where they are near."""
        return examples_ahead(self.bytes_of_listed, len(self.order.features) - self.order.dense)

    def buffers_of_thread(self) -> Buffers:
        """The same memory, but what a thread needs for itself."""
        counters, lazy = np.zeros_like(self.buffers.counters), self.buffers.lazy.copy()
        return self.buffers._replace(scratch=self._scratch(), squares=self._squares(), counters=counters, lazy=lazy)

    def _views(self, buffer: Array) -> dict[str, Array]:
        """The trained tensors in a buffer as views of it, but for the first layer's weights, which lie in parts."""
        layout = self.layout
        views = {}
        for number, (fan_in, fan_out) in enumerate(pairwise(layout.units)):
            layer = number + 1
            if number:
                at, stride = layout.weights[number], layout.row_widths[layer]
                views[f"weights.{layer}"] = buffer[at : at + fan_in * stride].reshape(fan_in, stride)[:, :fan_out]
            places = {"biases": layout.biases}
            if number < len(layout.scale):
                places |= {"scale": layout.scale, "shift": layout.shift}
            for kind, offsets in places.items():
                views[f"{kind}.{layer}"] = buffer[offsets[number] : offsets[number] + fan_out]
        return views

    def _running_views(self) -> dict[str, Array]:
        """The running statistics as views of their buffer."""
        layout, running, views = self.layout, self.buffers.running, {}
        for kind, offsets in {"running_mean": layout.running_mean, "running_variance": layout.running_variance}.items():
            for layer, at in enumerate(offsets, start=1):
                views[f"{kind}.{layer}"] = running[at : at + layout.units[layer]]
        return views

    def _first_layer_parts(self, buffer: Array) -> tuple[Array, Array, Array]:
        """The first layer's weights: of dense features, then of the others in two parts, (K - D, width).

        Those of dense features are vectors of features, filled up with features that there are not: (D / V, V, H).
        """
        layout, lanes = self.layout, lanes_of(self.dtype)
        units, listed = layout.units[1], len(self.order.features) - self.order.dense
        vectors = layout.dense_features // lanes
        of_vector = (lanes, layout.dense_stride) if layout.dense_by_feature else (units, lanes)

        def part(at: int, *shape: int) -> Array:
            return buffer[at : at + math.prod(shape)].reshape(shape)

        of_dense = part(layout.dense_weights, vectors, *of_vector)
        return (
            of_dense[..., :units] if layout.dense_by_feature else of_dense.swapaxes(1, 2),
            part(layout.weights[0], listed, layout.main_width),
            part(layout.tail_weights, listed, layout.tail_width),
        )

    def _put(self, parameters: Parameters, buffer: Array) -> None:
        """Writes the trained tensors into a buffer."""
        fill(self._views(buffer), parameters)
        weights = parameters.weights[0][self.order.features]
        of_dense, main, tail = self._first_layer_parts(buffer)
        listed, units = weights[self.order.dense :], weights.shape[1]
        dense = np.zeros((self.layout.dense_features, units), self.dtype)
        dense[: self.order.dense] = weights[: self.order.dense]
        of_dense[...] = dense.reshape(of_dense.shape)
        main[:, : min(units, main.shape[1])] = listed[:, : main.shape[1]]
        tail[:, : max(0, units - main.shape[1])] = listed[:, main.shape[1] :]

    def _taken(self, buffer: Array) -> dict[str, Array]:
        """A copy of the trained tensors in a buffer."""
        tensors = {name: view.copy() for name, view in self._views(buffer).items()}
        of_dense, *of_listed = self._first_layer_parts(buffer)
        units = self.layout.units[1]
        dense, listed = of_dense.reshape(-1, units)[: self.order.dense], np.hstack(of_listed)[:, :units]
        stored = np.vstack((dense, listed))
        tensors["weights.1"] = np.empty_like(stored)
        tensors["weights.1"][self.order.features] = stored
        return tensors

    def parameters(self) -> Parameters:
        """A copy of the parameters."""
        tensors = self._taken(self.buffers.parameters)
        tensors["weights.1"] *= tensors["weights.1"].dtype.type(self.buffers.factor[0])
        tensors |= {name: view.copy() for name, view in self._running_views().items()}
        return Parameters.from_tensors(tensors, len(self.layout.weights))

    @cached_property
    def _weights(self) -> tuple[list[Array], list[Array]]:
        """The weights of the first layer, but for its factor, and those of the others, as views."""
        of_dense, main, tail = self._first_layer_parts(self.buffers.parameters)
        units, width = self.layout.units[1], self.layout.main_width
        views = self._views(self.buffers.parameters)
        parts = (of_dense, main[:, : min(units, width)], tail[:, : max(0, units - width)])
        first = [part for part in parts if part.size]
        return first, [view for name, view in views.items() if name.startswith("weights")]

    def squared_weights(self) -> float:
        """The sum of squared weights, in float64."""
        first, later = (sum(float(np.sum(np.square(w, dtype=np.float64))) for w in part) for part in self._weights)
        return first * float(self.buffers.factor[0]) ** 2 + later

    def _moment_buffers(self) -> list[Array]:
        return [buffer for buffer in (self.buffers.first_moment, self.buffers.second_moment) if len(buffer)]

    def moments(self) -> list[Parameters]:
        """Copies of the optimiser's moments, each in the shape of the parameters."""
        layers = len(self.layout.weights)
        return [Parameters.from_tensors(self._taken(buffer), layers) for buffer in self._moment_buffers()]

    def put_moments(self, moments: Sequence[Parameters]) -> None:
        """Goes on from the `moments` of a network of the same shape."""
        for moment, buffer in zip(moments, self._moment_buffers(), strict=True):
            self._put(moment, buffer)


def fill(views: dict[str, Array], parameters: Parameters) -> None:
    """Writes the tensors of these names into their views."""
    tensors = parameters.tensors()
    for name, view in views.items():
        view[...] = tensors[name]


def settings_of(config: NetworkConfig, feature_scale: float, *, training: bool) -> Settings:
    """A configuration as numbers, without functions; for evaluation, one without training options will do."""
    options = config if isinstance(config, TrainingConfig) else TrainingConfig(**dict(config), batch_size=2)
    probabilities = np.array(options.dropout_by_layer)
    return Settings(
        training=training,
        feature_scale=feature_scale,
        batch_size=options.batch_size,
        rectified=options.activation == "relu",
        activation=np.zeros(2, np.int64),
        normalisation=np.zeros(2, np.int64),
        dropout=np.zeros(1, np.int64),
        matrix=np.zeros(2, np.int64),
        layers=np.zeros(1, np.int64),
        update=np.zeros(1, np.int64),
        batchnorm=BATCHNORM_CODES[options.batchnorm],
        statistics=Statistics(EPSILON, on_deviation=False, unbiased=False, affine=True, unchanged=False),
        optimizer=OPTIMIZER_CODES[options.optimizer],
        momentum=options.momentum,
        lazy=False,
        beta1=options.adam_beta1,
        beta2=options.adam_beta2,
        epsilon=options.adam_epsilon,
        decay=options.l2,
        decay_per_batch=options.l2_convention == "per_batch",
        dropout_thresholds=(probabilities * 2**32).astype(np.uint32),
        dropout_scales=1 / (1 - probabilities),
    )


def lazy_momentum_pays(config: TrainingConfig, layout: Layout, densities: Array, batch_size: int) -> bool:
    """Whether momentum is lazy for the weights of listed features of these densities (K - dense,).

    So it is where few of them occur in a batch; every so many steps, it takes as long as if it were not.
    """
    if OPTIMIZER_CODES[config.optimizer] not in (MOMENTUM, NESTEROV) or config.momentum <= SMALLEST_DETERMINANT:
        return False
    every = math.log(SMALLEST_DETERMINANT) / math.log(config.momentum)
    cost = COST_OF_OCCURRENCE * batch_size * float(densities.sum()) + len(densities) / every
    return not layout.first_layer_by_groups and cost < len(densities)


def predict_logits(parameters: Parameters, config: NetworkConfig, feature_scale: float, features: Any) -> Array:
    """Logits (N, C) of the rows of a matrix (N, K)."""
    # Never by density: a row's last bits would depend on the rows beside it.
    features_order = identity_order(features.shape[1], dense=False)
    packed = PackedNetwork(parameters, config, features_order, block=kernels.EVALUATION_BLOCK)
    rows = make_rows(features, features_order, config.dtype)
    whole = whole_share(rows, packed.weights_ahead)
    order = np.arange(features.shape[0], dtype=np.int64)
    logits = np.empty((len(order), len(parameters.biases[-1])), config.dtype)
    keys = np.zeros(len(config.hidden), np.uint32)
    settings = packed.bind_settings(config, feature_scale, training=False)
    inputs = packed.bind(rows, whole, whole, training=False)
    kernels.logits(packed.layout, packed.buffers, settings, inputs, order, keys, logits)
    return logits
