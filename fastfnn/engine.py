"""The compiled kernels behind the training loop: stretches of steps in, sums out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastfnn import kernels
from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset, Split
from fastfnn.kernels import Buffers, Inputs, Part, Share, Steps, Targets
from fastfnn.kernels.memory import read_only
from fastfnn.packing import MOMENTS, PackedNetwork, settings_of
from fastfnn.parameters import Parameters, initialise
from fastfnn.rows import densities_in_order, order_of_features, rows_of_split, whole_share
from fastfnn.stretch import Stretch, Totals
from fastfnn.teams import Division, dissolve, make_parts, run_together, threads_that_pay
from fastfnn.warmup import compile_evaluation, compile_steps, others_compiled_beside

Array = NDArray[Any]

TRAINING_BLOCK = 128  # examples that go through the layers together while they fit the first-level cache


class Member(NamedTuple):
    """What one thread of a run is given; `share` is kept because `inputs` has but its address."""

    part: Part
    inputs: Inputs
    share: Share
    buffers: Buffers


def targets_of(split: Split) -> Targets:
    """Labels and weights of a split as the kernels take them."""
    weights = np.empty(0) if split.weights is None else split.weights
    return Targets(read_only(split.labels), read_only(weights), split.weights is not None)


class KernelEngine:
    """Runs stretches of steps in compiled code."""

    def __init__(
        self,
        data: Dataset,
        config: TrainingConfig,
        parameters: Parameters | None = None,
        moments: Sequence[Parameters] = (),
    ) -> None:
        """Starts from `parameters` and the optimiser's `moments`, or else from the weights that the seed draws."""
        self.data, self.config = data, config
        started = time.perf_counter()
        splits = [split for split in (data.train, data.validation, data.test) if split]
        order = order_of_features(data, config.input)
        rows = {id(split): rows_of_split(data, split, order, config.dtype) for split in splits}
        self.load_seconds = time.perf_counter() - started
        parameters = parameters or initialise(config, data.n_features, data.n_classes, config.seed)
        batch_size = min(config.batch_size, len(data.train))
        block = TRAINING_BLOCK if config.batchnorm == "off" else config.batchnorm_group or batch_size
        self.network = PackedNetwork(
            parameters, config, order, block=block, batch_size=batch_size, moments=MOMENTS[config.optimizer]
        )
        if moments:
            self.network.put_moments(moments)
        self.settings = settings_of(config, data.scale, training=True)
        self.evaluation_settings = self.settings._replace(training=False)
        # Inputs hold but their addresses.
        self.rows, self.shares = rows, {name: whole_share(of_split) for name, of_split in rows.items()}
        started = time.perf_counter()
        of_training = rows[id(data.train)]
        division = self._division(densities_in_order(data, order), batch_size)
        parts = make_parts(division)
        with others_compiled_beside(of_training, int(self.network.layout.units[1]), config.dtype):
            compile_steps(parts[0], targets_of(data.train), self.network, self.settings)
        compile_evaluation(self.network, self.evaluation_settings)
        self.inputs = {
            id(split): self.network.bind(rows[id(split)], self.shares[id(split)], training=False) for split in splits
        }
        self.members = [
            Member(part, self.network.bind(of_training, share, training=True), share, self.network.buffers_of_thread())
            for part, share in zip(parts, division.shares(of_training), strict=True)
        ]
        self.compile_seconds = time.perf_counter() - started

    def _division(self, densities: Array, batch_size: int) -> Division:
        """Which thread of the run has which parameters."""
        layout = self.network.layout
        return Division(layout, densities, threads_that_pay(self.config.threads, layout.units, batch_size))

    def run(self, stretch: Stretch) -> Totals:
        """Does the steps of the stretch in one call, or in one of each thread."""
        calls = [partial(self._run_member, member, stretch) for member in self.members]
        return run_together(calls, lambda: dissolve([member.part for member in self.members]))

    def _run_member(self, member: Member, stretch: Stretch) -> Totals:
        steps = Steps(
            read_only(stretch.order),
            stretch.first,
            stretch.last,
            stretch.step,
            stretch.learning_rates,
            stretch.dropout_keys,
        )
        loss, correct, examples, weight, done, diverged = kernels.run_steps(
            member.part,
            member.inputs,
            targets_of(self.data.train),
            steps,
            self.network.layout,
            member.buffers,
            self.settings,
        )
        return Totals(loss, correct, examples, weight, done, diverged)

    def evaluate(self, split: Split) -> tuple[float, float]:
        """Weighted mean of the cross-entropy, and accuracy, in one call."""
        loss, correct = self._evaluate(split, split.indices)
        return loss / split.total_weight, correct / len(split)

    def _evaluate(self, split: Split, indices: NDArray[np.int64]) -> tuple[float, int]:
        keys = np.zeros(len(self.config.hidden), np.uint32)
        inputs, network = self.inputs[id(split)], self.network
        result: tuple[float, int] = kernels.evaluate(
            inputs,
            targets_of(split),
            read_only(indices),
            network.layout,
            network.buffers,
            self.evaluation_settings,
            keys,
        )
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
