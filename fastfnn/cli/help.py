"""Help pages as plain text: options under headings, examples as they are typed. Rich's take twice the time."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from fastfnn.cli.output import MISTAKE

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Command(TyperCommand):
    """A command whose options stand under the headings that they name."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes arguments and options, heading by heading."""
        _write_options(self, ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Writes the examples."""
        _write_examples(self.epilog, formatter)


class CommandGroup(TyperGroup):
    """A group of commands, in the same style."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes the commands, then the options."""
        self.format_commands(ctx, formatter)
        _write_options(self, ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Writes the examples."""
        _write_examples(self.epilog, formatter)

    def get_help_option(self, ctx: Any) -> Any:
        """The option `--help`, off unless given: to understand that there is no value Typer would import pydantic."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.default = False
        return option


def help_without_command(ctx: Any) -> None:
    """The callback of a group: the name of a group alone is a mistake that is answered with its help."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
        raise typer.Exit(MISTAKE)


def _write_options(command: TyperCommand | TyperGroup, ctx: Any, formatter: Any) -> None:
    headings: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
        if record:
            headings.setdefault(getattr(parameter, "rich_help_panel", None) or usual, []).append(record)
    for heading, records in headings.items():
        with formatter.section(heading):
            formatter.write_dl(records)


def _write_examples(examples: str | None, formatter: Any) -> None:
    if examples:
        with formatter.section("Examples"):
            formatter.write("".join(f"  {line}\n" for line in examples.strip().splitlines()))
