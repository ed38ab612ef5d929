"""`fastfnn data`: which data sets there are, what is in one, and fetching those that are not in the package."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from fastfnn.cli.help import Command, CommandGroup, help_without_command
from fastfnn.cli.options import DataOptions, JsonOption
from fastfnn.cli.output import note, print_facts, print_json, print_table

LIST_EXAMPLES = """
fastfnn data list --json
"""
INFO_EXAMPLES = """
fastfnn data info mnist
fastfnn data info ./my-images/ --validation 0.1
"""
FETCH_EXAMPLES = """
fastfnn data fetch fashion-mnist
"""

app = typer.Typer(
    cls=CommandGroup,
    rich_markup_mode=None,
    epilog="""
fastfnn data list
fastfnn data info mnist
fastfnn data fetch fashion-mnist
""",
)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="A name of fastfnn data list.")]


@app.callback(invoke_without_command=True)
def _data(ctx: typer.Context) -> None:
    """List, describe and fetch data sets."""
    help_without_command(ctx)


@app.command("list", cls=Command, epilog=LIST_EXAMPLES)
def list_(json: JsonOption = False) -> None:
    """List the data sets that have a name."""
    from fastfnn.data import DATASETS

    if json:
        entries = {
            name: {"description": i.description, "licence": i.licence, "source": i.source, "offline": i.offline}
            for name, i in DATASETS.items()
        }
        print_json({"datasets": entries})
        return
    print_table(
        ("name", "description", "licence", "needs a download"),
        [(name, i.description, i.licence, "no" if i.offline else "yes") for name, i in DATASETS.items()],
        justify="left",
    )


@app.command("info", cls=Command, epilog=INFO_EXAMPLES)
def info(
    name: Annotated[str, typer.Argument(metavar="NAME|PATH", show_default=False, help="A name or a path.")],
    validation: Annotated[float, typer.Option(help="Share of the training set held out.")] = 0.2,
    json: JsonOption = False,
) -> None:
    """Describe a data set: examples, features, classes, density."""
    description = DataOptions(data=name, validation=validation).load().describe()
    if json:
        print_json(description)
    else:
        print_facts({fact: _text(value) for fact, value in description.items() if value is not None})


@app.command("fetch", cls=Command, epilog=FETCH_EXAMPLES)
def fetch(name: NameArgument) -> None:
    """Download a data set, verify it and keep it for later."""
    from fastfnn.data import DATASETS
    from fastfnn.errors import DataError, suggestion

    if name not in DATASETS:
        raise DataError(f"expected one of {', '.join(DATASETS)}, found {name!r}{suggestion(name, list(DATASETS))}")
    DataOptions(data=name).load()
    note(f"{name} needs no download" if DATASETS[name].offline else f"{name} is here and verified")


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
