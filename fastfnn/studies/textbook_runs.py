"""The rows of a study under its own conventions, by `fastfnn.textbook`; each run is kept as a JSON file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fastfnn._version import __version__
from fastfnn.atomic import write_atomically
from fastfnn.data import Dataset
from fastfnn.studies.outcomes import Outcome
from fastfnn.studies.study import Conventions, Row
from fastfnn.sweeps.environment import describe_environment

Train = Callable[[Dataset, "TextbookRun"], Outcome]

SETTINGS = ("batch_size", "batchnorm", "l2", "dropout")


@dataclass(frozen=True)
class TextbookRun:
    """A row, the conventions of its study, a seed."""

    row: Row
    conventions: Conventions
    seed: int

    @property
    def settings(self) -> dict[str, Any]:
        """What the row sets."""
        return {name: getattr(self.row, name) for name in SETTINGS}

    def run_id(self, fingerprint: str) -> str:
        """16 hex digits, equal for equal settings, conventions, seed, data and version."""
        identity = [self.settings, asdict(self.conventions), self.seed, fingerprint, __version__]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class TextbookRuns:
    """A folder of finished runs."""

    folder: Path
    fingerprint: str

    def path(self, run: TextbookRun) -> Path:
        """The file of a run."""
        return self.folder / f"{run.run_id(self.fingerprint)}.json"

    def missing(self, runs: Sequence[TextbookRun]) -> list[TextbookRun]:
        """Those that have not been done, one of each kind: rows of several experiments may be the same."""
        distinct = {self.path(run): run for run in runs}
        return [run for path, run in distinct.items() if not path.exists()]

    def do(self, run: TextbookRun, data: Dataset, train: Train) -> Outcome:
        """Does a run and keeps it, whole or not at all."""
        outcome = train(data, run)
        self.folder.mkdir(parents=True, exist_ok=True)
        document = {
            "settings": run.settings,
            "conventions": asdict(run.conventions),
            "environment": describe_environment(jobs=1),
            "outcome": _without_nan(outcome.to_dict()),
        }
        write_atomically(self.path(run), json.dumps(document))
        return outcome

    def outcome(self, run: TextbookRun) -> Outcome | None:
        """A finished run, None for one that is missing."""
        path = self.path(run)
        return Outcome.from_dict(json.loads(path.read_text(encoding="utf-8"))["outcome"]) if path.exists() else None


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_nan(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not abs(value) < float("inf") else value
