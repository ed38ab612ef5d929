"""`L_layer_model`: a whole training run.

Shapes: X (K, m) and Y (C, m), examples as columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from fastfnn.errors import ConfigError, DataError
from fastfnn.textbook.arrays import Array, as_matrix
from fastfnn.textbook.cost import EXACT
from fastfnn.textbook.curves import Curves
from fastfnn.textbook.initialisation import Scale, checked_layers, initialize_parameters
from fastfnn.textbook.loop import Run, Schedule
from fastfnn.textbook.options import (
    Batchnorm,
    Dropout,
    Generator,
    L2Convention,
    Logarithm,
    Randomness,
    Stopping,
    batchnorm_of,
    check_at_least,
    check_choice,
    generator_of,
)
from fastfnn.textbook.runners import (
    Arithmetic,
    EngineRunner,
    Examples,
    FunctionRunner,
    can_run_in_engine,
    labels_of,
)
from fastfnn.textbook.splits import Side, split_columns

Result = tuple[dict[str, Array], list[float]]
ResultWithCurves = tuple[dict[str, Array], list[float], Curves]


def L_layer_model(
    X: ArrayLike,
    Y: ArrayLike,
    layers_dims: Sequence[int],
    learning_rate: float = 0.009,
    num_iterations: int = 100,
    batch_size: int = 128,
    use_batchnorm: bool | Batchnorm = False,
    *,
    count: Literal["epochs", "steps"] = "epochs",
    last_batch: Literal["keep", "drop"] = "keep",
    reshuffle: bool = False,
    lambd: float = 0.0,
    l2_convention: L2Convention = "per_batch",
    dropout: Dropout | None = None,
    logarithm: Logarithm = EXACT,
    parameters: Mapping[str, Any] | None = None,
    scale: Scale = "he",
    validation: float | tuple[ArrayLike, ArrayLike] | None = None,
    split: Side = "train",
    stopping: Stopping | None = None,
    random_state: Randomness = None,
    return_history: bool = False,
) -> Result | ResultWithCurves:
    """Trains a network by mini-batch gradient descent.

    Random numbers are drawn from one stream, in this order: the validation set, the initial weights, and then for each
    epoch its order; a `Dropout` has a stream of its own.

    Args:
        X: (K, m), examples as columns. Y: (C, m), one-hot.
        layers_dims: units of every layer, from K to C.
        learning_rate: of every step.
        num_iterations: how many epochs, or steps.
        batch_size: examples of a batch; batches are consecutive columns.
        use_batchnorm: whether the outputs of hidden layers are normalised, and how.
        count: what `num_iterations` counts, "epochs" or "steps".
        last_batch: whether the last batch of an epoch is kept when it is short, "keep" or "drop".
        reshuffle: whether every epoch has an order of its own.
        lambd: factor of the L2 penalty; see `compute_cost` and `L_model_backward`.
        l2_convention: "per_batch", lambd / m, or "fixed".
        dropout: of the outputs of hidden layers.
        logarithm: how the cost takes logarithms.
        parameters: initial ones, which are not changed; drawn with `scale` where there are none.
        scale: of the initial weights; see `initialize_parameters`.
        validation: a fraction to set apart by `split_columns`, or a pair (X, Y).
        split: which side is at the front of the permutation, "train" or "validation".
        stopping: when to stop early; needs `validation`.
        random_state: None draws from the stream of `np.random.seed`; or a seed, or a generator.
        return_history: whether a `Curves` is returned too.

    Returns:
        parameters, the cost of the current batch at every 100th step before that step, and the history if wanted.

    Raises:
        ConfigError: for options that there cannot be, or when the cost is no longer finite.
        DataError: for arrays that do not fit together, or a Y that is not one-hot.
    """
    check_choice("count", count, ("epochs", "steps"))
    check_choice("last_batch", last_batch, ("keep", "drop"))
    check_at_least("num_iterations", num_iterations, 0)
    arithmetic = Arithmetic(
        learning_rate=float(learning_rate),
        batch_size=int(batch_size),
        batchnorm=batchnorm_of(use_batchnorm),
        lambd=float(lambd),
        l2_convention=l2_convention,
        dropout=dropout,
        logarithm=logarithm,
    )
    generator = generator_of(random_state)
    examples = _examples(as_matrix(X, "X"), as_matrix(Y, "Y"), validation, split, generator)
    if stopping is not None and examples.validation is None:
        raise ConfigError("stopping: needs a validation set; pass validation=0.2, or (X_validation, y_validation)")
    sizes = checked_layers(layers_dims)
    initial = _initial(parameters, sizes, scale, generator)
    _check_fits(examples, initial, sizes)
    schedule = Schedule(len(examples.train), arithmetic.batch_size, last_batch, count, int(num_iterations))
    if not reshuffle:
        examples = schedule.needed(examples)
    make = EngineRunner if can_run_in_engine(arithmetic) and schedule.steps else FunctionRunner
    runner = make(examples, initial, arithmetic)
    validates = examples.validation is not None and (stopping is not None or return_history)
    run = Run(runner, examples.train, schedule, stopping, validates, generator if reshuffle else None)
    curves = run.complete()
    trained = runner.parameters()
    return (trained, curves.costs, curves) if return_history else (trained, curves.costs)


def _examples(
    X: Array, Y: Array, validation: float | tuple[ArrayLike, ArrayLike] | None, first: Side, generator: Generator
) -> Examples:
    """The examples, divided."""
    if X.shape[1] != Y.shape[1] or not X.shape[1]:
        raise DataError(f"X, Y: expected as many columns of both, and some, found shapes {X.shape} and {Y.shape}")
    labels_of(Y)
    everything = np.arange(X.shape[1], dtype=np.int64)
    if validation is None:
        return Examples(X, Y, everything, None)
    if isinstance(validation, tuple | list):
        held_out = as_matrix(validation[0], "X_validation"), as_matrix(validation[1], "Y_validation")
        return Examples(X, Y, everything, held_out)
    train, columns = split_columns(X.shape[1], float(validation), first, generator)
    return Examples(X, Y, train, columns)


def _initial(
    parameters: Mapping[str, Any] | None, sizes: list[int], scale: Scale, generator: Generator
) -> dict[str, Array]:
    """Initial parameters that steps may change."""
    if parameters is None:
        return initialize_parameters(sizes, scale, random_state=generator)
    return {str(name): as_matrix(array, str(name)).copy() for name, array in parameters.items()}


def _check_fits(examples: Examples, parameters: dict[str, Array], sizes: list[int]) -> None:
    """Refuses layers that do not fit the examples, and parameters that do not fit the layers."""
    if (sizes[0], sizes[-1]) != (len(examples.X), len(examples.Y)):
        expected = f"{len(examples.X)} units first and {len(examples.Y)} last, as X and Y have rows"
        raise ConfigError(f"layers_dims: expected {expected}, found {sizes}")
    for layer, (n_in, n_out) in enumerate(pairwise(sizes), start=1):
        for name, shape in ((f"W{layer}", (n_out, n_in)), (f"b{layer}", (n_out, 1))):
            found = parameters[name].shape if name in parameters else "none"
            if found != shape:
                raise DataError(f"parameters: expected {name} of shape {shape}, found {found}")
