"""The compiled kernels behind the training loop: stretches of steps in, sums out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastfnn import kernels
from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset, Split
from fastfnn.kernels import Inputs, Part, Rows, Share, Statistics, Steps, Targets
from fastfnn.kernels.machine_code import Key
from fastfnn.kernels.routines import Words
from fastfnn.kernels.structures import ROWS_AT_ONCE
from fastfnn.packing import MOMENTS, PackedNetwork, lazy_momentum_pays, settings_of
from fastfnn.parameters import Parameters, initialise
from fastfnn.prefetching import next_batch_pays, whole_share
from fastfnn.rows import cost_of_nonzero, densities_in_order, order_of_features, rows_of_split
from fastfnn.stretch import Stretch, Totals
from fastfnn.teams import Division, dissolve, make_parts, run_together, threads_that_pay
from fastfnn.warmup import load_all

Array = NDArray[Any]

TRAINING_BLOCK = 128  # examples that go through the layers together while they fit the first-level cache


class Member(NamedTuple):
    """What one thread of a run is given; `share` is kept because `inputs` has but its address."""

    part: Part
    inputs: Inputs
    share: Share
    words: Words  # of all that is the same in every call


def targets_of(split: Split) -> Targets:
    """Labels and weights of a split as the kernels take them."""
    weights = np.empty(0) if split.weights is None else split.weights
    return Targets(split.labels.astype(np.int32), np.ascontiguousarray(weights), split.weights is not None)


class KernelEngine:
    """Runs stretches of steps in compiled code."""

    def __init__(
        self,
        data: Dataset,
        config: TrainingConfig,
        parameters: Parameters | None = None,
        moments: Sequence[Parameters] = (),
        statistics: Statistics | None = None,
    ) -> None:
        """Starts from `parameters` and the optimiser's `moments`, or else from the weights that the seed draws.

        `statistics` says how batch norm normalises in training, where it is not the library's own way.
        """
        self.data, self.config = data, config
        started = time.perf_counter()
        splits = [split for split in (data.train, data.validation, data.test) if split]
        first_units = (*config.hidden, data.n_classes)[0]
        batch_size = min(config.batch_size, len(data.train))
        cost = cost_of_nonzero(first_units, config.dtype, batch_size)
        order = order_of_features(data, config.input, cost)
        rows = {id(split): rows_of_split(data, split, order, config.dtype) for split in splits}
        self.load_seconds = time.perf_counter() - started
        parameters = parameters or initialise(config, data.n_features, data.n_classes, config.seed)
        block = TRAINING_BLOCK if config.batchnorm == "off" else config.batchnorm_group or batch_size
        listed = densities_in_order(data, order)
        multiplied = order.dense + float(listed.sum())  # features of a row, on average
        self.network = PackedNetwork(
            parameters,
            config,
            order,
            block=block,
            batch_size=batch_size,
            moments=MOMENTS[config.optimizer],
            density=multiplied / data.n_features,
            of_bytes=data.train.features.dtype == np.uint8,
        )
        if moments:
            self.network.put_moments(moments)
        # Inputs hold but their addresses.
        ahead = self.network.weights_ahead
        self.rows, self.shares = rows, {name: whole_share(of_split, ahead) for name, of_split in rows.items()}
        self.targets = {id(split): targets_of(split) for split in splits}
        started = time.perf_counter()
        of_training = rows[id(data.train)]
        lazy = lazy_momentum_pays(config, self.network.layout, listed, batch_size)
        threads = threads_that_pay(config.threads, self.network.layout, batch_size, multiplied)
        division = Division(self.network.layout, listed, threads, batch_size)
        parts = make_parts(division)
        self.whole, updated = self._whole_shares(of_training, listed, batch_size, threads)
        shares = division.shares(of_training, updated)
        self.few = batch_size <= min(block, ROWS_AT_ONCE) and threads == 1 and not lazy
        load_all(self._functions(shares[0]))
        settings = self.network.bind_settings(config, data.scale, training=True)
        self.settings = settings._replace(statistics=statistics or settings.statistics, lazy=lazy)
        self.members = [
            self.make_member(part, self.bind(division.rows(of_training), share, few=self.few), share)
            for part, share in zip(parts, shares, strict=True)
        ]
        self.evaluated = {id(split): self._words_of_evaluation(split) for split in splits}
        self.compile_seconds = time.perf_counter() - started

    def _whole_shares(self, rows: Rows, densities: Array, batch_size: int, threads: int) -> tuple[Share, Share]:
        """All features of the rows for training, as they are multiplied and as they are updated."""
        network = self.network
        in_place = self.config.optimizer == "sgd" and threads == 1 and not network.layout.first_layer_by_groups
        if in_place and next_batch_pays(network.bytes_of_listed, densities, batch_size):
            return whole_share(rows), whole_share(rows, batch_size)
        whole = whole_share(rows, network.weights_ahead)
        return whole, whole

    def bind(self, rows: Rows, share: Share, *, few: bool) -> Inputs:
        """The compiled first layer for training; the rows and the share must outlive it."""
        return self.network.bind(rows, self.whole, share, training=True, few=few)

    def make_member(self, part: Part, inputs: Inputs, share: Share) -> Member:
        """What a thread is given: memory of its own too."""
        buffers, targets = self.network.buffers_of_thread(), self.targets[id(self.data.train)]
        return Member(part, inputs, share, Words(self.network.layout, buffers, self.settings, inputs, part, targets))

    def _words_of_evaluation(self, split: Split) -> Words:
        """What the evaluation of a split is given: all but the examples."""
        network, settings = self.network, self.settings._replace(training=False)
        whole = self.shares[id(split)]
        inputs = network.bind(self.rows[id(split)], whole, whole, training=False)
        keys = np.zeros(len(self.config.hidden), np.uint32)
        return Words(network.layout, network.buffers, settings, inputs, self.targets[id(split)], keys)

    def _functions(self, share: Share) -> Iterator[Key | None]:
        """What the run needs compiled, that which takes longest first."""
        network, nothing, keys = self.network, np.empty(0, np.int64), np.empty(0, np.uint32)
        settings = settings_of(self.config, self.data.scale, training=True)
        inputs, part, _ = kernels.unbound(self.config.dtype)
        given, targets = (network.layout, network.buffers, settings, inputs), self.targets[id(self.data.train)]
        yield kernels.run_steps.key(*given, part, targets, Steps(nothing, 0, 0, 0, np.empty(0), keys))
        for functions in network.functions(self.config, settings).values():
            yield from functions
        of_training = network.first_layer(
            self.rows[id(self.data.train)], self.whole, share, training=True, few=self.few
        )
        of_evaluation = (
            network.first_layer(rows, self.shares[name], self.shares[name], training=False)
            for name, rows in self.rows.items()
        )
        for layer in (of_training, *of_evaluation):
            for functions in layer.functions().values():
                yield from functions
        yield kernels.evaluate.key(*given, targets, keys, nothing)

    def run(self, stretch: Stretch) -> Totals:
        """Does the steps of the stretch in one call, or in one of each thread."""
        calls = [partial(self._run_member, member, stretch) for member in self.members]
        return run_together(calls, lambda: dissolve([member.part for member in self.members]))

    def _run_member(self, member: Member, stretch: Stretch) -> Totals:
        steps = Steps(
            np.ascontiguousarray(stretch.order),
            stretch.first,
            stretch.last,
            stretch.step,
            stretch.learning_rates,
            stretch.dropout_keys,
        )
        return Totals(*kernels.run_steps(member.words, steps))

    def evaluate(self, split: Split) -> tuple[float, float]:
        """Weighted mean of the cross-entropy, and accuracy, in one call."""
        loss, correct = self._evaluate(split, split.indices)
        return loss / split.total_weight, correct / len(split)

    def _evaluate(self, split: Split, indices: NDArray[np.int64]) -> tuple[float, int]:
        result: tuple[float, int] = kernels.evaluate(self.evaluated[id(split)], np.ascontiguousarray(indices))
        return result

    def squared_weights(self) -> float:
        """The sum of squared weights, in float64."""
        with np.errstate(over="ignore"):  # an infinite penalty is a diverged run
            return self.network.squared_weights()

    def parameters(self) -> Parameters:
        """A copy of the parameters."""
        return self.network.parameters()

    def moments(self) -> list[Parameters]:
        """Copies of the optimiser's moments, each in the shape of the parameters."""
        return self.network.moments()

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
