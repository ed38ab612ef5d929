"""The parameters of `FNNClassifier`: what they may be, and the configuration that they stand for."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from fastfnn.config import NetworkConfig, TrainingConfig
from fastfnn.estimator.epochs import Rules

AUTO_BATCH_SIZE = 200
SCIKIT_LEARN_SCHEDULES = {"invscaling", "adaptive"}

CONSTRAINTS: dict[str, list[Any]] = {
    "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
    "activation": [StrOptions({"identity", "logistic", "tanh", "relu"})],
    "solver": [StrOptions({"sgd", "adam"})],
    "alpha": [Interval(Real, 0, None, closed="left")],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive", "step", "cosine"})],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "power_t": [Interval(Real, 0, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [Interval(Real, 0, None, closed="left")],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="left")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "beta_1": [Interval(Real, 0, 1, closed="left")],
    "beta_2": [Interval(Real, 0, 1, closed="left")],
    "epsilon": [Interval(Real, 0, None, closed="neither")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
    "l2_convention": [StrOptions({"fixed", "per_batch"})],
    "batchnorm": [StrOptions({"off", "before", "after"})],
    "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
    "class_weight": [dict, StrOptions({"balanced"}), None],
    "lr_step_epochs": [Interval(Integral, 1, None, closed="left")],
    "lr_step_factor": [Interval(Real, 0, 1, closed="right")],
    "warmup_epochs": [Interval(Real, 0, None, closed="left")],
    "dtype": [StrOptions({"float32", "float64"}), None],
    "threads": [Interval(Integral, 1, None, closed="left")],
}


def hidden_of(estimator: Any) -> tuple[int, ...]:
    """Units of the hidden layers."""
    sizes = estimator.hidden_layer_sizes
    return tuple(int(units) for units in sizes) if isinstance(sizes, Iterable) else (int(sizes),)


def network_config(estimator: Any, dtype: str) -> NetworkConfig:
    """The network that an estimator's parameters describe."""
    return NetworkConfig(
        hidden=hidden_of(estimator),
        activation=estimator.activation,
        init="he" if estimator.activation == "relu" else "xavier",
        batchnorm=estimator.batchnorm,
        dtype=dtype,
    )


def training_config(estimator: Any, network: NetworkConfig, n_rows: int) -> TrainingConfig:
    """The training of that network on this many rows."""
    wanted = AUTO_BATCH_SIZE if estimator.batch_size == "auto" else int(estimator.batch_size)
    batch_size = min(wanted, n_rows)
    # One example has no variance, so that batch norm cannot do with a last batch of one.
    lonely = estimator.batchnorm != "off" and n_rows > batch_size and n_rows % batch_size == 1
    dropout = estimator.dropout
    return TrainingConfig(
        **dict(network),
        batch_size=batch_size,
        learning_rate=float(estimator.learning_rate_init),
        epochs=int(estimator.max_iter),
        optimizer=optimizer_of(estimator),
        momentum=float(estimator.momentum),
        adam_beta1=float(estimator.beta_1),
        adam_beta2=float(estimator.beta_2),
        adam_epsilon=float(estimator.epsilon),
        l2=float(estimator.alpha),
        l2_convention=estimator.l2_convention,
        dropout=tuple(map(float, dropout)) if isinstance(dropout, Iterable) else float(dropout),
        lr_schedule="constant" if estimator.learning_rate in SCIKIT_LEARN_SCHEDULES else estimator.learning_rate,
        lr_step_epochs=int(estimator.lr_step_epochs),
        lr_step_factor=float(estimator.lr_step_factor),
        warmup_epochs=float(estimator.warmup_epochs),
        shuffle=bool(estimator.shuffle),
        last_batch="drop" if lonely else "keep",
        threads=int(estimator.threads),
    )


def optimizer_of(estimator: Any) -> str:
    """The optimiser that `solver`, `momentum` and `nesterovs_momentum` stand for."""
    if estimator.solver == "adam":
        return "adam"
    if estimator.momentum == 0:
        return "sgd"
    return "nesterov" if estimator.nesterovs_momentum else "momentum"


def rules_of(estimator: Any) -> Rules:
    """How the run changes its learning rate, and when it stops."""
    return Rules(
        decay=estimator.learning_rate if estimator.solver == "sgd" else "",
        power=float(estimator.power_t),
        tolerance=float(estimator.tol),
        patience=float(estimator.n_iter_no_change),
        by_score=bool(estimator.early_stopping),
        verbose=bool(estimator.verbose),
    )
