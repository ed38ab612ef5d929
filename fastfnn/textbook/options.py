"""The conventions in which course projects differ, by name, with what most of them do as the defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

import numpy as np

from fastfnn.errors import ConfigError

Generator: TypeAlias = np.random.RandomState | np.random.Generator
Randomness: TypeAlias = int | Generator | None
L2Convention = Literal["per_batch", "fixed"]


def check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Refuses a value that is not among the choices.

    Raises:
        ConfigError: naming the option, the choices and the value.
    """
    if value not in choices:
        raise ConfigError(f"{name}: expected one of {', '.join(map(repr, choices))}, found {value!r}")


def check_at_least(name: str, value: float, least: float) -> None:
    """Refuses numbers below `least`, and NaN.

    Raises:
        ConfigError: naming the option and the value.
    """
    if not value >= least:
        raise ConfigError(f"{name}: expected at least {least}, found {value!r}")


@dataclass(frozen=True, kw_only=True)
class Batchnorm:
    """Batch norm after the ReLU of hidden layers, without scale and shift, with the statistics of what is passed.

    Attributes:
        axis: 1 normalises each feature over the examples, 0 each example over its features, None the whole matrix.
        eps: added to the variance or to the standard deviation.
        eps_on: which of the two.
        variance: "biased" divides by the number of values, "unbiased" by one less.
        gradient: "course" passes the gradient on unchanged, "true" is the gradient of the normalisation.
    """

    axis: Literal[0, 1] | None = 1
    eps: float = 1e-8
    eps_on: Literal["variance", "deviation"] = "variance"
    variance: Literal["biased", "unbiased"] = "biased"
    gradient: Literal["course", "true"] = "course"

    def __post_init__(self) -> None:
        check_choice("axis", self.axis, (1, 0, None))
        check_at_least("eps", self.eps, 0)
        check_choice("eps_on", self.eps_on, ("variance", "deviation"))
        check_choice("variance", self.variance, ("biased", "unbiased"))
        check_choice("gradient", self.gradient, ("course", "true"))


@dataclass(frozen=True, kw_only=True)
class Dropout:
    """Inverted dropout after the ReLU of hidden layers; the scaled mask is kept in the layer's cache.

    Attributes:
        probability: of dropping a unit.
        only_gradient: whether the forward pass is left alone, and only the gradient is dropped.
        random_state: where masks are drawn: None for the stream of `np.random.seed`, or a generator.
    """

    probability: float
    only_gradient: bool = False
    random_state: Generator | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.probability < 1:
            raise ConfigError(f"probability: expected a number in [0, 1), found {self.probability!r}")


@dataclass(frozen=True, kw_only=True)
class Logarithm:
    """How the cost takes the logarithm of a probability: of the probability plus `eps`, kept in [clip, 1 - clip]."""

    eps: float = 0.0
    clip: float = 0.0

    def __post_init__(self) -> None:
        check_at_least("eps", self.eps, 0)
        check_at_least("clip", self.clip, 0)


@dataclass(frozen=True, kw_only=True)
class Stopping:
    """When to stop before the last step; checked every `every` steps on the validation set.

    Rule "plateau" stops when the metric changed by less than `tol` between two checks. Rule "improvement" stops when it
    has not improved by `tol` on its best value for `patience` steps, or checks.
    """

    rule: Literal["plateau", "improvement"] = "plateau"
    tol: float = 1e-4
    every: int = 100
    patience: int = 100
    patience_in: Literal["steps", "checks"] = "steps"
    metric: Literal["validation_cost", "validation_accuracy"] = "validation_cost"

    def __post_init__(self) -> None:
        check_choice("rule", self.rule, ("plateau", "improvement"))
        check_at_least("tol", self.tol, 0)
        check_at_least("every", self.every, 1)
        check_at_least("patience", self.patience, 1)
        check_choice("patience_in", self.patience_in, ("steps", "checks"))
        check_choice("metric", self.metric, ("validation_cost", "validation_accuracy"))


def batchnorm_of(use_batchnorm: bool | Batchnorm) -> Batchnorm | None:
    """The options of batch norm, or None for none: True stands for the defaults."""
    if isinstance(use_batchnorm, Batchnorm):
        return use_batchnorm
    return Batchnorm() if use_batchnorm else None


def generator_of(random_state: Randomness) -> Generator:
    """What draws: for None the stream of `np.random.seed`, for a seed a stream that begins as after seeding with it."""
    if random_state is None:
        return cast(Generator, np.random)  # the module has the methods of the generator behind it
    if isinstance(random_state, int | np.integer):
        return np.random.RandomState(random_state)
    return random_state
