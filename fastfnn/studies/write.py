"""Writes the pages, figures and tables of studies into a folder."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastfnn.atomic import write_atomically
from fastfnn.report.style import render
from fastfnn.report.tables import csv_text
from fastfnn.report.tables import run_rows as sweep_rows
from fastfnn.studies.fastest import PRESET, answers
from fastfnn.studies.fastest_page import TITLE, answer_text, fastest_page, time_figure
from fastfnn.studies.findings import Tally, run_rows
from fastfnn.studies.index import index_page
from fastfnn.studies.pages import study_figures, study_page
from fastfnn.studies.results import StudyResults
from fastfnn.studies.study import RUNS

SUMMARY = "summary.json"
KINDS = ("png", "svg")


def write_study(results: StudyResults, folder: str | Path, command: str) -> list[Path]:
    """Writes a study's page, its folder beside it, and the index of all studies that are there.

    Args:
        results: what is shown.
        folder: receives `study-x.md`, `study-x/` and `README.md`.
        command: what makes them again.

    Returns:
        The paths, each file whole or not at all.
    """
    folder, name = Path(folder), results.study.name
    contents: dict[str, str | bytes] = {
        f"{name}.md": study_page(results, command),
        f"{name}/results.csv": csv_text(run_rows(results)),
        f"{name}/{SUMMARY}": json.dumps(_summary(results), indent=1) + "\n",
    }
    for figure_name, drawn in study_figures(results).items():
        contents |= {f"{name}/figures/{figure_name}.{kind}": render(drawn, kind) for kind in KINDS}
    written = [write(folder / path, content) for path, content in contents.items()]
    return [*written, write_index(folder)]


def write_fastest(folder: str | Path, command: str) -> list[Path]:
    """Writes the page of `fast-98` from the stores that the folder has, and the index."""
    folder = Path(folder)
    found = answers(folder / PRESET / RUNS)
    summary = {"name": PRESET, "title": TITLE, "text": "\n\n".join(f"{a.name}: {answer_text(a)}" for a in found)}
    contents: dict[str, str | bytes] = {
        f"{PRESET}.md": fastest_page(found, command),
        f"{PRESET}/{SUMMARY}": json.dumps(summary, indent=1) + "\n",
        **{f"{PRESET}/results-{a.name}.csv": csv_text(sweep_rows(a.results)) for a in found},
    }
    drawn = time_figure(found)
    contents |= {f"{PRESET}/figures/time.{kind}": render(drawn, kind) for kind in KINDS}
    written = [write(folder / path, content) for path, content in contents.items()]
    return [*written, write_index(folder)]


def write(path: Path, content: str | bytes) -> Path:
    """Writes a file whole, and its folder where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
    return path


def write_index(folder: Path) -> Path:
    """Writes the index of what is in the folder."""
    found = sorted(folder.glob(f"*/{SUMMARY}"))
    return write(folder / "README.md", index_page([json.loads(path.read_text(encoding="utf-8")) for path in found]))


def _summary(results: StudyResults) -> dict[str, Any]:
    tally = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(Tally.of(results)).items()}
    return {"name": results.study.name, "title": results.study.title, "seeds": len(results.seeds), "tally": tally}
