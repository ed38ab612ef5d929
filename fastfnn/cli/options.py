"""Options that commands share, and how their texts become configurations.

Options of training are texts here: `fastfnn train` reads one value from each, `fastfnn sweep` a list or a range.
Defaults are shown, not set: an option that is not given leaves the configuration file's value alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fastfnn.config import TrainingConfig
    from fastfnn.data import Dataset

NETWORK, TRAINING, RATE, STOPPING = "Network", "Training", "Learning rate", "Early stopping"
DATA, OUTPUT, EXECUTION = "Data", "Output", "Execution"
STOPPING_PREFIX = "early_stopping_"

JsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON document on stdout, everything else on stderr.", rich_help_panel=OUTPUT)
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.", rich_help_panel=OUTPUT)]


def setting_option(help: str, default: str, panel: str, metavar: str) -> Any:
    """An option that leaves the configuration alone unless it is given; `default` is what help shows."""
    return typer.Option(
        help=f"{help}  [default: {default}]", show_default=False, rich_help_panel=panel, metavar=metavar
    )


@dataclass(frozen=True)
class DataOptions:
    """Which data, and how they are split."""

    data: Annotated[
        str,
        typer.Option(help="Name of a data set (fastfnn data list) or path.", metavar="NAME|PATH", rich_help_panel=DATA),
    ] = "mnist"
    validation: Annotated[
        float, typer.Option(help="Share of the training set held out.", rich_help_panel=DATA, metavar="SHARE")
    ] = 0.2
    split_seed: Annotated[int, typer.Option(help="Seed of the split.", rich_help_panel=DATA, metavar="N")] = 0
    stratify: Annotated[
        bool, typer.Option("--stratify", help="Split every class in the same proportion.", rich_help_panel=DATA)
    ] = False

    def load(self) -> Dataset:
        """Loads the data set and splits it."""
        from fastfnn.data import load_dataset

        return load_dataset(self.data, validation=self.validation, split_seed=self.split_seed, stratify=self.stratify)


@dataclass(frozen=True)
class TrainingOptions:
    """Every field of `TrainingConfig` but the seed, as text; None where the option was not given."""

    hidden: Annotated[
        str | None, setting_option('Units of the hidden layers; "" for none.', "20,7,5", NETWORK, "N,N,...")
    ] = None
    activation: Annotated[
        str | None, setting_option("Of hidden layers.", "relu", NETWORK, "relu|identity|logistic|tanh")
    ] = None
    init: Annotated[str | None, setting_option("Initial weights.", "he", NETWORK, "he|xavier")] = None
    batchnorm: Annotated[
        str | None, setting_option("Batch norm before or after the activation.", "off", NETWORK, "off|before|after")
    ] = None
    batchnorm_group: Annotated[
        str | None, setting_option("Examples that share batch-norm statistics.", "the batch", NETWORK, "N")
    ] = None
    dropout: Annotated[
        str | None, setting_option("Probability of dropping, one or one per hidden layer.", "0", NETWORK, "P")
    ] = None
    dtype: Annotated[str | None, setting_option("Floating-point type.", "float32", NETWORK, "float32|float64")] = None
    input: Annotated[
        str | None,
        setting_option("Kernels of the first layer; auto looks at the data.", "auto", NETWORK, "auto|sparse|dense"),
    ] = None
    threads: Annotated[str | None, setting_option("Most threads of one run.", "1", NETWORK, "N")] = None

    batch_size: Annotated[str | None, setting_option("Examples in a step.", "128", TRAINING, "N")] = None
    epochs: Annotated[str | None, setting_option("Passes over the training set.", "100", TRAINING, "N")] = None
    optimizer: Annotated[
        str | None, setting_option("Rule of the update.", "sgd", TRAINING, "sgd|momentum|nesterov|adam|adamw")
    ] = None
    momentum: Annotated[str | None, setting_option("For momentum and nesterov.", "0.9", TRAINING, "X")] = None
    adam_beta1: Annotated[str | None, setting_option("Decay of Adam's first moment.", "0.9", TRAINING, "X")] = None
    adam_beta2: Annotated[str | None, setting_option("Decay of Adam's second moment.", "0.999", TRAINING, "X")] = None
    adam_epsilon: Annotated[str | None, setting_option("Adam's epsilon.", "1e-08", TRAINING, "X")] = None
    l2: Annotated[str | None, setting_option("Strength of the L2 penalty on weights.", "0", TRAINING, "X")] = None
    l2_convention: Annotated[
        str | None,
        setting_option("per_batch divides the penalty by the batch size.", "fixed", TRAINING, "fixed|per_batch"),
    ] = None
    shuffle: Annotated[str | None, setting_option("A new order every epoch.", "true", TRAINING, "true|false")] = None
    last_batch: Annotated[
        str | None, setting_option("What to do with a short last batch.", "keep", TRAINING, "keep|drop")
    ] = None
    evaluate_every: Annotated[
        str | None, setting_option("When to record cost and accuracy; N in steps.", "epoch", TRAINING, "N|epoch|end")
    ] = None

    learning_rate: Annotated[str | None, setting_option("Learning rate.", "0.009", RATE, "X")] = None
    lr_schedule: Annotated[
        str | None, setting_option("Its course over a run.", "constant", RATE, "constant|step|cosine")
    ] = None
    lr_step_epochs: Annotated[str | None, setting_option("Step schedule: epochs between two.", "30", RATE, "N")] = None
    lr_step_factor: Annotated[str | None, setting_option("Step schedule: factor of each.", "0.1", RATE, "X")] = None
    warmup_epochs: Annotated[str | None, setting_option("Epochs of linear warm-up.", "0", RATE, "X")] = None
    lr_rule: Annotated[
        str | None, setting_option("How the rate grows with the batch size.", "none", RATE, "none|linear|sqrt")
    ] = None
    lr_reference_batch_size: Annotated[
        str | None, setting_option("The batch size at which the rate is as given.", "128", RATE, "N")
    ] = None

    early_stopping: Annotated[
        bool | None,
        typer.Option(
            "--early-stopping/--no-early-stopping",
            help="Stop before the last epoch; the options below imply it.  [default: no]",
            show_default=False,
            rich_help_panel=STOPPING,
        ),
    ] = None
    early_stopping_metric: Annotated[
        str | None,
        setting_option("What is watched.", "validation_cost", STOPPING, "validation_cost|validation_accuracy"),
    ] = None
    early_stopping_every: Annotated[str | None, setting_option("Steps between two checks.", "100", STOPPING, "N")] = (
        None
    )
    early_stopping_min_delta: Annotated[
        str | None, setting_option("Smallest change that counts.", "1e-05", STOPPING, "X")
    ] = None
    early_stopping_patience: Annotated[
        str | None, setting_option("Checks without improvement that are tolerated.", "10", STOPPING, "N")
    ] = None
    early_stopping_rule: Annotated[
        str | None,
        setting_option("plateau: stop at the first small change.", "improvement", STOPPING, "improvement|plateau"),
    ] = None
    early_stopping_restore_best: Annotated[
        str | None, setting_option("End with the parameters of the best check.", "true", STOPPING, "true|false")
    ] = None

    def given(self) -> dict[str, str]:
        """Texts of the options on the command line, by field, without those of early stopping."""
        texts = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: text for name, text in texts.items() if text is not None and not name.startswith("early_stop")}

    def stopping_changes(self, base: TrainingConfig) -> dict[str, Any]:
        """The change to `early_stopping` that the options ask for: nothing, None, or a configuration."""
        from fastfnn.config import EarlyStopping

        names = [field.name for field in fields(self) if field.name.startswith(STOPPING_PREFIX)]
        changes = {name.removeprefix(STOPPING_PREFIX): getattr(self, name) for name in names}
        changes = {name: text for name, text in changes.items() if text is not None}
        if self.early_stopping is False and changes:
            raise typer.BadParameter("--no-early-stopping contradicts the other options of early stopping")
        if self.early_stopping is False:
            return {"early_stopping": None}
        if not changes and self.early_stopping is None:
            return {}
        return {"early_stopping": (base.early_stopping or EarlyStopping()).replace(**changes)}


def parse_value(field: str, text: str) -> Any:
    """One value of a field of `TrainingConfig`. Most texts are left to the configuration, which knows the types."""
    return _PARSERS.get(field, str.strip)(text)


def _units(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip() not in ("", "none"))


def _probabilities(text: str) -> str | tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",")) if "," in text else text.strip()


def _number_or_none(text: str) -> str | None:
    return None if text.strip() == "none" else text.strip()


_PARSERS: dict[str, Callable[[str], Any]] = {
    "hidden": _units,
    "dropout": _probabilities,
    "batchnorm_group": _number_or_none,
}


def training_config(options: TrainingOptions, seed: int | None, file: Path | None) -> TrainingConfig:
    """The configuration of one run: the file's or the defaults, changed by what the command line gives."""
    from fastfnn.config import TrainingConfig

    base = TrainingConfig() if file is None else TrainingConfig.load(file)
    changes = {name: parse_value(name, text) for name, text in options.given().items()}
    if seed is not None:
        changes["seed"] = seed
    return base.replace(**changes, **options.stopping_changes(base))
