"""What a published study is: its rows, its conventions, and the sweeps that do the same properly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from fastfnn.config import SweepConfig
from fastfnn.sweeps.presets import load_sweeps

RUNS = "runs"
"""The folder, within that of a study, of what its pages are made from."""


@dataclass(frozen=True)
class Published:
    """What a study printed in a row, one run with one seed; None where it printed nothing.

    Attributes:
        train_accuracy, validation_accuracy, test_accuracy: in 0..1.
        seconds: runtime; the shorter one where two are given.
    """

    test_accuracy: float | None = None
    seconds: float | None = None
    epochs: float | None = None
    steps: int | None = None
    train_accuracy: float | None = None
    validation_accuracy: float | None = None


NOT_PUBLISHED = Published()


@dataclass(frozen=True)
class Row:
    """A setting that a study compared.

    Attributes:
        batch_size, batchnorm, l2, dropout: as the study counts them; its L2 is divided by the batch size.
        published: what it printed.
        sweep, point: the proper counterpart: the name of a sweep of the preset, and the values on the axes of its grid.
        label: what it is called, instead of by its settings.
        done_as_published: whether it is done under the study's conventions; not, when it is ours.
    """

    batch_size: int
    published: Published
    sweep: str
    point: Mapping[str, Any]
    batchnorm: bool = False
    l2: float = 0.0
    dropout: float = 0.0
    label: str = ""
    done_as_published: bool = True


@dataclass(frozen=True)
class Conventions:
    """How the studies trained: everything but the settings of a row.

    Attributes:
        epochs: at most so many.
        rule: stop when the validation cost changes by less than `tolerance` between two checks ("plateau"), or when it
            has not improved by it for `patience` checks ("improvement").
        every: steps between two checks.
        gradient_only_dropout: drop the gradients and leave the activations alone.
    """

    epochs: int
    tolerance: float
    rule: Literal["plateau", "improvement"] = "plateau"
    metric: Literal["validation_cost", "validation_accuracy"] = "validation_cost"
    patience: int = 1
    every: int = 100
    gradient_only_dropout: bool = False
    learning_rate: float = 0.009
    hidden: tuple[int, ...] = (20, 7, 5)


@dataclass(frozen=True)
class Experiment:
    """Rows that belong together.

    Attributes:
        name: of its figures' files.
        axis: the field of the rows that is on the x axis of its figures; None when every row is a category.
        text: what it found, for the page.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    text: str
    axis: Literal["batch_size", "dropout", "l2"] | None = None


@dataclass(frozen=True)
class Study:
    """A published study.

    Attributes:
        name: of its preset.
        text: what it did, for the page.
        curves: the rows whose learning curves are drawn.
        comparisons: pairs of rows that differ in batch norm, with it first.
        starts: of how many seeds the dead units before training are counted; 0 for none.
        shapes: whether it had a table of the shapes of parameters and activations.
        weights: the rows whose weights it compared, the one without a penalty first.
        deviations: what could not be known, for the page.
    """

    name: str
    title: str
    text: str
    conventions: Conventions
    experiments: tuple[Experiment, ...]
    curves: tuple[Row, ...]
    comparisons: tuple[tuple[Row, Row], ...] = ()
    starts: int = 0
    shapes: bool = False
    weights: tuple[Row, Row] | None = None
    deviations: tuple[str, ...] = ()

    @cached_property
    def sweeps(self) -> dict[str, SweepConfig]:
        """The sweeps of its preset."""
        return load_sweeps(self.name)

    @property
    def rows(self) -> list[Row]:
        """The rows of all experiments; one that several have comes once."""
        return list({id(row): row for experiment in self.experiments for row in experiment.rows}.values())
