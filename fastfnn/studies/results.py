"""The runs of a study, found by row."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastfnn.data import Dataset
from fastfnn.network import Network
from fastfnn.studies.networks import Networks, dead_units, look_at
from fastfnn.studies.outcomes import Outcome
from fastfnn.studies.study import Row, Study
from fastfnn.studies.textbook_runs import TextbookRun, TextbookRuns
from fastfnn.sweeps.records import RunRecord, SweepResults
from fastfnn.sweeps.store import Store


@dataclass(frozen=True)
class Folder:
    """Where a study keeps its runs."""

    path: Path

    def store(self, sweep: str) -> Path:
        """The store of one of its sweeps."""
        return self.path / f"{sweep}.sqlite"

    @property
    def networks(self) -> Networks:
        """The networks of its sweeps' runs."""
        return Networks(self.path / "networks")

    def textbook(self, data: Dataset) -> TextbookRuns:
        """Its runs under the study's conventions."""
        return TextbookRuns(self.path / "textbook", data.fingerprint)


@dataclass(frozen=True)
class StudyResults:
    """A study with what its runs came to, as far as they have been done.

    Attributes:
        sweeps: results of its sweeps by name.
        seeds: of every row.
    """

    study: Study
    data: Dataset
    folder: Folder
    sweeps: Mapping[str, SweepResults]
    seeds: tuple[int, ...]
    _found: dict[Any, list[Outcome]] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def load(cls, study: Study, data: Dataset, folder: Folder, seeds: tuple[int, ...]) -> StudyResults:
        """Reads the stores of every sweep."""
        sweeps = {}
        for name in study.sweeps:
            with Store.open(folder.store(name)) as store:
                sweeps[name] = store.load()
        return cls(study, data, folder, sweeps, seeds)

    def proper(self, row: Row) -> list[Outcome]:
        """The runs of its proper counterpart, by seed."""
        return self._once(("proper", id(row)), lambda: [self._outcome(row, run) for run in self.records(row)])

    def textbook(self, row: Row) -> list[Outcome]:
        """The runs under the study's conventions, by seed."""
        runs = self.folder.textbook(self.data)
        planned = [TextbookRun(row, self.study.conventions, seed) for seed in self.seeds if row.done_as_published]
        return self._once(("textbook", id(row)), lambda: [o for run in planned if (o := runs.outcome(run))])

    def records(self, row: Row) -> list[RunRecord]:
        """The stored runs of the proper counterpart, by seed."""
        return self.sweeps[row.sweep].runs_at(row.point)

    def network(self, run: RunRecord) -> Network:
        """The network of a proper run."""
        return self.folder.networks.of(run.run_id, self.data, run.config)

    @property
    def environments(self) -> list[dict[str, Any]]:
        """Where the sweeps ran."""
        return [results.environment for results in self.sweeps.values()]

    def _once(self, key: Any, make: Any) -> list[Outcome]:
        if key not in self._found:
            self._found[key] = make()
        return self._found[key]

    @functools.cached_property
    def _inputs(self) -> Any:
        return look_at(self.data)

    def _outcome(self, row: Row, run: RunRecord) -> Outcome:
        dead = dead_units(self.network(run), self._inputs) if run.measured else ()
        return Outcome(
            seed=run.seed,
            status=run.status,
            steps=run.steps,
            epochs=run.epochs,
            train=run.train,
            validation=run.validation,
            test=run.test,
            train_seconds=run.train_seconds,
            evaluation_seconds=run.evaluation_seconds,
            dead_units=dead,
            curves=self.sweeps[row.sweep].history(run.run_id),
        )


def planned_textbook_runs(study: Study, seeds: Sequence[int]) -> list[TextbookRun]:
    """All settings of the first seed, then all of the next."""
    return [TextbookRun(row, study.conventions, seed) for seed in seeds for row in study.rows if row.done_as_published]
