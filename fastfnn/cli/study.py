"""`fastfnn study`: the published studies, each row under its conventions and done properly."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from fastfnn.cli.findings import print_list, print_written
from fastfnn.cli.options import EXECUTION, OUTPUT, DataOptions, JsonOption, QuietOption, setting_option
from fastfnn.cli.output import FAILED, INTERRUPTED, note, print_facts, print_json

if TYPE_CHECKING:
    from fastfnn.config import SweepConfig
    from fastfnn.data import Dataset
    from fastfnn.studies.outcomes import Outcome
    from fastfnn.studies.textbook_runs import TextbookRun
    from fastfnn.sweeps.events import Observer
    from fastfnn.sweeps.records import SweepResults

EXAMPLES = """
fastfnn study                         # all of them, about an hour
fastfnn study study-c study-e --quick
fastfnn study fast-98 --data digits   # the fastest way to 98 %, or as far as these data allow
"""

FOLDER = Path("fastfnn-studies")

QuickOption = Annotated[bool, typer.Option("--quick", help="One seed.", rich_help_panel=EXECUTION)]


@dataclass(frozen=True)
class StudyOptions:
    """How studies are run and where they are written."""

    seeds: Annotated[str | None, setting_option("How many, or which: 0,3,7.", "5", EXECUTION, "N|LIST")] = None
    quick: QuickOption = False
    jobs: Annotated[
        int, typer.Option(min=1, help="Runs at a time; more make all times longer.", rich_help_panel=EXECUTION)
    ] = 1
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.", rich_help_panel=EXECUTION)] = (
        False
    )
    out: Annotated[
        Path,
        typer.Option(
            help="Folder of the results; runs that it has are not done again.", metavar="DIR", rich_help_panel=OUTPUT
        ),
    ] = FOLDER
    json: JsonOption = False
    quiet: QuietOption = False

    @property
    def chosen_seeds(self) -> tuple[int, ...] | None:
        """The seeds that were asked for, None for those of the preset."""
        from fastfnn.cli.grid import parse_seeds
        from fastfnn.config import SweepConfig

        text = seeds_text(self.seeds, quick=self.quick)
        return None if text is None else SweepConfig(seeds=parse_seeds(text)).seeds


def seeds_text(seeds: str | None, *, quick: bool) -> str | None:
    """What `--seeds` and `--quick` say together."""
    if quick and seeds is not None:
        raise typer.BadParameter("--quick and --seeds both say which seeds; give one of them")
    return "1" if quick else seeds


def is_study(preset: str) -> bool:
    """Whether a preset is a whole study."""
    from fastfnn.studies import STUDIES

    return preset in STUDIES


def study(
    data: DataOptions,
    options: StudyOptions,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", show_default=False, help="study-a to study-e, fast-98.")
    ] = None,
) -> None:
    """Run published studies: every row under its conventions, and done properly.

    Writes a page for each, with figures, tables and every run, and an index. An interrupted study goes on where it was
    when the command is given again.
    """
    run_studies(names or None, data, options)


def run_studies(names: list[str] | None, data: DataOptions, options: StudyOptions) -> None:
    """Runs these studies, or all, one after the other, and writes each when it is done."""
    chosen = _checked(names)
    seeds = options.chosen_seeds
    dataset = data.load()
    if options.dry_run:
        _show_plan(chosen, seeds, dataset, options)
        return
    documents = [_run_and_write(name, seeds, dataset, options) for name in chosen]
    if options.json:
        print_json({"studies": documents})
    if failed := sum(document["failed"] for document in documents):
        sys.stdout.flush()
        note(f"{failed} runs failed; give the command again to repeat them")
        raise typer.Exit(FAILED)


def _failed(*sweeps: SweepResults) -> int:
    return sum(run.status == "failed" for results in sweeps for run in results.runs)


def _checked(names: list[str] | None) -> list[str]:
    from fastfnn.errors import ConfigError, suggestion
    from fastfnn.studies import STUDIES
    from fastfnn.studies.fastest import PRESET

    known = [*STUDIES, PRESET]
    for name in names or ():
        if name not in known:
            raise ConfigError(f"study: expected one of {', '.join(known)}, found {name!r}{suggestion(name, known)}")
    return names or known


def _run_and_write(name: str, seeds: tuple[int, ...] | None, data: Dataset, options: StudyOptions) -> dict[str, Any]:
    """Does what is missing, writes the page, and says what came out."""
    from fastfnn.studies import STUDIES
    from fastfnn.studies.study import RUNS

    folder = options.out / name / RUNS
    run = _run_study if name in STUDIES else _run_fastest
    try:
        document = run(name, seeds, data, options, folder)
    except KeyboardInterrupt:
        note(f"interrupted: finished runs are kept in {folder}; give the command again to go on")
        raise typer.Exit(INTERRUPTED) from None
    if not options.json:
        typer.echo(f"\n{document['title']}")
        print_list(document["findings"])
        print_written(options.out, document["written"])
    return document


def _run_study(
    name: str, seeds: tuple[int, ...] | None, data: Dataset, options: StudyOptions, folder: Path
) -> dict[str, Any]:
    from fastfnn.studies import STUDIES
    from fastfnn.studies.findings import Tally, sentences
    from fastfnn.studies.runner import run_study
    from fastfnn.studies.write import write_study

    show = _Display(name, options)
    results = run_study(STUDIES[name], data, folder, seeds=seeds, jobs=options.jobs, view=show.view, tell=show.tell)
    return {
        "study": name,
        "title": results.study.title,
        "seeds": results.seeds,
        "failed": _failed(*results.sweeps.values()),
        "tally": asdict(Tally.of(results)),
        "findings": sentences(results),
        "written": write_study(results, options.out, _command(f"fastfnn sweep --preset {name}", options)),
    }


def _run_fastest(
    name: str, seeds: tuple[int, ...] | None, data: Dataset, options: StudyOptions, folder: Path
) -> dict[str, Any]:
    from fastfnn.studies.fastest import run_fastest
    from fastfnn.studies.fastest_page import TITLE, answer_text
    from fastfnn.studies.write import write_fastest

    answer = run_fastest(data, folder, seeds, options.jobs, _Display(name, options).view)
    return {
        "study": name,
        "title": TITLE,
        "seeds": answer.results.sweep.seeds,
        "failed": _failed(answer.results),
        "findings": [answer_text(answer)],
        "written": write_fastest(options.out, _command(f"fastfnn study {name}", options)),
    }


def _command(command: str, options: StudyOptions) -> str:
    """What makes the page again."""
    return command + (f" --seeds {options.seeds}" if options.seeds is not None else " --quick" * options.quick)


class _Display:
    """What a running study shows: its sweeps as any sweep, then a line for each run under its conventions."""

    def __init__(self, name: str, options: StudyOptions) -> None:
        self._name, self._quiet = name, options.quiet
        self._stream: TextIO = sys.stderr if options.json else sys.stdout

    @contextmanager
    def view(self, sweep_name: str, sweep: SweepConfig, store: Path) -> Iterator[Observer]:
        """Shows a sweep while it runs."""
        from fastfnn.cli.progress import SweepState, sweep_view

        self._say(f"{self._name}, {sweep_name}")
        with sweep_view(SweepState(sweep), store, self._stream, quiet=self._quiet) as observer:
            yield observer

    def tell(self, number: int, of: int, run: TextbookRun, outcome: Outcome) -> None:
        """Shows a run under the study's conventions."""
        from fastfnn.report.formatting import percent, seconds
        from fastfnn.studies.tables import full_label

        if number == 1:
            self._say(f"{self._name}, under its conventions")
        result = f"test {percent(outcome.test.accuracy)}, {seconds(outcome.seconds)}"
        where = f"{full_label(run.row)}, seed {run.seed}"
        self._say(f"[{number:{len(str(of))}d}/{of}] {where}: {outcome.status}, {result}")

    def _say(self, line: str) -> None:
        if not self._quiet:
            print(line, file=self._stream, flush=True)


def _show_plan(names: list[str], seeds: tuple[int, ...] | None, data: Dataset, options: StudyOptions) -> None:
    from fastfnn.studies.plan import missing_runs
    from fastfnn.studies.study import RUNS

    plans = {name: missing_runs(name, data, options.out / name / RUNS, seeds) for name in names}
    if options.json:
        print_json({"studies": {name: {"runs": total, "to_do": to_do} for name, (total, to_do) in plans.items()}})
        return
    print_facts({name: f"{total} runs, of which {to_do} to do" for name, (total, to_do) in plans.items()})
