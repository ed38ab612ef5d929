"""From options to a sweep: lists and ranges become axes of the grid, single values settings of every run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastfnn.cli.options import TRAINING, TrainingOptions, parse_value, setting_option

if TYPE_CHECKING:
    from fastfnn.config import SweepConfig

DEFAULT_BATCH_SIZES = "16..2048:x2"
FIELDS_WITHOUT_VALUE = ("batchnorm_group",)


@dataclass(frozen=True)
class GridOptions(TrainingOptions):
    """The options of training, each of which may have several values."""

    batch_size: Annotated[str | None, setting_option("Examples in a step.", DEFAULT_BATCH_SIZES, TRAINING, "N")] = None


def sweep_config(
    options: TrainingOptions, seeds: str | None, preset: str | None = None, file: Path | None = None
) -> SweepConfig:
    """The sweep of a preset, a file or the defaults, changed by what the command line gives."""
    base = _base(preset, file)
    given = {name: axis_values(name, text) for name, text in options.given().items()}
    fixed = {name: values[0] for name, values in given.items() if len(values) == 1}
    axes = {name: values for name, values in given.items() if len(values) > 1}
    grid = {name: axes.get(name, values) for name, values in base.grid.items() if name not in fixed} | axes
    training = base.training.replace(**fixed, **options.stopping_changes(base.training))
    # A comparison of one setting is still about its batch size.
    return base.replace(
        training=training,
        grid=grid or {"batch_size": (training.batch_size,)},
        seeds=base.seeds if seeds is None else parse_seeds(seeds),
    )


def _base(preset: str | None, file: Path | None) -> SweepConfig:
    from fastfnn.config import SweepConfig
    from fastfnn.sweeps import load_preset

    if preset and file:
        raise typer.BadParameter("--preset and --config both say what the sweep is; give one of them")
    if preset:
        return load_preset(preset)
    return SweepConfig.load(file) if file else SweepConfig()


def axis_values(field: str, text: str) -> list[Any]:
    """The values of a field: a list, a range, or for fields with several numbers a list separated by semicolons."""
    from fastfnn.sweeps import parse_axis

    if ";" in text or (field == "hidden" and "-" not in text):
        return [parse_value(field, part) for part in text.split(";")]
    values = parse_axis(text)
    return values if field in FIELDS_WITHOUT_VALUE else ["none" if value is None else value for value in values]


def parse_seeds(text: str) -> Any:
    """`5` is a number of seeds; a list or range, such as `0,3,7` or `0..4`, is the seeds themselves."""
    from fastfnn.sweeps import parse_axis

    return int(text) if text.strip().isdecimal() else parse_axis(text)
