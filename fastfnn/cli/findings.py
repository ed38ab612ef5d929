"""Findings of a sweep on a terminal: summary, recommendation, reasons, caveats, and what was written."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fastfnn.cli.output import print_table

if TYPE_CHECKING:
    from fastfnn.report.findings import Findings

WIDTH = 100


def print_findings(findings: Findings) -> None:
    """Prints the summary and the recommendation on stdout."""
    from fastfnn.report.formatting import settings_text
    from fastfnn.report.tables import summary_table

    table = summary_table(findings)
    print_table(table.headers, table.rows, marked=table.marked)
    settings = findings.recommendation.settings
    chosen = "none" if settings is None else settings_text(settings, findings.results.axes or None)
    typer.echo(f"\nRecommended: {chosen}")
    print_list(findings.recommendation.reasons)
    if findings.caveats:
        typer.echo("\nBefore you trust it:")
        print_list(findings.caveats)


def print_written(folder: Path, written: Sequence[Path]) -> None:
    """Names what is in the folder, a subfolder once."""
    names = dict.fromkeys(_top(path.relative_to(folder)) for path in written)
    typer.echo(f"\nWritten in {folder}: {', '.join(names)}")


def _top(path: Path) -> str:
    return path.parts[0] + ("/" if len(path.parts) > 1 else "")


def print_list(sentences: Iterable[str]) -> None:
    """Prints sentences as a list, wrapped."""
    for sentence in sentences:
        unbroken = sentence.replace(" %", "\N{NO-BREAK SPACE}%")
        lines = textwrap.fill(unbroken, WIDTH, initial_indent="  - ", subsequent_indent="    ")
        typer.echo(lines.replace("\N{NO-BREAK SPACE}", " "))
