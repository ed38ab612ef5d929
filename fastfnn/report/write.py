"""Writes everything a report has into a folder: `results.csv`, `figures/`, `report.html`."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

from matplotlib.figure import Figure

from fastfnn.atomic import write_atomically
from fastfnn.report import curves, figures
from fastfnn.report.findings import Findings
from fastfnn.report.page import html_page
from fastfnn.report.style import render
from fastfnn.report.tables import csv_text, run_rows
from fastfnn.sweeps.store import SweepResults

FIGURES: Mapping[str, Callable[[Findings], Figure]] = {
    "accuracy": lambda findings: figures.accuracy(findings.results),
    "target": lambda findings: figures.target(findings.results, findings.target),
    "runtime": lambda findings: figures.runtime(findings.results),
    "curves": lambda findings: curves.sweep_curves(findings.results),
}


def write_report(results: SweepResults | Findings, folder: str | Path) -> list[Path]:
    """Writes the report and returns the paths, each file whole or not at all; earlier ones are replaced.

    Raises:
        OSError: when the folder cannot be made or written.
    """
    findings = results if isinstance(results, Findings) else Findings.of(results)
    folder = Path(folder)
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    images = {name: draw(findings) for name, draw in FIGURES.items()}
    vectors = {name: render(image, "svg") for name, image in images.items()}
    command = f"fastfnn report {shlex.quote(folder.name or '.')}"
    contents: dict[str, str | bytes] = {"results.csv": csv_text(run_rows(findings.results))}
    for name, image in images.items():
        contents[f"figures/{name}.png"] = render(image, "png")
        contents[f"figures/{name}.svg"] = vectors[name]
    contents["report.html"] = html_page(findings, vectors, command)
    for name, content in contents.items():
        write_atomically(folder / name, content)
    return [folder / name for name in contents]
