"""Tables of a sweep: `results.csv` with a row for each run, and the summary with a row for each setting."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastfnn.analysis import Estimate, SettingSummary
from fastfnn.report.findings import Findings
from fastfnn.report.formatting import MISSING, axis_title, count, number, percent, seconds, setting
from fastfnn.sweeps.store import RunRecord, SweepResults

SPLITS, MEASURES = ("train", "validation", "test"), ("accuracy", "cost", "loss")
PLAIN_COLUMNS = ("steps", "epochs", "best_step")
LATE_COLUMNS = (
    "train_seconds",
    "evaluation_seconds",
    "compile_seconds",
    "load_seconds",
    "shared_machine",
    "started_at",
    "finished_at",
    "error",
)


@dataclass(frozen=True)
class Table:
    """Texts in rows under headers. `marked` is a row that stands out."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    marked: int | None = None


def run_rows(results: SweepResults) -> list[dict[str, Any]]:
    """One row for each run, column name to value; every axis of the grid is a column."""
    return [_run_row(run, tuple(results.sweep.grid)) for run in results.runs]


def _run_row(run: RunRecord, axes: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"run_id": run.run_id}
    row |= {axis: run.settings[axis] for axis in axes}
    row |= {"seed": run.seed, "status": run.status}
    row |= {f"{split}_{name}": getattr(getattr(run, split), name) for split in SPLITS for name in MEASURES}
    return row | {name: getattr(run, name) for name in (*PLAIN_COLUMNS, *LATE_COLUMNS)}


def csv_text(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as CSV with a header; numbers in full precision, nothing where there is no number."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["run_id"], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return value if isinstance(value, str | int | float) and not isinstance(value, bool) else setting(value)


def summary_table(findings: Findings) -> Table:
    """One row for each setting; columns in which no row has anything are left out."""
    axes = findings.results.axes or tuple(findings.results.sweep.grid)
    columns: list[tuple[str, Callable[[SettingSummary], str]]] = [
        ("seeds", _seeds),
        ("validation", lambda s: _accuracy(s.validation_accuracy)),
        ("test", lambda s: _accuracy(s.test_accuracy)),
        ("epochs", lambda s: number(s.epochs.median, 3)),
        ("per epoch", lambda s: seconds(s.seconds_per_epoch)),
        ("training", lambda s: seconds(s.train_seconds.median)),
    ]
    if findings.target is not None:
        columns.append((f"to {percent(findings.target, 1)}", _to_target))
    columns.append(("remarks", _remarks))
    cells = {header: [text(summary) for summary in findings.summaries] for header, text in columns}
    kept = [header for header, texts in cells.items() if set(texts) - {"", MISSING}]
    settings = [tuple(setting(summary.settings[axis]) for axis in axes) for summary in findings.summaries]
    measures = zip(*(cells[header] for header in kept), strict=True) if kept else (() for _ in settings)
    return Table(
        headers=(*map(axis_title, axes), *kept),
        rows=tuple(left + tuple(right) for left, right in zip(settings, measures, strict=True)),
        marked=_marked(findings),
    )


def run_table(results: SweepResults) -> Table:
    """One row for each run, for reading; `results.csv` has all columns."""
    axes = results.axes or tuple(results.sweep.grid)
    headers = (
        *map(axis_title, axes),
        "seed",
        "status",
        "train",
        "validation",
        "test",
        "steps",
        "epochs",
        "time",
        "run",
    )
    rows = tuple(
        (
            *(setting(run.settings[axis]) for axis in axes),
            str(run.seed),
            run.status if run.error is None else f"{run.status}: {run.error}",
            *(percent(getattr(run, split).accuracy) for split in SPLITS),
            count(run.steps),
            number(run.epochs, 4),
            seconds(run.train_seconds),
            run.run_id,
        )
        for run in results.runs
    )
    return Table(headers, rows)


def _seeds(summary: SettingSummary) -> str:
    planned = sum(summary.statuses.values()) + summary.missing
    return str(planned) if len(summary.seeds) == planned else f"{len(summary.seeds)} of {planned}"


def _accuracy(accuracy: Estimate) -> str:
    """The median with its interval: `93.41 % (93.20 to 93.66)`."""
    if accuracy.n < 2:
        return percent(accuracy.median)
    return f"{percent(accuracy.median)} ({100 * accuracy.low:.2f} to {100 * accuracy.high:.2f})"


def _to_target(summary: SettingSummary) -> str:
    way = summary.to_target
    if way is None or not way.runs:
        return MISSING
    return seconds(way.seconds) if math.isfinite(way.seconds) else f"{way.reached} of {way.runs} runs"


def _remarks(summary: SettingSummary) -> str:
    parts = [f"{n} {status}" for status, n in summary.statuses.items() if status not in ("completed", "stopped")]
    return ", ".join([*parts, *([f"{summary.missing} missing"] if summary.missing else [])])


def _marked(findings: Findings) -> int | None:
    settings = [summary.settings for summary in findings.summaries]
    chosen = findings.recommendation.settings
    return settings.index(chosen) if chosen in settings else None
