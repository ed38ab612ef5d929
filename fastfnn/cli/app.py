"""The command `fastfnn`: its subcommands, and how errors become one line and an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from fastfnn._version import __version__
from fastfnn.cli import bench, data, export, predict, report, study, sweep, train
from fastfnn.cli.groups import flat
from fastfnn.cli.help import SETTINGS, Command, CommandGroup, help_without_command
from fastfnn.cli.output import MISTAKE, note
from fastfnn.errors import FastfnnError

BROKEN_PIPE = 141
"""What a shell reports for a tool that SIGPIPE ended."""

EXAMPLES = """
fastfnn sweep            # the main job: which batch size for MNIST?
fastfnn train --batch-size 128 --epochs 50 --out model.safetensors
fastfnn train --help     # options and examples of a command
"""

app = typer.Typer(
    name="fastfnn",
    cls=CommandGroup,
    add_completion=False,  # its options cost every start the import of pydantic
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=SETTINGS,
    epilog=EXAMPLES,
)
app.command("sweep", cls=Command, epilog=sweep.EXAMPLES)(flat(sweep.sweep))
app.command("train", cls=Command, epilog=train.EXAMPLES)(flat(train.train))
app.command("study", cls=Command, epilog=study.EXAMPLES)(flat(study.study))
app.command("report", cls=Command, epilog=report.EXAMPLES)(report.report)
app.command("bench", cls=Command, epilog=bench.EXAMPLES)(flat(bench.bench))
app.command("predict", cls=Command, epilog=predict.EXAMPLES)(flat(predict.predict))
app.command("export", cls=Command, epilog=export.EXAMPLES)(flat(export.export))
app.add_typer(data.app, name="data")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fastfnn {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _fastfnn(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Train small fully connected networks on a CPU, fast, and find the right batch size."""
    help_without_command(ctx)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0, 1 failed runs, 2 a user's mistake, 130 interrupted."""
    try:
        status = app(args=arguments, prog_name="fastfnn", standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except BrokenPipeError:
        _forget_stdout()
        return BROKEN_PIPE
    except typer.TyperException as error:
        return _mistake(error.format_message())
    except OSError as error:
        return _mistake(_describe(error))
    except FastfnnError as error:
        return _mistake(str(error))


def _mistake(message: str) -> int:
    note(f"error: {' '.join(message.split())}")
    return MISTAKE


def _describe(error: OSError) -> str:
    """`file: reason` for an error of the operating system, the message for our own."""
    if error.filename is None or error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror}"


def _forget_stdout() -> None:
    """The reader went away (`| head`): the interpreter's last flush must not complain about it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
