"""`fastfnn bench`: how fast is it here? The compiled kernels against the NumPy reference."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
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
    INTERRUPTED,
    must_compile,
    note,
    print_facts,
    print_json,
    print_table,
    require_folder,
)

if TYPE_CHECKING:
    from fastfnn.benchmarks.short_form import ShortForm

EXAMPLES = """
fastfnn bench                # about ten seconds; a table and fastfnn-bench.png
fastfnn bench --batch-size 16..2048:x2 --rounds 7 --hidden 128
fastfnn bench --data digits --optimizer adam --batchnorm after --json > bench.json
fastfnn bench --output before.json    # then python -m pyperf compare_to before.json after.json
"""

DEFAULT_BATCH_SIZES = "16,64,256,1024"
WITHOUT_EFFECT = ("epochs", "evaluate_every", "lr_schedule", "lr_step_epochs", "lr_step_factor", "warmup_epochs")


@dataclass(frozen=True)
class TimedOptions(TrainingOptions):
    """The options of training, with several batch sizes."""

    batch_size: Annotated[
        str | None, setting_option("Examples in a step; a list or range.", DEFAULT_BATCH_SIZES, TRAINING, "N,N,...")
    ] = None


@dataclass(frozen=True)
class Options:
    """What only `bench` has."""

    config: Annotated[
        Path | None,
        typer.Option(
            help="TOML or JSON file of settings; options change it.", metavar="FILE", rich_help_panel=TRAINING
        ),
    ] = None
    rounds: Annotated[
        int, typer.Option(min=1, help="Epochs of each that are timed.", metavar="N", rich_help_panel=EXECUTION)
    ] = 3
    plot: Annotated[
        Path, typer.Option(help="Draw the times here (png or svg).", metavar="FILE", rich_help_panel=OUTPUT)
    ] = Path("fastfnn-bench.png")
    output: Annotated[
        Path | None, typer.Option(help="Save a file of pyperf here.", metavar="FILE", rich_help_panel=OUTPUT)
    ] = None
    json: JsonOption = False
    quiet: QuietOption = False


def bench(data: DataOptions, training: TimedOptions, options: Options) -> None:
    """Time an epoch at several batch sizes, against the NumPy reference.

    Compilation, loading, evaluation and drawing an epoch's order are not in the times. NumPy computes with the same
    options, its linear algebra on one thread. Ctrl-C ends it and keeps what is measured.
    """
    _refuse_unwritable(options)
    measured = _short_form(data, training, options)
    interrupted = _measure(measured, options)
    written = _write(measured, options)
    if options.json:
        document = measured.to_document() | {"interrupted": interrupted, "written": [str(path) for path in written]}
        print_json(document)
    else:
        _print(measured, written)
    if interrupted:
        sys.stdout.flush()
        note(f"interrupted in round {len(measured.sgemm_rates)} of {options.rounds}: these are the times so far")
        raise typer.Exit(INTERRUPTED)


def _refuse_unwritable(options: Options) -> None:
    """Refuses names that nothing could be written to, before the work."""
    for name, path, endings in (
        ("--plot", options.plot, (".png", ".svg")),
        ("--output", options.output, (".json",)),
    ):
        require_folder(path)
        if path is not None and path.suffix not in endings:
            raise typer.BadParameter(
                f"{name}: expected a name that ends in {' or '.join(endings)}, found {str(path)!r}"
            )


def _short_form(data: DataOptions, training: TimedOptions, options: Options) -> ShortForm:
    config = training_config(replace(training, batch_size=None), None, options.config)
    ignored = [name for name in training.given() if name in WITHOUT_EFFECT]
    if ignored or training.stopping_changes(config):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in ignored) or "early stopping"
        note(f"an epoch takes the same time whatever {names} says")
    dataset = data.load()

    from fastfnn.benchmarks.short_form import ShortForm

    return ShortForm(dataset, config, _batch_sizes(training.batch_size or DEFAULT_BATCH_SIZES), options.rounds)


def _batch_sizes(text: str) -> list[Any]:
    from fastfnn.sweeps import parse_axis

    return list(dict.fromkeys(parse_axis(text)))


def _measure(measured: ShortForm, options: Options) -> bool:
    """Measures, and tells whether Ctrl-C ended it; with nothing measured, that ends the command."""
    if not options.quiet and must_compile():
        note(COMPILING)

    def announce(number: int) -> None:
        if not options.quiet:
            note(f"round {number + 1} of {options.rounds}")

    try:
        measured.measure(announce)
    except KeyboardInterrupt:
        if not measured.rows:
            note("interrupted: nothing is measured yet")
            raise typer.Exit(INTERRUPTED) from None
        return True
    return False


def _write(measured: ShortForm, options: Options) -> list[Path]:
    from fastfnn.atomic import write_atomically
    from fastfnn.benchmarks.figure import short_form_figure
    from fastfnn.report.style import render

    image = render(short_form_figure(measured), options.plot.suffix.removeprefix("."))
    write_atomically(options.plot, image)
    if options.output is None:
        return [options.plot]
    from fastfnn.benchmarks.pyperf_files import suite_text

    write_atomically(options.output, suite_text(measured.to_pyperf()))
    return [options.plot, options.output]


def _print(measured: ShortForm, written: list[Path]) -> None:
    from fastfnn.benchmarks.epochs import network_text
    from fastfnn.benchmarks.rounds import minimum_and_median
    from fastfnn.report.formatting import count, percent, seconds

    print_table(
        ("batch size", "fastfnn", "NumPy reference", "ratio", "steps/s", "of sgemm rate"),
        [
            (
                str(row.batch_size),
                minimum_and_median(row.fast),
                minimum_and_median(row.reference),
                f"{row.ratio:.1f}",
                count(row.steps_per_second),
                percent(measured.fraction(row), 0),
            )
            for row in measured.rows
        ],
    )
    config = measured.config
    typer.echo()
    print_facts(
        {
            "times": f"ms an epoch, minimum (median) of {len(measured.sgemm_rates)} rounds; compiling is not in them",
            "epoch": f"{count(len(measured.data.train))} examples of {measured.data.name}, "
            f"{network_text(measured.data, config)}, {config.optimizer}, {config.dtype}",
            "sgemm": f"{measured.sgemm_rate:.0f} GFLOP/s on one thread: the dense products of an epoch would take "
            f"{seconds(measured.dense_seconds)}",
            "written": ", ".join(map(str, written)),
        }
    )
