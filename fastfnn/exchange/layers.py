"""Layers as other libraries have them, one after the other -> the configuration and arrays of a network.

Shapes: K features in, H units out of a layer, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastfnn.config import Activation, Batchnorm, Dtype, NetworkConfig
from fastfnn.data.arrays import as_labels
from fastfnn.errors import DataError
from fastfnn.parameters import BATCHNORM_TENSORS, Parameters

Array = NDArray[Any]


@dataclass(frozen=True)
class Linear:
    """x @ weights + biases: (K, H) and (H,). `name` is what errors call the layer."""

    name: str
    weights: Array
    biases: Array


@dataclass(frozen=True)
class Normalisation:
    """Batch norm with its running statistics, four arrays (H,)."""

    name: str
    scale: Array
    shift: Array
    running_mean: Array
    running_variance: Array


@dataclass(frozen=True)
class Nonlinearity:
    """An activation."""

    name: str
    kind: Activation


Layer: TypeAlias = Linear | Normalisation | Nonlinearity

NO_ACTIVATION: Activation = "identity"
PLACEMENTS: dict[tuple[type, ...], Batchnorm] = {
    (): "off",
    (Nonlinearity,): "off",
    (Normalisation,): "before",
    (Normalisation, Nonlinearity): "before",
    (Nonlinearity, Normalisation): "after",
}
"""Where batch norm is, by what follows a linear layer."""


@dataclass(frozen=True)
class Block:
    """A linear layer and what follows it up to the next."""

    linear: Linear
    rest: list[Normalisation | Nonlinearity]

    def style(self) -> tuple[Activation, Batchnorm]:
        """The activation, and where batch norm is."""
        kinds = tuple(type(layer) for layer in self.rest)
        if kinds not in PLACEMENTS:
            found = ", ".join(layer.name for layer in self.rest)
            expected = "at most an activation and a batch norm after it"
            raise DataError(f"{self.linear.name}: expected {expected}, found {found}")
        activations = [layer.kind for layer in self.rest if isinstance(layer, Nonlinearity)]
        return (*activations, NO_ACTIVATION)[0], PLACEMENTS[kinds]


def assemble(layers: Sequence[Layer]) -> tuple[NetworkConfig, Parameters]:
    """A network that computes what these layers do.

    Raises:
        DataError: naming the layer whose kind, place, size or values do not fit.
    """
    blocks = _blocks(layers)
    activation, batchnorm = _common_style(blocks[:-1])
    _check_sizes(blocks)
    linear = [block.linear for block in blocks]
    norms = [layer for layer in layers if isinstance(layer, Normalisation)]
    dtype: Dtype = "float64" if any(layer.weights.dtype == np.float64 for layer in linear) else "float32"
    parameters = Parameters(
        [layer.weights.astype(dtype, order="C") for layer in linear],
        [layer.biases.astype(dtype) for layer in linear],
        *([getattr(layer, kind).astype(dtype) for layer in norms] for kind in BATCHNORM_TENSORS),
    )
    hidden = tuple(len(biases) for biases in parameters.biases[:-1])
    return NetworkConfig(hidden=hidden, activation=activation, batchnorm=batchnorm, dtype=dtype), parameters


def _blocks(layers: Sequence[Layer]) -> list[Block]:
    blocks: list[Block] = []
    for layer in layers:
        if isinstance(layer, Linear):
            blocks.append(Block(layer, []))
        elif blocks:
            blocks[-1].rest.append(layer)
        else:
            raise DataError(f"{layer.name}: expected a linear layer before it, found none")
    if not blocks:
        raise DataError("network: expected at least one linear layer, found none")
    if blocks[-1].rest:
        raise DataError(f"{blocks[-1].rest[0].name}: expected nothing after the layer of the logits")
    return blocks


def _common_style(hidden: Sequence[Block]) -> tuple[Activation, Batchnorm]:
    """Activation and place of batch norm, which all hidden layers of a network share."""
    if not hidden:
        return "relu", "off"
    expected = hidden[0].style()
    for block in hidden[1:]:
        if block.style() != expected:
            first, this = (f"activation {a}, batch norm {b}" for a, b in (expected, block.style()))
            raise DataError(f"{block.linear.name}: expected {first} after it, as in the first layer, found {this}")
    return expected


def _check_sizes(blocks: Sequence[Block]) -> None:
    for block in blocks:
        if not block.linear.weights.size:
            raise DataError(f"{block.linear.name}: expected weights, found none, shape {block.linear.weights.shape}")
        units = block.linear.weights.shape[1]
        _check_arrays(block.linear, block.linear.weights.shape, (units,))
        for layer in block.rest:
            _check_arrays(layer, *[(units,)] * len(BATCHNORM_TENSORS))
    for before, after in pairwise(block.linear for block in blocks):
        outputs, inputs = before.weights.shape[1], after.weights.shape[0]
        if inputs != outputs:
            raise DataError(f"{after.name}: expected {outputs} inputs, the outputs of {before.name}, found {inputs}")
    last = blocks[-1].linear
    if last.weights.shape[1] < 2:
        raise DataError(
            f"{last.name}: expected an output for each of at least 2 classes, found {last.weights.shape[1]}"
        )


def _check_arrays(layer: Layer, *shapes: tuple[int, ...]) -> None:
    for (name, array), shape in zip(_arrays(layer), shapes, strict=False):  # an activation has none
        if array.shape != shape:
            raise DataError(f"{layer.name}: expected {name} of shape {shape}, found {array.shape}")
        if not np.isfinite(array).all():
            raise DataError(f"{layer.name}: {name} hold values that are not finite")
        if name == "running_variance" and (array < 0).any():
            raise DataError(f"{layer.name}: expected variances, found a negative value")


def _arrays(layer: Layer) -> Iterator[tuple[str, Array]]:
    for field in fields(layer):
        value = getattr(layer, field.name)
        if isinstance(value, np.ndarray):
            yield field.name, value


def label_values(classes: ArrayLike | None, n_classes: int) -> Array:
    """Label values (C,), 0 to C - 1 for None.

    Raises:
        DataError: when they are not C different labels.
    """
    if classes is None:
        return np.arange(n_classes)
    labels = as_labels(classes, "classes")
    if len(set(labels.tolist())) != n_classes or len(labels) != n_classes:
        raise DataError(f"classes: expected {n_classes} different labels, one for each output, found {labels.tolist()}")
    return labels


def checked_scale(scale: float) -> float:
    """The feature scale, if it is one.

    Raises:
        DataError: when it is not a positive number.
    """
    if not (0 < scale < math.inf):
        raise DataError(f"scale: expected a positive number, found {scale}")
    return float(scale)
