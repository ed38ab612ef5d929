"""What commands print: results on stdout, remarks on stderr, exit statuses, JSON documents."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

if TYPE_CHECKING:
    from rich.table import Table as RichTable

MAX_WIDTH = 400

FAILED, MISTAKE, INTERRUPTED = 1, 2, 130


def note(message: str) -> None:
    """A remark on stderr, with the name of the program."""
    typer.echo(f"fastfnn: {message}", err=True)


COMPILING = "compiling the kernels first, which takes some seconds; they are kept"


def must_compile() -> bool:
    """Whether the kernels have to be compiled before anything else can happen."""
    from fastfnn.kernels.machine_code import steps_are_not_compiled

    return steps_are_not_compiled()


def print_json(document: Mapping[str, Any]) -> None:
    """The one document of `--json`, on stdout."""
    typer.echo(json_text(document), nl=False)


def json_text(document: Mapping[str, Any]) -> str:
    """A JSON document on one line; what is not a finite number is null."""
    return json.dumps(finite(document), default=str, allow_nan=False) + "\n"


def finite(value: Any) -> Any:
    """`value` with NaN and infinity replaced by None, tuples by lists and NumPy numbers by Python's."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if hasattr(value, "tolist"):
        return finite(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_table(
    headers: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    marked: int | None = None,
    justify: Literal["left", "right"] = "right",
) -> None:
    """A table of texts on stdout; `justify` is for the columns after the first, the marked row stands out."""
    from rich.console import Console

    # A table wider than the terminal is better wrapped by it than cut.
    Console(width=MAX_WIDTH, highlight=False, markup=False).print(text_table(headers, rows, marked, justify))


def text_table(
    headers: Sequence[str],
    rows: Iterable[Sequence[str]],
    marked: int | None = None,
    justify: Literal["left", "right"] = "right",
) -> RichTable:
    """A Rich table without lines, for a terminal or a file."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, header in enumerate(headers):
        table.add_column(header, justify="left" if index == 0 else justify, no_wrap=True, header_style="bold")
    for index, row in enumerate(rows):
        table.add_row(*(Text(cell) for cell in row), style="bold green" if index == marked else None)
    return table


def print_facts(facts: Mapping[str, str]) -> None:
    """`name  value` lines on stdout, aligned."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        typer.echo(f"{name:<{width}}  {value}".rstrip())


def require_folder(path: Path | None) -> None:
    """Refuses a file that could not be written, before the work that makes its content."""
    if path is not None and not path.parent.is_dir():
        raise FileNotFoundError(2, "no such folder", str(path.parent))
    if path is not None and path.is_dir():
        raise IsADirectoryError(21, "is a folder, expected a file name", str(path))
