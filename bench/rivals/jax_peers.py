"""JAX: one compiled program an epoch, a scan over its batches, its parameters updated in place.

Tried on MNIST, one thread: taking the rows of a batch in each step is faster than taking those of the epoch at once
(1.1 to 1.4 times); two to sixteen steps in one turn of the loop, and a gradient written by hand, change little or lose;
the label's loss by a one-hot product is up to 1.1 times as fast as by indexing, whose gradient is a scatter.
`--xla_cpu_enable_fast_math` changes the results and gains nothing.

Compressed rows are padded to the longest one. The first layer takes the rows of the weights that an example names, and
adds their gradients to those rows alone; a gradient of all weights would be written and read in every step.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.parameters import initialise

from .peer import Order, Peer, csr_rows, dense_rows

Layers = list[tuple[jax.Array, jax.Array]]  # weights and biases


def logits(layers: Layers, inputs: jax.Array) -> jax.Array:
    """The outputs of a network of these layers."""
    *hidden, (w, b) = layers
    for v, a in hidden:
        inputs = jax.nn.relu(inputs @ v + a)
    return inputs @ w + b


def cross_entropy(outputs: jax.Array, labels: jax.Array) -> jax.Array:
    """The mean over the examples."""
    classes = outputs.shape[1]
    return -jnp.sum(jax.nn.log_softmax(outputs) * jax.nn.one_hot(labels, classes)) / len(labels)


def descend(parameters: Any, gradients: Any, learning_rate: float) -> Any:
    """A step of SGD."""
    return jax.tree.map(lambda value, gradient: value - learning_rate * gradient, parameters, gradients)


class JaxPeer(Peer):
    """Dense rows."""

    def __init__(self, data: Dataset, config: TrainingConfig, threads: int) -> None:
        super().__init__(data, config, threads)
        self.rows = data.derived(("rows", type(self)), lambda: (*self.rows_of(data), _labels(data)))
        parameters = initialise(config, data.n_features, data.n_classes, config.seed)
        # Copies: JAX would use NumPy's memory, which it must not overwrite.
        self.layers: Layers = [
            (jnp.array(w, copy=True), jnp.array(b, copy=True))
            for w, b in zip(parameters.weights, parameters.biases, strict=True)
        ]
        self.program = jax.jit(partial(self._losses, self.batch_size), donate_argnums=0)

    def rows_of(self, data: Dataset) -> tuple[jax.Array, ...]:
        """The arrays that hold the features, a row for each example."""
        return (jnp.asarray(dense_rows(data)),)

    def _losses(self, batch_size: int, layers: Layers, rows: Any, order: jax.Array) -> tuple[Layers, jax.Array]:
        """The layers after the steps, and the sum of the losses of each."""

        def step(layers: Layers, batch: jax.Array) -> tuple[Layers, jax.Array]:
            cost, updated = self.step(layers, *(array[batch] for array in rows))
            return updated, cost * len(batch)

        full = len(order) // batch_size * batch_size
        layers, losses = jax.lax.scan(step, layers, order[:full].reshape(-1, batch_size))
        if full < len(order):
            layers, rest = step(layers, order[full:])
            losses = jnp.append(losses, rest)
        return layers, losses

    def step(self, layers: Layers, inputs: jax.Array, labels: jax.Array) -> tuple[jax.Array, Layers]:
        """The cost of a batch and the layers after its step."""
        cost, gradients = jax.value_and_grad(lambda own: cross_entropy(logits(own, inputs), labels))(layers)
        return cost, descend(layers, gradients, self.learning_rate)

    def epoch(self, order: Order) -> float:
        return float(self._run(order).sum(dtype=np.float64))

    def step_losses(self, order: Order) -> list[float]:
        return [float(loss) for loss in self._run(order)]

    def _run(self, order: Order) -> np.ndarray:
        self.layers, losses = self.program(self.layers, self.rows, order.astype(np.int32))
        return np.asarray(losses)


class JaxCsrPeer(JaxPeer):
    """Compressed rows, padded."""

    def rows_of(self, data: Dataset) -> tuple[jax.Array, ...]:
        rows = csr_rows(data)
        counts = np.diff(rows.indptr)
        filled = np.arange(counts.max()) < counts[:, None]
        columns, values = np.zeros(filled.shape, np.int32), np.zeros(filled.shape, np.float32)
        columns[filled], values[filled] = rows.indices, rows.data
        return jnp.asarray(columns), jnp.asarray(values)

    def step(
        self, layers: Layers, columns: jax.Array, values: jax.Array, labels: jax.Array
    ) -> tuple[jax.Array, Layers]:
        (w, b), *others = layers

        def cost_of(sums: jax.Array, b: jax.Array, others: Layers) -> jax.Array:
            outputs = logits(others, jax.nn.relu(sums + b)) if others else sums + b
            return cross_entropy(outputs, labels)

        sums = jnp.einsum("nk,nkh->nh", values, w[columns])
        cost, (of_sums, *gradients) = jax.value_and_grad(cost_of, argnums=(0, 1, 2))(sums, b, others)
        w = w.at[columns].add(-self.learning_rate * values[:, :, None] * of_sums[:, None, :])
        b, others = descend([b, others], gradients, self.learning_rate)
        return cost, [(w, b), *others]


def _labels(data: Dataset) -> jax.Array:
    return jnp.asarray(data.train.labels.astype(np.int32))
