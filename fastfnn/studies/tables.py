"""Tables of a study: published, under its conventions, properly; shapes; weights; seeds that failed to learn."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from fastfnn.analysis import PairedComparison, compare_paired
from fastfnn.parameters import tensor_shapes
from fastfnn.report.formatting import MISSING, count, number, percent
from fastfnn.studies.markdown import interval, table
from fastfnn.studies.networks import WeightSummary
from fastfnn.studies.outcomes import Outcome, accuracy_of, epochs_of, seconds_of
from fastfnn.studies.results import StudyResults
from fastfnn.studies.study import NOT_PUBLISHED, Row

TIMES_FASTER = 30
"""How many times shorter than a published time ours should be."""


def row_label(row: Row, among: Sequence[Row]) -> str:
    """The settings in which these rows differ: `batch size 16, batch norm`."""
    if row.label:
        return row.label
    parts = [text(getattr(row, name)) for name, text in _LABELS.items() if len({getattr(r, name) for r in among}) > 1]
    return ", ".join(parts) or full_label(row)


def full_label(row: Row) -> str:
    """The batch size, and what else the row sets: `batch size 16, batch norm`."""
    parts = [text(value) for name, text in _LABELS.items() if (value := getattr(row, name))]
    return ", ".join(parts)


_LABELS: dict[str, Callable[..., str]] = {
    "batch_size": lambda size: f"batch size {size}",
    "batchnorm": lambda batchnorm: "batch norm" if batchnorm else "no batch norm",
    "l2": lambda l2: f"L2 {l2:g}" if l2 else "no L2",
    "dropout": lambda dropout: f"dropout {dropout:g}" if dropout else "no dropout",
}


@dataclass(frozen=True)
class Verdict:
    """A published row against the median of our proper runs.

    Attributes:
        accuracy_met: None where no accuracy was published. times_faster: NaN where no time was.
    """

    accuracy_met: bool | None
    times_faster: float

    @classmethod
    def of(cls, row: Row, outcomes: Sequence[Outcome]) -> Verdict:
        """Compares; a diverged run counts as one with no accuracy."""
        published = row.published
        scores = [outcome.test.accuracy if outcome.measured else 0.0 for outcome in outcomes]
        met = None
        if published.test_accuracy is not None and scores:
            # Published accuracies are rounded, to hundredths of a per cent at best.
            met = round(statistics.median(scores), 4) >= published.test_accuracy
        return cls(met, (published.seconds or math.nan) / seconds_of(outcomes).median)

    @property
    def fast_enough(self) -> bool | None:
        """Whether a published time is beaten by far, None where there is none."""
        return None if math.isnan(self.times_faster) else self.times_faster >= TIMES_FASTER


def comparison_table(results: StudyResults, rows: Sequence[Row]) -> str:
    """A line for each row: published, under the study's conventions, properly."""
    lines = [
        (
            row_label(row, rows),
            _per_cent(row.published.test_accuracy),
            _seconds(row.published.seconds),
            *_measures(results.textbook(row)),
            *_measures(results.proper(row)),
            _verdict(Verdict.of(row, results.proper(row))),
        )
        for row in rows
    ]
    return _without_empty_columns(_COMPARISON_HEADERS, lines)


def _without_empty_columns(headers: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    kept = [i for i in range(len(headers)) if any(line[i] != MISSING for line in lines)]
    return table([headers[i] for i in kept], [[line[i] for i in kept] for line in lines])


_COMPARISON_HEADERS = (
    "setting",
    *("published: test %", "published: s"),
    *("as published: test %", "s", "epochs"),
    *("properly: test %", "s", "epochs"),
    "properly against published",
)


def _measures(outcomes: Sequence[Outcome]) -> tuple[str, str, str]:
    failed = [outcome.status for outcome in outcomes if not outcome.measured]
    remark = f"; {len(failed)} {failed[0]}" if failed else ""
    return (
        interval(accuracy_of(outcomes), _per_cent) + remark,
        interval(seconds_of(outcomes), _seconds),
        interval(epochs_of(outcomes), lambda value: number(value, 3)),
    )


def _per_cent(share: float | None) -> str:
    return percent(share).removesuffix(" %")


def _seconds(value: float | None) -> str:
    return MISSING if value is None else number(value, 3)


def _verdict(verdict: Verdict) -> str:
    parts = [] if verdict.accuracy_met is None else ["accuracy met" if verdict.accuracy_met else "**not met**"]
    if verdict.fast_enough is not None:
        parts.append(f"{verdict.times_faster:.0f} times faster")
    return ", ".join(parts) or MISSING


def splits_table(results: StudyResults, rows: Sequence[Row]) -> str:
    """Accuracies on all three splits, published and ours, for rows whose study printed them."""
    lines = []
    for row in rows:
        published = row.published
        printed = (published.train_accuracy, published.validation_accuracy, published.test_accuracy)
        ours = [accuracy_of(results.proper(row), split) for split in ("train", "validation", "test")]
        theirs = [accuracy_of(results.textbook(row), split) for split in ("train", "validation", "test")]
        lines.append([row_label(row, rows), "published", *map(_per_cent, printed)])
        lines.append(["", "as published", *(interval(each, _per_cent) for each in theirs)])
        lines.append(["", "properly", *(interval(each, _per_cent) for each in ours)])
    return table(("setting", "", "training %", "validation %", "test %"), lines)


def has_splits(rows: Sequence[Row]) -> bool:
    """Whether any of these rows was printed with training and validation accuracy."""
    return any(row.published.train_accuracy is not None for row in rows)


def is_published(row: Row) -> bool:
    """Whether anything was printed for a row."""
    return row.published != NOT_PUBLISHED


def shapes_table(layer_sizes: Sequence[int], batch_size: int) -> str:
    """Shapes of parameters and of a batch's activations, examples as rows, and how many numbers they are."""
    shapes = tensor_shapes(list(layer_sizes), batchnorm=False)
    lines = [["input", MISSING, MISSING, f"({batch_size}, {layer_sizes[0]})", MISSING]]
    for layer, (fan_in, fan_out) in enumerate(pairwise(layer_sizes), start=1):
        name = "output, softmax" if layer == len(layer_sizes) - 1 else f"hidden {layer}, ReLU"
        weights, biases = shapes[f"weights.{layer}"], shapes[f"biases.{layer}"]
        parameters = fan_in * fan_out + fan_out
        lines.append([name, str(weights), str(biases), f"({batch_size}, {fan_out})", count(parameters)])
    total = sum(k * h + h for k, h in pairwise(layer_sizes))
    lines.append(["all", "", "", "", count(total)])
    return table(("layer", "weights", "biases", "activations of a batch", "parameters"), lines)


def weights_table(without: Sequence[Sequence[WeightSummary]], having: Sequence[Sequence[WeightSummary]]) -> str:
    """Weights of each layer without and with a penalty: medians over the seeds, of which each has a summary a layer."""
    lines = []
    for layer, (plain, penalised) in enumerate(
        zip(zip(*without, strict=True), zip(*having, strict=True), strict=True), 1
    ):
        for name, summaries in (("no L2", plain), ("L2", penalised)):
            values = [
                statistics.median(getattr(each, field) for each in summaries)
                for field in ("deviation", "mean_size", "largest", "small", "squares")
            ]
            deviation, mean, largest, small, squares = values
            lines.append(
                [
                    f"{layer}" if name == "no L2" else "",
                    name,
                    number(deviation, 3),
                    number(mean, 3),
                    number(largest, 3),
                    _per_cent(small),
                    number(squares, 3),
                ]
            )
    headers = ("layer", "", "standard deviation", "mean of sizes", "largest", "below 0.01, %", "sum of squares")
    return table(headers, lines)


def learning_table(results: StudyResults, rows: Sequence[Row]) -> str:
    """How many seeds learnt next to nothing, and how many units of each hidden layer never open."""
    lines = [
        (
            row_label(row, results.study.rows),
            _collapsed(results.textbook(row)),
            _dead(results.textbook(row)),
            _collapsed(results.proper(row)),
            _dead(results.proper(row)),
        )
        for row in rows
    ]
    headers = (
        "setting",
        "as published: seeds below 20 %",
        "dead units of the last hidden layer",
        "properly: seeds below 20 %",
        "dead units of the last hidden layer",
    )
    return table(headers, lines)


def _collapsed(outcomes: Sequence[Outcome]) -> str:
    return f"{sum(outcome.collapsed for outcome in outcomes)} of {len(outcomes)}" if outcomes else MISSING


def _dead(outcomes: Sequence[Outcome]) -> str:
    """Of each seed, in their order."""
    return ", ".join(str(outcome.dead_units[-1]) for outcome in outcomes if outcome.dead_units) or MISSING


def compare_batchnorm(results: StudyResults, having: Row, without: Row) -> PairedComparison:
    """Two rows that differ in batch norm, seed by seed, on the test set; a diverged run counts as no accuracy."""
    scores = ({outcome.seed: outcome.test.accuracy for outcome in results.proper(row)} for row in (having, without))
    return compare_paired(*scores)


def batchnorm_table(results: StudyResults, pairs: Sequence[tuple[Row, Row]]) -> str:
    """Batch norm against none, a line for each pair of rows."""
    lines = []
    for having, without in pairs:
        compared = compare_batchnorm(results, having, without)
        better = sum(difference > 0 for difference in compared.differences)
        lines.append(
            (
                full_label(having),
                f"{100 * compared.median:+.2f}",
                f"{better} of {len(compared.seeds)}",
                number(compared.p_value, 2),
            )
        )
    return table(("setting", "points gained, median over seeds", "seeds with a gain", "p-value"), lines)
