"""`fastfnn train`: one run, its model, its curves."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastfnn.cli.options import (
    EXECUTION,
    OUTPUT,
    TRAINING,
    DataOptions,
    JsonOption,
    QuietOption,
    TrainingOptions,
    setting_option,
    training_config,
)
from fastfnn.cli.output import (
    COMPILING,
    FAILED,
    INTERRUPTED,
    must_compile,
    note,
    print_facts,
    print_json,
    print_table,
    require_folder,
)

if TYPE_CHECKING:
    from fastfnn.config import TrainingConfig
    from fastfnn.data import Dataset
    from fastfnn.results import TrainingResult

EXAMPLES = """
fastfnn train --batch-size 128 --epochs 50 --out model.safetensors
fastfnn train --data digits --hidden 32 --optimizer adam --learning-rate 0.001
fastfnn train --early-stopping --early-stopping-patience 20 --json > result.json
fastfnn train --epochs 500 --checkpoint run.safetensors    # survives a kill: run it again
"""


@dataclass(frozen=True)
class Options:
    """What only `train` has."""

    seed: Annotated[
        int | None,
        setting_option("Of initialisation, order, dropout.", "0", TRAINING, "N"),
    ] = None
    config: Annotated[
        Path | None,
        typer.Option(
            help="TOML or JSON file of settings; options change it.", metavar="FILE", rich_help_panel=TRAINING
        ),
    ] = None
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="Continue from this file, and keep it up to date.", metavar="FILE", rich_help_panel=EXECUTION
        ),
    ] = None
    out: Annotated[Path | None, typer.Option(help="Save the model here.", metavar="FILE", rich_help_panel=OUTPUT)] = (
        None
    )
    curves: Annotated[
        Path | None,
        setting_option("Draw the curves here (png or svg).", "beside the model", OUTPUT, "FILE"),
    ] = None
    json: JsonOption = False
    quiet: QuietOption = False

    @property
    def curves_path(self) -> Path | None:
        """Where the curves go: as asked for, else beside the model, else nowhere."""
        if self.curves or not self.out:
            return self.curves
        return self.out.with_name(f"{self.out.stem}-curves.png")


def train(data: DataOptions, training: TrainingOptions, options: Options) -> None:
    """Train one network, and save its model and its learning curves.

    Ctrl-C ends the run and keeps what it has learnt.
    """
    config = training_config(training, options.seed, options.config)
    for path in (options.out, options.curves, options.checkpoint):
        require_folder(path)
    _require_figure_format(options.curves_path)
    dataset = data.load()

    result = _run(dataset, config, options)
    written = _write(result, options)
    if options.json:
        print_json(_document(result, dataset.describe(), written))
    else:
        _print(result, written)
    _exit(result, options)


def _run(dataset: Dataset, config: TrainingConfig, options: Options) -> TrainingResult:
    from fastfnn.training import train as run

    if not options.quiet and must_compile():
        note(COMPILING)
    try:
        return run(dataset, config, progress=not options.quiet, checkpoint=options.checkpoint)
    except KeyboardInterrupt:  # during compilation, or pressed twice
        note("interrupted: nothing is saved")
        raise typer.Exit(INTERRUPTED) from None


def _require_figure_format(path: Path | None) -> None:
    if path is not None and path.suffix not in (".png", ".svg"):
        raise typer.BadParameter(f"--curves: expected a name that ends in .png or .svg, found {str(path)!r}")


def _write(result: TrainingResult, options: Options) -> list[Path]:
    """Writes what was asked for; the parameters of a diverged run are not worth a file."""
    written = []
    if options.out and result.status != "diverged":
        result.network.save(options.out)
        written.append(options.out)
    if options.curves_path:
        from fastfnn.atomic import write_atomically
        from fastfnn.report.curves import learning_curves
        from fastfnn.report.style import render

        write_atomically(
            options.curves_path, render(learning_curves(result.history), options.curves_path.suffix.removeprefix("."))
        )
        written.append(options.curves_path)
    return written


def _document(result: TrainingResult, data: dict[str, Any], written: list[Path]) -> dict[str, Any]:
    numbers = ("status", "steps", "epochs", "best_step", "shared_machine")
    times = ("train_seconds", "evaluation_seconds", "compile_seconds", "load_seconds")
    return {
        "config": result.config.model_dump(mode="json"),
        "data": data,
        **{name: getattr(result, name) for name in numbers + times},
        **{split: asdict(getattr(result, split)) for split in ("train", "validation", "test")},
        "history": result.history.to_dict(),
        "written": [str(path) for path in written],
    }


def _print(result: TrainingResult, written: list[Path]) -> None:
    from fastfnn.report.formatting import count, number, percent, seconds

    evaluations = [(split, getattr(result, split)) for split in ("train", "validation", "test")]
    print_table(
        ("split", "accuracy", "cost", "loss"),
        [(split, percent(e.accuracy), number(e.cost), number(e.loss)) for split, e in evaluations if e.cost == e.cost],
    )
    times = f"training {seconds(result.train_seconds)}, evaluation {seconds(result.evaluation_seconds)}"
    prepared = f"compilation {seconds(result.compile_seconds)}, loading {seconds(result.load_seconds)}"
    restored = "" if result.best_step is None else f" (best check at step {count(result.best_step)})"
    typer.echo()
    print_facts(
        {
            "status": result.status + restored,
            "done": f"{count(result.steps)} steps, {number(result.epochs)} epochs",
            "time": f"{times}, {prepared}",
            **({"written": ", ".join(map(str, written))} if written else {}),
        }
    )


def _exit(result: TrainingResult, options: Options) -> None:
    """The exit status, and what to do about it."""
    sys.stdout.flush()
    if result.status == "diverged":
        lower = f"{result.config.learning_rate / 3:.1g}"
        note(f"the cost was not finite at step {result.steps}; try a lower --learning-rate, such as {lower}")
        raise typer.Exit(FAILED)
    if result.status == "interrupted":
        note("interrupted: " + ("the model so far is saved" if options.out else "no --out, so no model is saved"))
        raise typer.Exit(INTERRUPTED)
