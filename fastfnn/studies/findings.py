"""What a study's runs say, in sentences and in numbers for the index."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastfnn.report.formatting import percent
from fastfnn.studies.results import StudyResults
from fastfnn.studies.study import Row
from fastfnn.studies.tables import TIMES_FASTER, Verdict, compare_batchnorm, is_published, row_label


@dataclass(frozen=True)
class Tally:
    """Published rows that our proper runs meet or beat.

    Attributes:
        accuracies, times: how many were published. met, beaten: how many of them our medians meet, or beat by far.
        least_times_faster: over the published times; NaN without any.
        comparisons, gains: how many pairs of rows differ in batch norm, and in how many of them it does not lose by
            the median of the differences.
    """

    accuracies: int
    met: int
    times: int
    beaten: int
    least_times_faster: float
    comparisons: int
    gains: int

    @classmethod
    def of(cls, results: StudyResults) -> Tally:
        """Counts over all rows of a study."""
        pairs = results.study.comparisons
        verdicts = [Verdict.of(row, results.proper(row)) for row in results.study.rows]
        accuracies = [verdict.accuracy_met for verdict in verdicts if verdict.accuracy_met is not None]
        times = [verdict.times_faster for verdict in verdicts if verdict.fast_enough is not None]
        return cls(
            accuracies=len(accuracies),
            met=sum(accuracies),
            times=len(times),
            beaten=sum(time >= TIMES_FASTER for time in times),
            least_times_faster=min(times, default=math.nan),
            comparisons=len(pairs),
            gains=sum(compare_batchnorm(results, *pair).median >= 0 for pair in pairs),
        )


def sentences(results: StudyResults) -> list[str]:
    """The main findings, in the order of their weight."""
    return [*_tally_sentences(Tally.of(results)), *_misses(results), *_single_seeds(results)]


def _tally_sentences(tally: Tally) -> Iterator[str]:
    if tally.accuracies:
        yield f"{tally.met} of {tally.accuracies} published accuracies are met or beaten by the median of our seeds."
    if tally.times:
        yield (
            f"{tally.beaten} of {tally.times} published times are beaten by {TIMES_FASTER} times or more; "
            f"the least is {tally.least_times_faster:.0f} times."
        )
    if tally.comparisons:
        yield (
            f"Batch norm does not lose in {tally.gains} of {tally.comparisons} comparisons with none, by the median of "
            "the differences seed by seed."
        )


def _misses(results: StudyResults) -> Iterator[str]:
    """Why a published accuracy is not met, as far as the runs can tell."""
    for row in results.study.rows:
        outcomes = results.proper(row)
        if Verdict.of(row, outcomes).accuracy_met is False and outcomes:
            scores = [outcome.test.accuracy for outcome in outcomes]
            collapsed = sum(outcome.collapsed for outcome in outcomes)
            yield (
                f"Not met: {row_label(row, results.study.rows)}, {percent(statistics.median(scores))} against "
                f"{percent(row.published.test_accuracy)}; {collapsed} of {len(outcomes)} seeds ended below 20 %."
            )


def _single_seeds(results: StudyResults) -> Iterator[str]:
    """How far apart seeds end under the study's conventions: what a single run could have said."""
    for row in (row for row in results.study.rows if is_published(row)):
        scores = [outcome.test.accuracy for outcome in results.textbook(row)]
        if len(scores) > 1 and max(scores) - min(scores) > 0.2:
            yield (
                f"Under the study's conventions {row_label(row, results.study.rows)} ends anywhere from "
                f"{percent(min(scores))} to {percent(max(scores))}, depending on the seed: one run says little."
            )


def run_rows(results: StudyResults) -> list[dict[str, Any]]:
    """One row for each run, and one for each published line, for `results.csv`."""
    rows: list[dict[str, Any]] = []
    for experiment in results.study.experiments:
        for row in experiment.rows:
            settings = _settings(experiment.name, row)
            if is_published(row):
                rows.append({"way": "published", **settings, **_published(row)})
            for way, outcomes in (("as published", results.textbook(row)), ("properly", results.proper(row))):
                rows += [{"way": way, **settings, **_measures(outcome)} for outcome in outcomes]
    return rows


def _settings(experiment: str, row: Row) -> dict[str, Any]:
    return {
        "experiment": experiment,
        **{name: getattr(row, name) for name in ("batch_size", "batchnorm", "l2", "dropout")},
    }


COLUMNS = (
    *("seed", "status", "steps", "epochs"),
    *("train_accuracy", "validation_accuracy", "test_accuracy", "train_cost", "validation_cost", "test_cost"),
    *("train_seconds", "evaluation_seconds", "dead_units"),
)


def _published(row: Row) -> dict[str, Any]:
    known = {name: getattr(row.published, name) for name in ("steps", "epochs", "test_accuracy")}
    known |= {name: getattr(row.published, name) for name in ("train_accuracy", "validation_accuracy")}
    return dict.fromkeys(COLUMNS) | known | {"train_seconds": row.published.seconds}


def _measures(outcome: Any) -> dict[str, Any]:
    values = {name: getattr(outcome, name) for name in ("seed", "status", "steps", "epochs")}
    for split in ("train", "validation", "test"):
        for measure in ("accuracy", "cost"):
            values[f"{split}_{measure}"] = getattr(getattr(outcome, split), measure)
    times = {name: getattr(outcome, name) for name in ("train_seconds", "evaluation_seconds")}
    return {**dict.fromkeys(COLUMNS), **values, **times, "dead_units": "-".join(map(str, outcome.dead_units))}
