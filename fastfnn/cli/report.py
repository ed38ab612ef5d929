"""`fastfnn report`: makes the tables, figures and page of a finished or unfinished sweep again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastfnn.cli.findings import print_findings, print_written
from fastfnn.cli.options import OUTPUT, JsonOption
from fastfnn.cli.output import print_json

EXAMPLES = """
fastfnn report fastfnn-sweep
fastfnn report fastfnn-sweep --open
fastfnn report fastfnn-sweep --json | jq .recommendation
"""

STORE_NAME = "runs.sqlite"


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a sweep, or its runs.sqlite.")] = Path(
        "fastfnn-sweep"
    ),
    open_page: Annotated[
        bool, typer.Option("--open", help="Show the page in a browser.", rich_help_panel=OUTPUT)
    ] = False,
    json: JsonOption = False,
) -> None:
    """Make the tables, figures and page of a sweep again.

    Reads runs.sqlite and writes results.csv, figures/ and report.html beside it.
    """
    from fastfnn.report import Findings, write_report
    from fastfnn.sweeps import Store

    path = folder if folder.is_file() else folder / STORE_NAME
    with Store.open(path) as store:
        findings = Findings.of(store.load())
    written = write_report(findings, path.parent)
    if json:
        print_json(findings.to_dict() | {"written": [str(file) for file in written]})
    else:
        print_findings(findings)
        print_written(path.parent, written)
    if open_page:
        typer.launch(str((path.parent / "report.html").resolve()))
