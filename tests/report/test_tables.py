"""The CSV of runs and the summary."""

from __future__ import annotations

import csv
import io
import math

from fastfnn.report.findings import Findings
from fastfnn.report.tables import csv_text, run_rows, run_table, summary_table
from fastfnn.sweeps.store import SweepResults


def test_csv_comes_back(two_axes: SweepResults) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(run_rows(two_axes)))))
    assert [row["run_id"] for row in rows] == [run.run_id for run in two_axes.runs]
    for row, run in zip(rows, two_axes.runs, strict=True):
        assert (int(row["batch_size"]), float(row["l2"])) == (run.settings["batch_size"], run.settings["l2"])
        assert row["status"] == run.status
        assert row["error"] == (run.error or "")
        if run.measured:
            assert float(row["test_accuracy"]) == run.test.accuracy  # to the last bit
            assert float(row["train_seconds"]) == run.train_seconds
        else:
            assert row["test_accuracy"] == ""


def test_csv_of_no_runs_has_a_header() -> None:
    assert csv_text([]) == "run_id\n"


def test_summary_has_a_row_for_each_setting(two_axes: SweepResults) -> None:
    findings = Findings.of(two_axes)
    table = summary_table(findings)
    assert table.headers[:3] == ("batch size", "L2", "seeds")
    assert table.headers[-1] == "remarks"
    assert len(table.rows) == len(two_axes.settings())
    assert table.rows[3][:3] == ("16", "0.0001", "0 of 2")
    assert table.rows[3][-1] == "1 failed, 1 diverged"
    assert table.marked is not None
    assert findings.summaries[table.marked].settings == findings.recommendation.settings


def test_summary_leaves_empty_columns_out(results: SweepResults, all_diverged: SweepResults) -> None:
    assert "remarks" not in summary_table(Findings.of(results)).headers
    assert summary_table(Findings.of(all_diverged)).headers == ("batch size", "seeds", "remarks")


def test_run_table_has_a_row_for_each_run(two_axes: SweepResults) -> None:
    table = run_table(two_axes)
    assert len(table.rows) == len(two_axes.runs)
    assert {len(row) for row in table.rows} == {len(table.headers)}


def test_findings_read_every_history_once(results: SweepResults) -> None:
    asked: list[str] = []

    def read(run_id: str) -> object:
        asked.append(run_id)
        return results.history(run_id)

    Findings.of(SweepResults(**{**vars(results), "read_history": read}))
    assert sorted(asked) == sorted(run.run_id for run in results.runs)


def test_findings_are_plain_values(two_axes: SweepResults) -> None:
    document = Findings.of(two_axes).to_dict()
    assert document["runs"] == {"planned": 12, "missing": 0, "completed": 10, "diverged": 1, "failed": 1}
    assert math.isnan(document["settings"][3]["test_accuracy"]["median"])
    assert document["recommendation"]["caveats"]
