"""The compiled kernels behind the training loop and behind `Network.predict`: buffers in, numbers out."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastfnn import kernels
from fastfnn.config import NetworkConfig, TrainingConfig
from fastfnn.data import Dataset, Split
from fastfnn.kernels import Buffers, Layout, Settings, Steps
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
from fastfnn.network import Network, Parameters, initialise
from fastfnn.rows import make_rows, rows_of_split
from fastfnn.training import Stretch, Totals

Array = NDArray[Any]

BATCHNORM_CODES = {"off": BATCHNORM_OFF, "before": BATCHNORM_BEFORE, "after": BATCHNORM_AFTER}
OPTIMIZER_CODES = {"sgd": SGD, "momentum": MOMENTUM, "nesterov": NESTEROV, "adam": ADAM, "adamw": ADAMW}
MOMENTS = {"sgd": 0, "momentum": 1, "nesterov": 1, "adam": 2, "adamw": 2}
TRAINING_BLOCK = 128  # examples that go through the layers together while they fit the first-level cache


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
        size, rows = layout.parameters_end, round_up(batch_size, lanes) * layout.row_width
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
        for number, (fan_in, fan_out) in enumerate(zip(layout.units, layout.units[1:], strict=False)):
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


class KernelEngine:
    """Runs stretches of steps in compiled code."""

    def __init__(self, data: Dataset, config: TrainingConfig) -> None:
        self.data, self.config = data, config
        started = time.perf_counter()
        splits = [split for split in (data.train, data.validation, data.test) if split]
        rows = {id(split): rows_of_split(data, split, config.input, config.dtype) for split in splits}
        self.load_seconds = time.perf_counter() - started
        parameters = initialise(config, data.n_features, data.n_classes, config.seed)
        batch_size = min(config.batch_size, len(data.train))
        block = TRAINING_BLOCK if config.batchnorm == "off" else config.batchnorm_group or batch_size
        self.network = PackedNetwork(
            parameters, config, block=block, batch_size=batch_size, moments=MOMENTS[config.optimizer]
        )
        self.settings = settings_of(config, data.scale, training=True)
        self.evaluation_settings = self.settings._replace(training=False)
        started = time.perf_counter()
        self.inputs = {
            id(split): kernels.bind_rows(
                rows[id(split)], self.network.layout, config.dtype, training=split is data.train
            )
            for split in splits
        }
        self._warm_up()
        self.compile_seconds = time.perf_counter() - started

    def _warm_up(self) -> None:
        """Compiles what the run needs, or loads it from the cache, by calls that do nothing."""
        nothing = np.empty(0, np.int64)
        keys = np.zeros(len(self.config.hidden), np.uint32)
        self.run(Stretch(nothing, 0, 0, 0, np.empty(0), keys))
        self._evaluate(self.data.train, nothing)

    def run(self, stretch: Stretch) -> Totals:
        """Does the steps of the stretch in one call."""
        steps = Steps(
            read_only(stretch.order),
            stretch.first,
            stretch.last,
            stretch.step,
            stretch.learning_rates,
            stretch.dropout_keys,
        )
        train = self.data.train
        loss, correct, examples, done, diverged = kernels.run_steps(
            self.inputs[id(train)], read_only(train.labels), steps, self.network.layout, self.network.buffers, self.settings
        )
        return Totals(loss, correct, examples, done, diverged)

    def evaluate(self, split: Split) -> tuple[float, float]:
        """Mean cross-entropy and accuracy in one call."""
        loss, correct = self._evaluate(split, split.indices)
        return loss / len(split), correct / len(split)

    def _evaluate(self, split: Split, indices: NDArray[np.int64]) -> tuple[float, int]:
        keys = np.zeros(len(self.config.hidden), np.uint32)
        inputs, network = self.inputs[id(split)], self.network
        result: tuple[float, int] = kernels.evaluate(
            inputs, read_only(split.labels), read_only(indices), network.layout, network.buffers, self.evaluation_settings, keys
        )
        return result

    def squared_weights(self) -> float:
        """The sum of squared weights, in float64."""
        return float(sum(np.sum(np.square(w, dtype=np.float64)) for w in self.network.parameters().weights))

    def parameters(self) -> Parameters:
        """A copy of the parameters."""
        return self.network.parameters()

    def _state_buffers(self) -> dict[str, Array]:
        names = ("parameters", "first_moment", "second_moment", "running", "factor")
        return {name: getattr(self.network.buffers, name) for name in names}

    def state(self) -> dict[str, Array]:
        """A copy of the buffers that later steps depend on."""
        return {name: buffer.copy() for name, buffer in self._state_buffers().items()}

    def restore(self, state: dict[str, Array]) -> None:
        """Goes back to a `state`."""
        for name, buffer in self._state_buffers().items():
            buffer[...] = state[name]


def predict_logits(network: Network, features: Any) -> Array:
    """Logits (N, C) of the rows of a matrix (N, K)."""
    packed = PackedNetwork(network.parameters, network.config, block=kernels.EVALUATION_BLOCK)
    rows = make_rows(features, "auto", network.config.dtype)
    order = read_only(np.arange(features.shape[0], dtype=np.int64))
    logits = np.empty((len(order), len(network.classes)), network.config.dtype)
    keys = np.zeros(len(network.config.hidden), np.uint32)
    settings = settings_of(network.config, network.scale, training=False)
    inputs = kernels.bind_rows(rows, packed.layout, network.config.dtype, training=False)
    kernels.logits(inputs, order, packed.layout, packed.buffers, settings, keys, logits)
    return logits
