"""PyTorch eager: layers, cross_entropy and torch.optim.SGD, as its users write them.

Tried on MNIST, one thread: taking a batch's rows by `index_select` is faster than by indexing and than reordering all
rows at the start of the epoch (1.1 times each); `fused=True` is the fastest SGD from 128 on, and within the noise of
`foreach=True` at 16. Losses are added up at the end of the epoch, where it costs one operation.

Compressed rows have two forms, since each is the faster one somewhere: EmbeddingBag, whose gradient names the columns
that a batch met (small batches), and a product with a CSR tensor, whose gradient has all columns (large ones).
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.parameters import Parameters, initialise

from .peer import Order, Peer, csr_rows, dense_rows


def linear(weights: NDArray[np.float32], biases: NDArray[np.float32]) -> nn.Linear:
    """A layer with a copy of these parameters; PyTorch's weights are output-major."""
    layer = nn.Linear(*weights.shape)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weights.T))
        layer.bias.copy_(torch.from_numpy(biases))
    return layer


def relu_network(layers: list[nn.Module]) -> nn.Sequential:
    """The layers with ReLU between them."""
    between = [module for layer in layers for module in (layer, nn.ReLU())]
    return nn.Sequential(*between[:-1])


class TorchPeer(Peer):
    """Dense rows."""

    def __init__(self, data: Dataset, config: TrainingConfig, threads: int) -> None:
        super().__init__(data, config, threads)
        torch.set_num_threads(threads)
        self.labels = torch.from_numpy(data.train.labels)
        self.use_rows(data)
        parameters = initialise(config, data.n_features, data.n_classes, config.seed)
        self.network = relu_network([self.first_layer(parameters), *self._other_layers(parameters)])
        self.optimizer = self.optimizer_of(self.network)

    def use_rows(self, data: Dataset) -> None:
        """Keeps the features in the form that the peer reads."""
        self.features = torch.from_numpy(dense_rows(data))

    def first_layer(self, parameters: Parameters) -> nn.Module:
        """What reads the rows."""
        return linear(parameters.weights[0], parameters.biases[0])

    @staticmethod
    def _other_layers(parameters: Parameters) -> list[nn.Module]:
        return [linear(w, b) for w, b in zip(parameters.weights[1:], parameters.biases[1:], strict=True)]

    def optimizer_of(self, network: nn.Module) -> torch.optim.Optimizer:
        """Plain SGD."""
        return torch.optim.SGD(network.parameters(), lr=self.learning_rate, fused=True)

    def epoch(self, order: Order) -> float:
        costs, sizes = [], []
        for batch in torch.from_numpy(order).split(self.batch_size):
            inputs, labels = self.features.index_select(0, batch), self.labels.index_select(0, batch)
            costs.append(self.step(inputs, labels))
            sizes.append(len(batch))
        return sum_of_losses(costs, sizes)

    def step(self, inputs: Any, labels: torch.Tensor) -> torch.Tensor:
        """The cost of a batch, after whose step it is."""
        self.optimizer.zero_grad(set_to_none=True)
        cost = functional.cross_entropy(self.network(inputs), labels)
        cost.backward()
        self.optimizer.step()
        return cost.detach()


def sum_of_losses(costs: list[torch.Tensor], sizes: list[int]) -> float:
    """The sum over all examples, from the mean and the size of each batch."""
    return float(torch.stack(costs).double() @ torch.tensor(sizes, dtype=torch.float64))


class CompressedTorchPeer(TorchPeer):
    """Compressed rows: SciPy brings them into the order of the epoch, and batches are slices of its arrays."""

    def use_rows(self, data: Dataset) -> None:
        self.rows = csr_rows(data)

    def epoch(self, order: Order) -> float:
        rows = self.rows[order]
        offsets, columns, values = (torch.from_numpy(array) for array in (rows.indptr, rows.indices, rows.data))
        labels = self.labels.index_select(0, torch.from_numpy(order))
        costs, sizes = [], []
        for first in range(0, len(order), self.batch_size):
            size = min(self.batch_size, len(order) - first)
            begin, end = int(rows.indptr[first]), int(rows.indptr[first + size])
            bounds = offsets[first : first + size + 1] - begin
            inputs = self.inputs_of(bounds, columns[begin:end], values[begin:end])
            costs.append(self.step(inputs, labels[first : first + size]))
            sizes.append(size)
        return sum_of_losses(costs, sizes)

    @abstractmethod
    def inputs_of(self, bounds: torch.Tensor, columns: torch.Tensor, values: torch.Tensor) -> Any:
        """A batch as the first layer reads it; row i is bounds[i] to bounds[i + 1] of the others."""


class _CsrProduct(nn.Module):
    def __init__(self, weights: NDArray[np.float32], biases: NDArray[np.float32]) -> None:
        super().__init__()
        self.weights, self.biases = nn.Parameter(torch.tensor(weights)), nn.Parameter(torch.tensor(biases))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows @ self.weights + self.biases


class TorchCsrPeer(CompressedTorchPeer):
    """A product with a CSR tensor."""

    def first_layer(self, parameters: Parameters) -> nn.Module:
        # Said once, that it is in beta state.
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        return _CsrProduct(parameters.weights[0], parameters.biases[0])

    def inputs_of(self, bounds: torch.Tensor, columns: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        shape = (len(bounds) - 1, self.data.n_features)
        return torch.sparse_csr_tensor(bounds, columns, values, size=shape, check_invariants=False)


class _WeightedBag(nn.Module):
    def __init__(self, weights: NDArray[np.float32], biases: NDArray[np.float32]) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag.from_pretrained(torch.tensor(weights), freeze=False, mode="sum", sparse=True)
        self.biases = nn.Parameter(torch.tensor(biases))

    def forward(self, rows: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> torch.Tensor:
        bounds, columns, values = rows
        return self.bag(columns, bounds[:-1], per_sample_weights=values) + self.biases


class TorchBagPeer(CompressedTorchPeer):
    """EmbeddingBag: the sum of the weights' rows that an example names, each times its value."""

    def first_layer(self, parameters: Parameters) -> nn.Module:
        return _WeightedBag(parameters.weights[0], parameters.biases[0])

    def optimizer_of(self, network: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(network.parameters(), lr=self.learning_rate)  # neither fused nor foreach is for sparse

    def inputs_of(
        self, bounds: torch.Tensor, columns: torch.Tensor, values: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return bounds, columns, values
