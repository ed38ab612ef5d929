"""`fastfnn sweep`: which batch size? The main job."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastfnn.cli.findings import print_findings, print_written
from fastfnn.cli.grid import GridOptions, sweep_config
from fastfnn.cli.options import EXECUTION, OUTPUT, DataOptions, JsonOption, QuietOption, setting_option
from fastfnn.cli.output import FAILED, INTERRUPTED, note, print_facts, print_json
from fastfnn.cli.report import STORE_NAME
from fastfnn.cli.study import FOLDER as STUDIES_FOLDER
from fastfnn.cli.study import QuickOption, StudyOptions, is_study, run_studies, seeds_text

if TYPE_CHECKING:
    from fastfnn.config import SweepConfig
    from fastfnn.data import Dataset
    from fastfnn.report import Findings
    from fastfnn.sweeps import SweepResults

SWEEP = "Sweep"

EXAMPLES = """
fastfnn sweep                # batch sizes 16 to 2048 on MNIST, three seeds, all cores
fastfnn sweep --batch-size 16..256:x2 --epochs 30 --seeds 6 --out quick
fastfnn sweep --batch-size 32,128 --l2 0,1e-4 --batchnorm off,after --batchnorm-group 32
fastfnn sweep --hidden "20,7,5;64;64,32" --batch-size 128
fastfnn sweep --config sweep.toml --dry-run
fastfnn sweep --preset study-d --quick    # a published study, with one seed instead of five
"""

FOLDER = Path("fastfnn-sweep")


@dataclass(frozen=True)
class Options:
    """What only `sweep` has."""

    seeds: Annotated[
        str | None,
        setting_option("How many, or which: 0,3,7.", "3", SWEEP, "N|LIST"),
    ] = None
    preset: Annotated[
        str | None,
        typer.Option(help="A sweep that comes with fastfnn; options change it.", metavar="NAME", rich_help_panel=SWEEP),
    ] = None
    config: Annotated[
        Path | None,
        typer.Option(help="TOML or JSON file of a sweep; options change it.", metavar="FILE", rich_help_panel=SWEEP),
    ] = None
    quick: QuickOption = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.", rich_help_panel=EXECUTION)] = (
        False
    )
    jobs: Annotated[int | None, setting_option("Runs at a time.", "all cores", EXECUTION, "N")] = None
    out: Annotated[
        Path | None,
        setting_option("Folder of the results; runs that it has are not done again.", f"{FOLDER}", OUTPUT, "DIR"),
    ] = None
    json: JsonOption = False
    quiet: QuietOption = False

    @property
    def chosen_seeds(self) -> str | None:
        """The text of `--seeds`, for which `--quick` is short."""
        return seeds_text(self.seeds, quick=self.quick)


def sweep(data: DataOptions, training: GridOptions, options: Options) -> None:
    """Compare batch sizes or other settings, and recommend one.

    Every option of training takes a list (32,64,128) or a range (16..2048:x2 multiplies, 1..9:+2 adds); networks are
    separated by semicolons. A sweep that was interrupted goes on where it was when the command is given again.
    """
    if options.preset and is_study(options.preset):
        _run_study(options.preset, data, training, options)
        return
    config = sweep_config(training, options.chosen_seeds, options.preset, options.config)
    dataset = data.load()
    folder = options.out or FOLDER
    store = folder / STORE_NAME
    if options.dry_run:
        _show_plan(dataset, config, store, options.json)
        return
    findings = _findings(_run(dataset, config, store, options))
    written = [store, *_write(findings, folder)]
    if options.json:
        print_json(findings.to_dict() | {"written": [str(path) for path in written]})
    else:
        typer.echo()
        print_findings(findings)
        print_written(folder, written)
    _exit(findings)


def _run_study(name: str, data: DataOptions, training: GridOptions, options: Options) -> None:
    """A preset that is a whole study: its settings are the published ones."""
    given = [field.name for field in fields(training) if getattr(training, field.name) is not None]
    if given or options.config:
        names = ", ".join(f"--{field.replace('_', '-')}" for field in given or ["config"])
        raise typer.BadParameter(f"--preset {name}: its settings are those of the study; found {names} as well")
    shared = {field: getattr(options, field) for field in ("seeds", "quick", "dry_run", "json", "quiet")}
    run_studies([name], data, StudyOptions(**shared, jobs=options.jobs or 1, out=options.out or STUDIES_FOLDER))


def _run(dataset: Dataset, config: SweepConfig, store: Path, options: Options) -> SweepResults:
    from fastfnn.cli.progress import SweepState, sweep_view
    from fastfnn.sweeps import run_sweep

    state = SweepState(config)
    stream = sys.stderr if options.json else sys.stdout
    try:
        with sweep_view(state, store, stream, quiet=options.quiet) as observer:
            return run_sweep(dataset, config, store=store, jobs=options.jobs, observer=observer)
    except KeyboardInterrupt:
        note(f"interrupted: {state.done} of {state.total} runs are kept in {store}; give the command again to go on")
        raise typer.Exit(INTERRUPTED) from None


def _findings(results: SweepResults) -> Findings:
    from fastfnn.report import Findings

    return Findings.of(results)


def _write(findings: Findings, folder: Path) -> list[Path]:
    from fastfnn.report import write_report

    return write_report(findings, folder)


def _exit(findings: Findings) -> None:
    failed = [run for run in findings.results.runs if run.status == "failed"]
    if failed:
        sys.stdout.flush()
        note(f"{len(failed)} of {len(findings.results.runs)} runs failed, the first with {failed[0].error}")
        raise typer.Exit(FAILED)


def _show_plan(dataset: Dataset, config: SweepConfig, store: Path, as_json: bool) -> None:
    from fastfnn.sweeps import plan_runs, warnings

    runs = plan_runs(config, dataset.fingerprint)
    found = _finished(store)
    to_do = [run for run in runs if run.run_id not in found]
    if as_json:
        plan = [{"run_id": r.run_id, **r.settings, "seed": r.config.seed, "found": r.run_id in found} for r in runs]
        print_json({"runs": plan, "to_do": len(to_do), "sweep": config.model_dump(mode="json")})
        return
    print_facts(
        _plan_facts(dataset, config) | {"runs": f"{len(runs)}, of which {len(to_do)} to do", "store": str(store)}
    )
    for warning in warnings(config):
        note(f"warning: {warning}")


def _finished(store: Path) -> set[str]:
    from fastfnn.sweeps import Store

    if not store.exists():
        return set()
    with Store.open(store) as opened:
        return opened.finished_ids()


def _plan_facts(dataset: Dataset, config: SweepConfig) -> dict[str, Any]:
    """The data, the axes, the seeds, and the settings that differ from the defaults."""
    from fastfnn.config import TrainingConfig
    from fastfnn.report.formatting import setting

    changed = {name: value for name, value in config.training if value != getattr(TrainingConfig(), name)}
    return {
        "data": repr(dataset),
        **{name: "  ".join(map(setting, values)) for name, values in config.grid.items()},
        "seeds": setting(config.seeds),
        **{name: setting(value) for name, value in changed.items() if name not in config.grid},
        "epochs": str(config.training.epochs),
    }
