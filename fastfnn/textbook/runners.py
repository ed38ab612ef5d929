"""The arithmetic behind `L_layer_model`: stretches of steps in compiled calls, or the functions one after the other.

Shapes: X (K, m) and Y (C, m), examples as columns; an order is the columns of an epoch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset, Split, as_features
from fastfnn.engine import KernelEngine
from fastfnn.errors import ConfigError, DataError
from fastfnn.kernels import columns
from fastfnn.kernels.structures import Statistics
from fastfnn.parameters import Parameters
from fastfnn.stretch import Stretch, Totals
from fastfnn.textbook.arrays import Array
from fastfnn.textbook.backward import L_model_backward, Update_parameters
from fastfnn.textbook.cost import EXACT, accuracy_of, compute_cost, squared_weights
from fastfnn.textbook.forward import Cache, L_model_forward
from fastfnn.textbook.options import Batchnorm, Dropout, L2Convention, Logarithm, check_at_least, check_choice
from fastfnn.textbook.splits import Columns, columns_of

PIXEL_LEVELS = (255.0, 1.0)  # pixels / 255, and raw ones


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """What a step computes."""

    learning_rate: float
    batch_size: int
    batchnorm: Batchnorm | None = None
    lambd: float = 0.0
    l2_convention: L2Convention = "per_batch"
    dropout: Dropout | None = None
    logarithm: Logarithm

    def __post_init__(self) -> None:
        check_at_least("batch_size", self.batch_size, 1)
        check_at_least("lambd", self.lambd, 0)
        check_choice("l2_convention", self.l2_convention, ("per_batch", "fixed"))
        if not 0 < self.learning_rate < math.inf:
            raise ConfigError(f"learning_rate: expected a positive number, found {self.learning_rate!r}")

    def cost(self, AL: Array, Y: Array, parameters: dict[str, Array]) -> float:
        """The cost by these conventions."""
        return compute_cost(AL, Y, parameters, self.lambd, logarithm=self.logarithm, l2_convention=self.l2_convention)

    def penalty(self, parameters: dict[str, Array], examples: int) -> float:
        """The part of the cost that the weights are responsible for."""
        if not self.lambd:
            return 0.0
        return self.lambd / (2 * examples if self.l2_convention == "per_batch" else 2) * squared_weights(parameters)


class Examples(NamedTuple):
    """A set of examples, and which columns of it are for training and for validation."""

    X: Array
    Y: Array
    train: Columns
    validation: tuple[Array, Array] | Columns | None

    def validation_arrays(self) -> tuple[Array, Array] | None:
        """The validation set as arrays of its own."""
        if isinstance(self.validation, np.ndarray):
            return columns_of(self.X, self.validation), columns_of(self.Y, self.validation)
        return self.validation


class Outcome(NamedTuple):
    """Of a stretch of steps: the first batch's cost before its step if it is recorded, correct answers on the way."""

    cost: float | None
    correct: int
    examples: int


class Runner(Protocol):
    """Does steps, and holds the parameters."""

    def run(self, order: Columns, first: int, last: int, *, record: bool) -> Outcome:
        """Does the steps first..last-1 of an epoch with this order; the first one's cost is wanted if `record`."""

    def parameters(self) -> dict[str, Array]:
        """The parameters; those of the runner itself or a copy."""

    def validate(self) -> tuple[float, float]:
        """Cost and accuracy of the validation set."""


class FunctionRunner:
    """Calls the functions, as a course script does."""

    def __init__(self, examples: Examples, parameters: dict[str, Array], arithmetic: Arithmetic) -> None:
        self.examples, self.arithmetic, self._parameters = examples, arithmetic, parameters
        self.validation = examples.validation_arrays()

    def run(self, order: Columns, first: int, last: int, *, record: bool) -> Outcome:
        """Does the steps first..last-1 of an epoch with this order; the first one's cost is wanted if `record`."""
        size, cost, correct, seen = self.arithmetic.batch_size, None, 0, 0
        for step in range(first, last):
            batch = order[step * size : (step + 1) * size]
            X, Y = _batch(self.examples.X, batch), _batch(self.examples.Y, batch)
            AL, caches = self._forward(X)
            if record and step == first:
                cost = self.arithmetic.cost(AL, Y, self._parameters)
            self._backward(AL, Y, caches)
            correct += round(accuracy_of(AL, Y) * len(batch))
            seen += len(batch)
        return Outcome(cost, correct, seen)

    def _forward(self, X: Array) -> tuple[Array, list[Cache]]:
        options = self.arithmetic
        return L_model_forward(X, self._parameters, options.batchnorm or False, dropout=options.dropout)

    def _backward(self, AL: Array, Y: Array, caches: list[Cache]) -> None:
        options = self.arithmetic
        grads = L_model_backward(AL, Y, caches, lambd=options.lambd, l2_convention=options.l2_convention)
        Update_parameters(self._parameters, grads, options.learning_rate)

    def parameters(self) -> dict[str, Array]:
        """The parameters that the steps change."""
        return self._parameters

    def validate(self) -> tuple[float, float]:
        """Cost and accuracy of the validation set."""
        assert self.validation is not None
        X, Y = self.validation
        AL, _ = L_model_forward(X, self._parameters, self.arithmetic.batchnorm or False)
        return self.arithmetic.cost(AL, Y, self._parameters), accuracy_of(AL, Y)


def _batch(matrix: Array, batch: Columns) -> Array:
    """The columns of a batch: a view where they are consecutive."""
    first, last = int(batch[0]), int(batch[-1])
    if last - first == len(batch) - 1 and np.array_equal(batch, np.arange(first, last + 1)):
        return matrix[:, first : last + 1]
    return columns_of(matrix, batch)


class EngineRunner:
    """Does whole stretches of steps in one compiled call."""

    def __init__(self, examples: Examples, parameters: dict[str, Array], arithmetic: Arithmetic) -> None:
        self.examples, self.arithmetic = examples, arithmetic
        # The engine's own evaluation knows neither batch statistics of a whole set nor other logarithms.
        evaluates = arithmetic.batchnorm is None and arithmetic.logarithm == EXACT
        self.validation = None if evaluates else examples.validation_arrays()
        data = _dataset(examples, with_validation=evaluates)
        weights = [parameters[f"W{layer}"] for layer in range(1, len(parameters) // 2 + 1)]
        packed, statistics = _packed(parameters, arithmetic.batchnorm), _statistics(arithmetic.batchnorm)
        self.engine = KernelEngine(data, _configuration(weights, arithmetic), packed, statistics=statistics)
        self._no_keys = np.zeros(len(weights) - 1, np.uint32)

    def run(self, order: Columns, first: int, last: int, *, record: bool) -> Outcome:
        """Does the steps first..last-1 of an epoch with this order; the first one's cost is wanted if `record`."""
        if not record:
            totals = self._steps(order, first, last)
            return Outcome(math.nan if totals.diverged else None, totals.correct, totals.examples)
        cost = self._cost_before(order, first)
        one, rest = self._steps(order, first, first + 1), self._steps(order, first + 1, last)
        if one.diverged or rest.diverged:
            cost = math.nan
        elif cost is None:
            cost = one.loss / one.examples + self._penalty
        return Outcome(cost, one.correct + rest.correct, one.examples + rest.examples)

    def _cost_before(self, order: Columns, step: int) -> float | None:
        """The cost of a step's batch, where it is not the loss that the step itself reports, plus a penalty."""
        size, options = self.arithmetic.batch_size, self.arithmetic
        batch = order[step * size : (step + 1) * size]
        if options.logarithm == EXACT:
            self._penalty = options.penalty(self.parameters(), len(batch)) if options.lambd else 0.0
            return None
        parameters = self.parameters()
        AL, _ = L_model_forward(_batch(self.examples.X, batch), parameters, options.batchnorm or False)
        return options.cost(AL, _batch(self.examples.Y, batch), parameters)

    def _steps(self, order: Columns, first: int, last: int) -> Totals:
        rates = np.full(last - first, self.arithmetic.learning_rate)
        return self.engine.run(Stretch(order, first, last, first, rates, self._no_keys))

    def parameters(self) -> dict[str, Array]:
        """A copy of the parameters, with the names and shapes of the course."""
        packed = self.engine.parameters()
        result = {}
        for layer, (weights, biases) in enumerate(zip(packed.weights, packed.biases, strict=True), start=1):
            result[f"W{layer}"], result[f"b{layer}"] = np.ascontiguousarray(weights.T), biases.reshape(-1, 1)
        return result

    def validate(self) -> tuple[float, float]:
        """Cost and accuracy of the validation set."""
        split = self.engine.data.validation
        parameters = self.parameters()
        if split is not None:
            loss, accuracy = self.engine.evaluate(split)
            return loss + self.arithmetic.penalty(parameters, len(split)), accuracy
        assert self.validation is not None
        X, Y = self.validation
        AL, _ = L_model_forward(X, parameters, self.arithmetic.batchnorm or False)
        return self.arithmetic.cost(AL, Y, parameters), accuracy_of(AL, Y)


def can_run_in_engine(arithmetic: Arithmetic) -> bool:
    """Whether the engine has all the conventions."""
    batchnorm = arithmetic.batchnorm
    if arithmetic.dropout is not None:
        return False
    return batchnorm is None or (batchnorm.axis == 1 and arithmetic.batch_size > 1)


def labels_of(Y: Array) -> NDArray[np.int64]:
    """The class numbers (m,) of one-hot columns.

    Raises:
        DataError: naming the first column that is not one-hot.
    """
    is_one_hot = ((Y == 0) | (Y == 1)).all(axis=0) & (Y.sum(axis=0) == 1)
    if not is_one_hot.all():
        column = int(np.argmin(is_one_hot))
        raise DataError(f"Y: expected one-hot columns, found {Y[:, column].tolist()} in column {column}")
    return np.asarray(Y.argmax(axis=0), dtype=np.int64)


def _rows(matrices: list[Array]) -> tuple[list[Any], float]:
    """Matrices as rows of features, and what these are multiplied by: bytes where all are pixels."""
    line = np.empty(columns.TOGETHER, np.uint8)
    for levels in PIXEL_LEVELS:
        rows = [np.empty(matrix.shape[::-1], np.uint8) for matrix in matrices]
        if all(columns.to_pixels(matrix, row, line, levels) for matrix, row in zip(matrices, rows, strict=True)):
            return rows, 1 / levels
    return [as_features(np.ascontiguousarray(matrix.T), "X") for matrix in matrices], 1.0


def _dataset(examples: Examples, *, with_validation: bool) -> Dataset:
    """The examples as the engine takes them."""
    validation = examples.validation if with_validation else None
    apart = validation if isinstance(validation, tuple) else None
    features, scale = _rows([examples.X] if apart is None else [examples.X, apart[0]])
    labels = labels_of(examples.Y)
    held_out: Split | None
    if apart is not None:
        held_out = Split(features[1], labels_of(apart[1]), np.arange(apart[0].shape[1]))
    else:
        held_out = None if validation is None else Split(features[0], labels, np.sort(validation))
    train = Split(features[0], labels, examples.train)
    return Dataset("columns", np.arange(len(examples.Y)), scale, train, held_out)


def _configuration(weights: list[Array], arithmetic: Arithmetic) -> TrainingConfig:
    return TrainingConfig(
        hidden=tuple(len(W) for W in weights[:-1]),
        batch_size=arithmetic.batch_size,
        learning_rate=arithmetic.learning_rate,
        l2=arithmetic.lambd,
        l2_convention=arithmetic.l2_convention,
        batchnorm="after" if arithmetic.batchnorm else "off",
        dtype="float64",
    )


def _statistics(batchnorm: Batchnorm | None) -> Statistics:
    options = batchnorm or Batchnorm()
    return Statistics(
        options.eps,
        on_deviation=options.eps_on == "deviation",
        unbiased=options.variance == "unbiased",
        affine=False,
        unchanged=options.gradient == "course",
    )


def _packed(parameters: dict[str, Array], batchnorm: Batchnorm | None) -> Parameters:
    """The parameters as the engine takes them, with what its batch norm has besides."""
    layers = range(1, len(parameters) // 2 + 1)
    weights, biases = [parameters[f"W{n}"].T for n in layers], [parameters[f"b{n}"].reshape(-1) for n in layers]
    normalised = biases[:-1] if batchnorm else []
    ones, zeros = ([make(b) for b in normalised] for make in (np.ones_like, np.zeros_like))
    return Parameters(weights, biases, ones, zeros, zeros, ones)
