"""How many runs a study has, and how many of them are still to be done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fastfnn.config import SweepConfig
from fastfnn.data import Dataset
from fastfnn.studies.definitions import STUDIES
from fastfnn.studies.results import Folder, planned_textbook_runs
from fastfnn.studies.study import Study
from fastfnn.sweeps.plan import plan_runs
from fastfnn.sweeps.presets import load_preset
from fastfnn.sweeps.store import Store


def seeds_of(study: Study, seeds: Sequence[int] | None) -> tuple[int, ...]:
    """The seeds that were asked for, by default those of the preset."""
    return tuple(seeds) if seeds is not None else next(iter(study.sweeps.values())).seeds


def missing_runs(name: str, data: Dataset, folder: Path, seeds: Sequence[int] | None = None) -> tuple[int, int]:
    """The number of runs of a study or preset, and of those that its folder does not have."""
    study = STUDIES.get(name)
    if study is None:
        return _missing_of_sweep(load_preset(name), data, folder / f"{data.name}.sqlite", seeds)
    place = Folder(folder)
    of_sweeps = [_missing_of_sweep(sweep, data, place.store(name), seeds) for name, sweep in study.sweeps.items()]
    runs, planned = place.textbook(data), planned_textbook_runs(study, seeds_of(study, seeds))
    of_textbook = len({runs.path(run) for run in planned}), len(runs.missing(planned))
    totals, missing = zip(*of_sweeps, of_textbook, strict=True)
    return sum(totals), sum(missing)


def _missing_of_sweep(sweep: SweepConfig, data: Dataset, store: Path, seeds: Sequence[int] | None) -> tuple[int, int]:
    chosen = sweep if seeds is None else sweep.replace(seeds=tuple(seeds))
    planned = {run.run_id for run in plan_runs(chosen, data.fingerprint)}
    return len(planned), len(planned - _finished(store))


def _finished(store: Path) -> set[str]:
    if not store.exists():
        return set()
    with Store.open(store) as opened:
        return opened.finished_ids()
