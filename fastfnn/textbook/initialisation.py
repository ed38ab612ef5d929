"""Initial parameters, as course code draws them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fastfnn.errors import ConfigError
from fastfnn.textbook.options import Randomness, check_choice, generator_of

Scale = str | float | Callable[[int, int], float]
SCALES: dict[str, Callable[[int, int], float]] = {
    "he": lambda n_in, n_out: (2 / n_in) ** 0.5,
    "xavier": lambda n_in, n_out: (2 / (n_in + n_out)) ** 0.5,
    "1/n_in": lambda n_in, n_out: (1 / n_in) ** 0.5,
    "1/n_out": lambda n_in, n_out: 1 / n_out,
    "normal": lambda n_in, n_out: 1.0,
}


def initialize_parameters(
    layer_dims: Sequence[int], scale: Scale = "he", *, random_state: Randomness = None
) -> dict[str, NDArray[np.float64]]:
    """Normal weights and zero biases: W1 (n1, n0), b1 (n1, 1), W2, ...

    Weights are drawn in the order W1, W2, ..., as `np.random.randn(n1, n0) * scale` draws them.

    Args:
        layer_dims: units of every layer, features first and classes last.
        scale: of the weights: "he" sqrt(2 / n_in), "xavier" sqrt(2 / (n_in + n_out)), "1/n_in" sqrt(1 / n_in),
            "1/n_out" 1 / n_out, "normal" 1; or a number, such as 0.01; or a function of (n_in, n_out).
        random_state: None draws from the stream of `np.random.seed`; or a seed, or a generator.

    Raises:
        ConfigError: for layers or scales that there cannot be.
    """
    scale_of = _scale_of(scale)
    generator = generator_of(random_state)
    parameters = {}
    for layer, (n_in, n_out) in enumerate(pairwise(checked_layers(layer_dims)), start=1):
        parameters[f"W{layer}"] = generator.standard_normal((n_out, n_in)) * scale_of(n_in, n_out)
        parameters[f"b{layer}"] = np.zeros((n_out, 1))
    return parameters


def checked_layers(layer_dims: Sequence[int]) -> list[int]:
    """The units of every layer.

    Raises:
        ConfigError: when there are not two layers, or one has no unit.
    """
    sizes = [int(n) for n in layer_dims]
    if len(sizes) < 2 or min(sizes) < 1:
        raise ConfigError(f"layer_dims: expected the units of at least two layers, each at least 1, found {sizes}")
    return sizes


def _scale_of(scale: Scale) -> Callable[[int, int], float]:
    if callable(scale):
        return scale
    if isinstance(scale, str):
        check_choice("scale", scale, tuple(SCALES))
        return SCALES[scale]
    number = float(scale)
    return lambda n_in, n_out: number
