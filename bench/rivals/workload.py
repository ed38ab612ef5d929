"""What is trained: the data and the network, the same in every process."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import sparse

from fastfnn.config import InputKind, TrainingConfig
from fastfnn.data import Dataset, Split, load_dataset
from fastfnn.streams import epoch_order

from .peer import Order, dense_rows

SEED = 0
CLASSES = 10
CHECKED_STEPS = 20


@dataclass(frozen=True)
class Synthetic:
    """A sparse matrix of standard normal values at random places, with labels at random."""

    rows: int
    columns: int
    density: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads ROWSxCOLUMNS@DENSITY, such as 20000x20000@0.005."""
        shape, _, density = text.partition("@")
        rows, _, columns = shape.partition("x")
        made = cls(int(rows), int(columns), float(density))
        if min(made.rows, made.columns) < 1 or not 0 < made.density <= 1:
            raise ValueError(text)
        return made

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}@{self.density:g}"

    def load(self) -> Dataset:
        """The data; every row is drawn the same number of places, of which those drawn twice count once."""
        generator = np.random.default_rng(SEED)
        in_a_row = max(1, round(self.density * self.columns))
        places = generator.integers(0, self.columns, (self.rows, in_a_row)).reshape(-1)
        values = generator.standard_normal(len(places), dtype=np.float32)
        ends = np.arange(0, len(places) + 1, in_a_row)
        features = sparse.csr_array((values, places, ends), shape=(self.rows, self.columns))
        labels = np.resize(np.arange(CLASSES), self.rows)
        return Dataset.from_arrays(features, generator.permutation(labels), validation=0, name=f"synthetic {self}")


@dataclass(frozen=True)
class Workload:
    """Data by name or path, or made up, and the network that is trained on it."""

    data: str = "mnist"
    synthetic: str | None = None
    hidden: tuple[int, ...] = TrainingConfig().hidden
    input: InputKind = "auto"
    learning_rate: float = 0.009

    def load(self) -> Dataset:
        """The training split alone; as float rows where fastfnn is to read dense ones."""
        data = Synthetic.parse(self.synthetic).load() if self.synthetic else load_dataset(self.data)
        train, scale = data.train, data.scale
        if self.input == "dense":
            train, scale = Split(dense_rows(data), train.labels, train.indices), 1.0
        return dataclasses.replace(data, train=train, scale=scale, validation=None, test=None)

    def config(self, batch_size: int) -> TrainingConfig:
        """The run of a batch size."""
        return TrainingConfig(
            hidden=self.hidden,
            batch_size=batch_size,
            learning_rate=self.learning_rate,
            input=self.input,
            seed=SEED,
        )


def order_of(data: Dataset, epoch: int) -> Order:
    """The examples of an epoch in their order."""
    return epoch_order(SEED, epoch, data.train.indices, shuffle=True)


def first_steps(data: Dataset, batch_size: int, steps: int = CHECKED_STEPS) -> Order:
    """The examples of the first steps, over as many epochs as it takes; a batch that is not full is left out."""
    in_an_epoch = len(data.train) // batch_size
    epochs = -(-steps // in_an_epoch)
    orders = [order_of(data, epoch)[: in_an_epoch * batch_size] for epoch in range(epochs)]
    return np.concatenate(orders)[: steps * batch_size]
