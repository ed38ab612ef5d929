"""Does the runs of a study that are missing: its sweeps first, then its rows under their own conventions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from fastfnn.config import SweepConfig
from fastfnn.data import Dataset
from fastfnn.studies.networks import Networks
from fastfnn.studies.outcomes import Outcome
from fastfnn.studies.plan import seeds_of
from fastfnn.studies.results import Folder, StudyResults, planned_textbook_runs
from fastfnn.studies.study import Study
from fastfnn.studies.textbook_runs import TextbookRun, Train
from fastfnn.sweeps.events import Event, Observer
from fastfnn.sweeps.records import SweepResults
from fastfnn.sweeps.runner import run_sweep

View = Callable[[str, SweepConfig, Path], AbstractContextManager[Observer]]
"""Shows a sweep by its name, grid and store, while it runs."""
Tell = Callable[[int, int, TextbookRun, Outcome], object]
"""Told each run under the study's conventions when it has ended: how many of how many, which, and what it came to."""

ONE_AT_A_TIME = 1
"""Times are those of a run that has the machine to itself."""


def run_study(
    study: Study,
    data: Dataset,
    folder: str | Path,
    *,
    seeds: Sequence[int] | None = None,
    jobs: int = ONE_AT_A_TIME,
    view: View | None = None,
    tell: Tell | None = None,
    train: Train | None = None,
) -> StudyResults:
    """Does every run that the folder does not have, and returns the results of all.

    Ctrl-C keeps what is finished, and raises; the next call goes on from there.

    Args:
        study: one of `fastfnn.studies.STUDIES`.
        data: the data set of every run.
        folder: receives a store for each sweep, the networks, and a file for each run under the study's conventions.
        seeds: of every row; by default those of the preset.
        jobs: runs of a sweep at a time; more than one make all times longer.
        view, tell: show what is going on.
        train: does a run under the study's conventions; by default `fastfnn.studies.course.train`.

    Raises:
        StoreError: when a store cannot be used, or belongs to another data set.
    """
    place = Folder(Path(folder))
    chosen = seeds_of(study, seeds)
    for name, sweep in study.sweeps.items():
        sweep_keeping(data, sweep.replace(seeds=chosen), place.store(name), jobs, view, place.networks)
    _textbook(study, place, data, chosen, tell, train)
    return StudyResults.load(study, data, place, chosen)


def sweep_keeping(
    data: Dataset,
    sweep: SweepConfig,
    store: Path,
    jobs: int = ONE_AT_A_TIME,
    view: View | None = None,
    networks: Networks | None = None,
) -> SweepResults:
    """Does what is missing of a sweep, shows it, and keeps the networks where a folder is given."""
    with view(store.stem, sweep, store) if view else nullcontext(_ignore) as show:

        def observe(event: Event) -> None:
            if networks:
                networks.observe(event)
            show(event)

        return run_sweep(data, sweep, store=store, jobs=jobs, observer=observe)


def _ignore(event: Event) -> None:
    """The view of those who want none."""


def _textbook(
    study: Study, place: Folder, data: Dataset, seeds: Sequence[int], tell: Tell | None, train: Train | None
) -> None:
    runs = place.textbook(data)
    missing = runs.missing(planned_textbook_runs(study, seeds))
    if not missing:
        return
    do = train or _course()
    for number, run in enumerate(missing, start=1):
        outcome = runs.do(run, data, do)
        if tell:
            tell(number, len(missing), run, outcome)


def _course() -> Train:
    """Imported where it is needed, since it needs the compiled kernels of the textbook."""
    from fastfnn.studies.course import train

    return train
