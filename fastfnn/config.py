"""What a run is: frozen, validated configurations with TOML and JSON round trips and a stable content hash."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fastfnn.errors import ConfigError, suggestion

Activation = Literal["relu", "identity", "logistic", "tanh"]
Optimizer = Literal["sgd", "momentum", "nesterov", "adam", "adamw"]
Batchnorm = Literal["off", "before", "after"]
Dtype = Literal["float32", "float64"]
InputKind = Literal["auto", "sparse", "dense"]
RESULTS_DO_NOT_DEPEND_ON = frozenset({"threads"})


class Config(BaseModel):
    """Base of all configurations: frozen, unknown keys refused, every error reported at once.

    Raises:
        ConfigError: naming each offending field, what it requires and what it got.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            problems = _explain(type(self), error)
            raise ConfigError("; ".join([*problems, *self._contradictions_of_the_rest(error, values)])) from None

    def _contradictions_of_the_rest(self, error: ValidationError, values: dict[str, Any]) -> list[str]:
        """What the fields without an error of their own say against each other; pydantic stops before it asks."""
        wrong = {str(details["loc"][0]) for details in error.errors() if details["loc"]}
        try:
            super().__init__(**{name: value for name, value in values.items() if name not in wrong})
        except ValidationError as more:
            return [problem for problem in _explain(type(self), more) if wrong and not any(w in problem for w in wrong)]
        return []

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, validated again."""
        return type(self)(**{**dict(self), **changes})

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces."""
        return _to_json(self.model_dump(mode="json")).decode()

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`."""
        try:
            values = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ConfigError(f"{cls.__name__}: not valid JSON: {error}") from None
        return cls._from_mapping(values, "JSON")

    def to_toml(self) -> str:
        """TOML with the names of the fields; fields that are None are left out."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """The inverse of `to_toml`."""
        try:
            values = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise ConfigError(f"{cls.__name__}: not valid TOML: {error}") from None
        return cls._from_mapping(values, "TOML")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Reads a `.toml` or `.json` file.

        Raises:
            ConfigError: naming the file, when it cannot be read or its content is not a valid configuration.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
            return cls.from_json(text) if path.suffix == ".json" else cls.from_toml(text)
        except (OSError, UnicodeDecodeError, ConfigError) as error:
            raise ConfigError(f"{path}: {error}") from None

    @classmethod
    def _from_mapping(cls, values: object, origin: str) -> Self:
        if not isinstance(values, Mapping):
            raise ConfigError(f"{cls.__name__}: expected a {origin} table of fields, found {type(values).__name__}")
        return cls(**values)

    @classmethod
    def known_names(cls) -> list[str]:
        """The names that the constructor knows."""
        return list(cls.model_fields)

    def content_hash(self) -> str:
        """SHA-256 (64 hex digits) of the canonical JSON: equal for equal configurations on every Python.

        Fields on which no result depends are left out.
        """
        return hashlib.sha256(_to_json(self.model_dump(mode="json"), without=RESULTS_DO_NOT_DEPEND_ON)).hexdigest()


class EarlyStopping(Config):
    """When to end a run before its last epoch.

    Every `every` steps the metric is evaluated on the validation set. Rule "improvement" stops after `patience`
    checks in a row without an improvement of more than `min_delta`; rule "plateau" (the published studies') stops when
    the metric changed by less than `min_delta` between two consecutive checks.
    """

    metric: Literal["validation_cost", "validation_accuracy"] = "validation_cost"
    every: int = Field(100, ge=1, description="steps between two checks")
    min_delta: float = Field(1e-5, ge=0)
    patience: int = Field(10, ge=1, description="checks without improvement that are tolerated")
    restore_best: bool = Field(True, description="end with the parameters of the best check")
    rule: Literal["improvement", "plateau"] = "improvement"


class NetworkConfig(Config):
    """The shape of a network and the arithmetic it is computed in."""

    hidden: tuple[int, ...] = Field((20, 7, 5), description="units of the hidden layers; () is softmax regression")
    activation: Activation = Field("relu", description="of hidden layers")
    init: Literal["he", "xavier"] = "he"
    batchnorm: Batchnorm = Field("off", description="off, or before or after the activation of hidden layers")
    dtype: Dtype = "float32"

    @field_validator("hidden", mode="before")
    @classmethod
    def _accept_one_layer(cls, hidden: Any) -> Any:
        return (hidden,) if isinstance(hidden, int) else hidden

    @field_validator("hidden")
    @classmethod
    def _need_units(cls, hidden: tuple[int, ...]) -> tuple[int, ...]:
        if any(units < 1 for units in hidden):
            raise ValueError(f"every hidden layer needs at least 1 unit, found {list(hidden)}")
        return hidden


class TrainingConfig(NetworkConfig):
    """Everything that, together with the data, determines a run.

    The cost is the mean cross-entropy plus l2/2 times the sum of squared weights. With `l2_convention="per_batch"` the
    penalty is divided by the batch size, as textbooks and scikit-learn do, so that a sweep over the batch size sweeps
    the regularisation too. `lr_rule` multiplies the learning rate by batch_size / lr_reference_batch_size ("linear")
    or its square root ("sqrt").
    """

    batch_size: int = Field(128, ge=1, le=2**31 - 1)
    learning_rate: float = Field(0.009, gt=0)
    epochs: int = Field(100, ge=1)
    optimizer: Optimizer = "sgd"
    momentum: float = Field(0.9, ge=0, lt=1, description="for momentum and nesterov")
    adam_beta1: float = Field(0.9, ge=0, lt=1)
    adam_beta2: float = Field(0.999, ge=0, lt=1)
    adam_epsilon: float = Field(1e-8, gt=0)
    l2: float = Field(0.0, ge=0)
    l2_convention: Literal["fixed", "per_batch"] = "fixed"
    batchnorm_group: int | None = Field(None, ge=1, description="examples that share statistics; None: the batch")
    dropout: float | tuple[float, ...] = Field(0.0, description="probability of dropping, one or one per hidden layer")
    lr_schedule: Literal["constant", "step", "cosine"] = "constant"
    lr_step_epochs: int = Field(30, ge=1, description="for the step schedule: epochs between two reductions")
    lr_step_factor: float = Field(0.1, gt=0, le=1)
    warmup_epochs: float = Field(0.0, ge=0, description="the learning rate rises linearly over this many epochs")
    lr_rule: Literal["none", "linear", "sqrt"] = "none"
    lr_reference_batch_size: int = Field(128, ge=1)
    shuffle: bool = Field(True, description="a new order every epoch; false keeps the order of the data")
    last_batch: Literal["keep", "drop"] = "keep"
    seed: int = Field(0, ge=0)
    evaluate_every: int | Literal["epoch", "end"] = Field("epoch", description="steps between two evaluations")
    early_stopping: EarlyStopping | None = None
    input: InputKind = Field("auto", description="kernels of the first layer; auto chooses by the density of the data")
    threads: int = Field(1, ge=1, le=1024, description="most threads of one run; fewer where more would not pay")

    @field_validator("evaluate_every", mode="before")
    @classmethod
    def _none_means_end(cls, every: Any) -> Any:
        return "end" if every is None else every

    @field_validator("evaluate_every")
    @classmethod
    def _need_steps(cls, every: int | str) -> int | str:
        if isinstance(every, int) and every < 1:
            raise ValueError(f"expected at least 1 step, found {every}")
        return every

    @field_validator("dropout")
    @classmethod
    def _need_probabilities(cls, dropout: float | tuple[float, ...]) -> float | tuple[float, ...]:
        if not all(0 <= p < 1 for p in (dropout if isinstance(dropout, tuple) else (dropout,))):
            raise ValueError(f"expected probabilities in [0, 1), found {dropout}")
        return dropout

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        problems = list(self._contradictions())
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _contradictions(self) -> Iterator[str]:
        if isinstance(self.dropout, tuple) and len(self.dropout) != len(self.hidden):
            yield f"dropout: expected {len(self.hidden)} probabilities, one per hidden layer, found {len(self.dropout)}"
        if self.batchnorm == "off":
            if self.batchnorm_group is not None:
                yield "batchnorm_group: needs batchnorm 'before' or 'after', found 'off'"
            return
        group = self.batchnorm_group or self.batch_size
        if group == 1:
            yield (
                "batchnorm: a group of one example has variance 0, so every normalised value would be 0; "
                "use a batch_size and batchnorm_group of at least 2"
            )
        elif self.batch_size % group:
            yield f"batchnorm_group: must divide batch_size {self.batch_size}, found {group}"

    @property
    def dropout_by_layer(self) -> tuple[float, ...]:
        """The probability of dropping a unit, one for each hidden layer."""
        return self.dropout if isinstance(self.dropout, tuple) else (self.dropout,) * len(self.hidden)

    @property
    def base_learning_rate(self) -> float:
        """The learning rate after `lr_rule`, before the schedule."""
        ratio = self.batch_size / self.lr_reference_batch_size
        return self.learning_rate * {"none": 1.0, "linear": ratio, "sqrt": math.sqrt(ratio)}[self.lr_rule]

    @property
    def l2_divisor(self) -> int:
        """What the penalty of a reported cost is divided by: 1, or the batch size under "per_batch"."""
        return self.batch_size if self.l2_convention == "per_batch" else 1

    def steps_per_epoch(self, n_examples: int) -> int:
        """Batches in an epoch of `n_examples`; never 0, since a batch larger than the data takes all of it."""
        batches = n_examples / self.batch_size
        return max(1, math.floor(batches) if self.last_batch == "drop" else math.ceil(batches))


NONE = "none"  # how TOML files write the absence of a value on an axis
NULLABLE = ("batchnorm_group", "early_stopping")


class SweepConfig(Config):
    """A grid over fields of the training configuration, crossed with seeds.

    `SweepConfig(training=config, batch_size=[16, 32], l2=[0, 1e-4], seeds=3)`: every keyword that is a field of
    `TrainingConfig` is an axis of the grid; `seeds` is a number of seeds (0, 1, ...) or a list of them.
    """

    training: TrainingConfig = TrainingConfig()
    grid: dict[str, tuple[Any, ...]] = {"batch_size": (16, 32, 64, 128, 256, 512, 1024, 2048)}
    seeds: tuple[int, ...] = (0, 1, 2)

    def __init__(self, /, **values: Any) -> None:
        axes = {name: values.pop(name) for name in list(values) if name in TrainingConfig.model_fields}
        if axes:
            values["grid"] = {**values.get("grid", {}), **axes}
        super().__init__(**values)

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_of_seeds(cls, seeds: Any) -> Any:
        return tuple(range(seeds)) if isinstance(seeds, int) and not isinstance(seeds, bool) else seeds

    @field_validator("grid", mode="before")
    @classmethod
    def _one_value_is_an_axis(cls, grid: Any) -> Any:
        if not isinstance(grid, Mapping):
            return grid
        axes = {name: v if isinstance(v, list | tuple | range) else (v,) for name, v in grid.items()}
        return {name: tuple(None if v == NONE and name in NULLABLE else v for v in axis) for name, axis in axes.items()}

    @model_validator(mode="after")
    def _check_grid(self) -> Self:
        known = list(TrainingConfig.model_fields)
        problems = [f"grid.{name}: unknown field{suggestion(name, known)}" for name in self.grid if name not in known]
        problems += [f"grid.{name}: expected at least one value" for name, values in self.grid.items() if not values]
        if "seed" in self.grid:
            problems.append("grid.seed: seeds belong in `seeds`")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            problems.append(f"seeds: expected at least one, distinct and not negative, found {list(self.seeds)}")
        if problems:
            raise ValueError("; ".join(problems))
        object.__setattr__(self, "grid", self._normalised_grid())
        return self

    def _normalised_grid(self) -> dict[str, tuple[Any, ...]]:
        """Axis values as the training configuration holds them, so that 1 and 1.0 are one value of a float field."""
        problems: list[str] = []
        for settings in self._settings():
            try:
                self.training.replace(**settings)
            except ConfigError as error:
                problems.append(f"at {', '.join(f'{k}={v}' for k, v in settings.items())}: {error}")
        if problems:
            raise ValueError("; ".join(dict.fromkeys(problems)))
        normalised: dict[str, dict[str, Any]] = {}
        for settings in self._settings():
            run = self.training.replace(**settings)
            for name in self.grid:
                normalised.setdefault(name, {})[repr(getattr(run, name))] = getattr(run, name)
        return {name: tuple(values.values()) for name, values in normalised.items()}

    def _settings(self) -> Iterator[dict[str, Any]]:
        for values in itertools.product(*self.grid.values()):
            yield dict(zip(self.grid, values, strict=True))

    def to_toml(self) -> str:
        """As of any configuration; TOML has no null, so a None on an axis is written "none"."""
        values = self.model_dump(mode="json", exclude_none=True)
        values["grid"] = {name: [NONE if v is None else v for v in axis] for name, axis in values["grid"].items()}
        return tomli_w.dumps(values)

    @classmethod
    def known_names(cls) -> list[str]:
        """Its fields, and those of the training configuration, which are axes."""
        return [*cls.model_fields, *TrainingConfig.model_fields]

    def runs(self) -> list[TrainingConfig]:
        """One configuration for every point of the grid and every seed; seeds vary fastest."""
        return [self.training.replace(**settings, seed=seed) for settings in self._settings() for seed in self.seeds]


def _to_json(value: Any, without: frozenset[str] = frozenset()) -> bytes:
    return json.dumps(_canonical(value, without), sort_keys=True, separators=(",", ":")).encode()


def _canonical(value: Any, without: frozenset[str]) -> Any:
    """The same JSON value less some keys, with 0.0 for -0.0, which is equal and must hash alike."""
    if isinstance(value, dict):
        return {name: _canonical(v, without) for name, v in value.items() if name not in without}
    if isinstance(value, list):
        return [_canonical(v, without) for v in value]
    return value + 0.0 if isinstance(value, float) else value


def _explain(model: type[Config], error: ValidationError) -> list[str]:
    """All errors of a validation: field, requirement, value found."""
    return list(dict.fromkeys(_explain_one(model, details) for details in error.errors()))


def _explain_one(model: type[Config], details: Any) -> str:
    location = [str(part) for part in details["loc"]]
    message = details["msg"].removeprefix("Value error, ")
    if details["type"] == "extra_forbidden":
        return f"{'.'.join(location)}: unknown field{suggestion(location[-1], model.known_names())}"
    if details["type"] == "value_error":
        return message if not location else f"{location[0]}: {message}"
    # What follows a field in the location is the branch of its type that was tried, or the position in a list.
    return f"{location[0]}: {message[0].lower()}{message[1:]}, found {details['input']!r}"
