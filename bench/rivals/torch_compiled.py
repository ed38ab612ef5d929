"""PyTorch compiled: whole steps, from the example numbers to the updated parameters, in one graph by Inductor.

Tried on MNIST, one thread: a graph of forward, backward and update (`torch.func.grad_and_value`) is 2 to 4 times as
fast as a compiled model with `backward()` and an optimiser outside; `cpp_wrapper` wins 1.1 times; max-autotune nothing.
Calling a graph takes a tenth of a millisecond, so at small batch sizes several steps share one: at 16 five halve the
time, ten and more come near JAX (twenty-five: another fifth, and a minute to compile). Not used: a stance of PyTorch's
that skips the tests of a graph's arguments, called unsafe by its own name (1.1 times at 16).
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.parameters import initialise

from .peer import Order, Peer, UnavailableError, dense_rows

Parameters = list[torch.Tensor]  # weights of all layers, then biases
Program = Callable[..., torch.Tensor]

EXAMPLES_OF_A_GRAPH = 640
MOST_STEPS_OF_A_GRAPH = 10


def steps_of_a_graph(batch_size: int) -> int:
    """As many as it takes to hide the call, at most those that compile in half a minute."""
    return max(1, min(MOST_STEPS_OF_A_GRAPH, EXAMPLES_OF_A_GRAPH // batch_size))


def cost(parameters: Parameters, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The mean cross-entropy."""
    last = len(parameters) // 2 - 1
    for layer in range(last + 1):
        inputs = torch.addmm(parameters[last + 1 + layer], inputs, parameters[layer])
        if layer < last:
            inputs = torch.relu(inputs)
    return functional.cross_entropy(inputs, labels)


def compiled_steps(count: int, learning_rate: float) -> Program:
    """Does `count` steps on the rows that an order (count, N) names; the sum of the losses of each."""
    gradients_and_cost = torch.func.grad_and_value(cost)

    def steps(
        parameters: Parameters, features: torch.Tensor, labels: torch.Tensor, order: torch.Tensor
    ) -> torch.Tensor:
        losses = []
        for number in range(count):
            batch = order[number]
            gradients, mean = gradients_and_cost(
                parameters, features.index_select(0, batch), labels.index_select(0, batch)
            )
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(gradient, alpha=learning_rate)
            losses.append(mean * len(batch))
        return torch.stack(losses)

    return torch.compile(with_graphs_of_its_own(steps), fullgraph=True, dynamic=False, options={"cpp_wrapper": True})


def with_graphs_of_its_own(function: Any) -> Any:
    """The function on a copy of its code, to which PyTorch ties the graphs.

    Closures of one function share them otherwise, and a call would be tested against those of all batch sizes.
    """
    own = types.FunctionType(function.__code__.replace(), function.__globals__, closure=function.__closure__)
    own.__name__ = function.__name__
    return own


class TorchCompiledPeer(Peer):
    """Dense rows."""

    def __init__(self, data: Dataset, config: TrainingConfig, threads: int) -> None:
        super().__init__(data, config, threads)
        torch.set_num_threads(threads)
        must_compile()
        self.features, self.labels = torch.from_numpy(dense_rows(data)), torch.from_numpy(data.train.labels)
        initial = initialise(config, data.n_features, data.n_classes, config.seed)
        self.parameters = [torch.tensor(array) for array in (*initial.weights, *initial.biases)]
        self.count = steps_of_a_graph(config.batch_size)
        self.programs = {count: compiled_steps(count, self.learning_rate) for count in {1, self.count}}

    def epoch(self, order: Order) -> float:
        return float(self._run(order).sum(dtype=torch.float64))

    def step_losses(self, order: Order) -> list[float]:
        return self._run(order).tolist()

    @torch.no_grad()
    def _run(self, order: Order) -> torch.Tensor:
        numbers, together = torch.from_numpy(order), self.count * self.batch_size
        grouped = len(order) // together * together
        losses = [self._steps(self.count, group) for group in numbers[:grouped].view(-1, self.count, self.batch_size)]
        losses += [self._steps(1, batch[None]) for batch in numbers[grouped:].split(self.batch_size) if len(batch)]
        return torch.cat(losses)

    def _steps(self, count: int, order: torch.Tensor) -> torch.Tensor:
        return self.programs[count](self.parameters, self.features, self.labels, order)


def must_compile() -> None:
    """Tries it on next to nothing.

    Raises:
        UnavailableError: when there is no compiler, or PyTorch does not support this Python.
    """
    try:
        torch.compile(torch.square)(torch.ones(16))
    except Exception as error:  # whatever the layers of the compiler raise
        raise UnavailableError(f"torch.compile: {str(error).strip().splitlines()[0]}") from None
