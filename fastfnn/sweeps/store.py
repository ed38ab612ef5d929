"""What a sweep leaves behind: its runs in one SQLite file, and the results read back from it.

A run is in the store whole (its row, its history, its environment) or not at all, whatever happens to the process.
Several threads and processes may use one file at once, each through a `Store` of its own.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from fastfnn._version import __version__
from fastfnn.config import SweepConfig
from fastfnn.errors import ConfigError, StoreError
from fastfnn.results import NOT_EVALUATED, Evaluation
from fastfnn.sweeps.database import check_schema, connect, explained, make_tables, transaction
from fastfnn.sweeps.plan import PlannedRun, plan_runs
from fastfnn.sweeps.records import FINISHED, MEASURED, RunRecord, SweepResults
from fastfnn.sweeps.schema import HISTORY_COLUMNS, RUN_COLUMNS

if TYPE_CHECKING:
    from fastfnn.results import History, TrainingResult

__all__ = ["FINISHED", "MEASURED", "RunRecord", "Store", "StoredHistories", "SweepResults", "utc_now"]


_SECONDS = ("train_seconds", "evaluation_seconds", "compile_seconds", "load_seconds")
_FROM_RESULT = ("status", "steps", "epochs", "best_step", "train", "validation", "test", *_SECONDS)
_NOTHING: dict[str, Any] = {
    "status": "failed",
    "steps": 0,
    "epochs": 0.0,
    "best_step": None,
    **dict.fromkeys(("train", "validation", "test"), NOT_EVALUATED),
    **dict.fromkeys(_SECONDS, math.nan),
    "shared_machine": False,
}
"""What a failed run has."""


def utc_now() -> str:
    """The time as ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class StoredHistories:
    """Reads histories from the store at `path`, one at a time, so that a large sweep need not fit in memory."""

    path: Path

    def __call__(self, run_id: str) -> dict[str, NDArray[Any]]:
        """The columns of one run's history."""
        with Store(self.path, connect(self.path)) as store:
            return store.history(run_id)


class Store:
    """A sweep's SQLite file. Open it with `Store.open` or `Store.create`, and use it in a `with` statement.

    A `Store` belongs to the thread that opened it. Every method raises `StoreError` when the file cannot be read or
    written, naming it, what was expected, what was found and what to do.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._environment_id: int | None = None

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Opens an existing store, for reading only where the file or its folder cannot be written."""
        path = Path(path)
        if not path.exists():
            raise StoreError(f"{path}: expected the store of a sweep, found no such file; run `fastfnn sweep` first")
        return cls._checked(path, create=False)

    @classmethod
    def create(cls, path: str | Path) -> Self:
        """Opens the store at `path`, and makes it (and its folder) where there is none."""
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"{path}: expected a folder that can be written, found: {error.strerror}; choose another folder"
            ) from error
        return cls._checked(path, create=True)

    @classmethod
    def _checked(cls, path: Path, *, create: bool) -> Self:
        connection = connect(path, create=create)
        try:
            with explained(path):
                if create:
                    make_tables(path, connection)
                check_schema(path, connection)
        except BaseException:
            connection.close()
            raise
        return cls(path, connection)

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def set_manifest(self, sweep: SweepConfig, data: Mapping[str, Any], version: str = __version__) -> None:
        """Records what the store is for; an earlier sweep over the same data is replaced, and its runs are kept.

        `data` describes the data set and has at least its "fingerprint".

        Raises:
            StoreError: when the store holds runs of another data set.
        """
        fingerprint = str(data["fingerprint"])
        # Not SweepConfig.to_json, which sorts the keys: the order of the axes is part of the sweep.
        values = (sweep.model_dump_json(), _to_json(data), fingerprint, version, utc_now())
        with explained(self.path), self._transaction():
            found = self._one("SELECT fingerprint, data FROM manifest")
            if found and found["fingerprint"] != fingerprint:
                raise StoreError(_other_data(self.path, data, found))
            self._connection.execute(
                "INSERT INTO manifest VALUES (1, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
                " SET sweep = excluded.sweep, data = excluded.data, version = excluded.version",
                values,
            )

    def set_environment(self, environment: Mapping[str, Any]) -> None:
        """Records where the runs that this `Store` saves from now on are done."""
        with explained(self.path), self._transaction():
            cursor = self._connection.execute(
                "INSERT INTO environment (description) VALUES (?)", (_to_json(environment),)
            )
            self._environment_id = cursor.lastrowid

    def finished_ids(self) -> set[str]:
        """Ids of the runs that need not be done again."""
        with explained(self.path):
            rows = self._connection.execute("SELECT run_id FROM runs WHERE status IN (?, ?, ?)", FINISHED)
            return {row["run_id"] for row in rows}

    def save(
        self,
        run: PlannedRun,
        result: TrainingResult,
        *,
        started_at: str,
        finished_at: str,
        shared_machine: bool | None = None,
    ) -> RunRecord:
        """Writes a run and its history in one transaction.

        A finished run is never overwritten: when another process did the same run first, its times are kept.
        `shared_machine` overrides what the run itself could see.
        """
        measures = {name: getattr(result, name) for name in _FROM_RESULT}
        if shared_machine is None:
            shared_machine = result.shared_machine
        record = RunRecord(
            **_identity(run, started_at, finished_at), error=None, shared_machine=shared_machine, **measures
        )
        self._write(record, result.history)
        return record

    def save_failure(self, run: PlannedRun, error: str, *, started_at: str, finished_at: str) -> RunRecord:
        """Writes that a run ended with an error; the next sweep does it again."""
        record = RunRecord(**_identity(run, started_at, finished_at), **_NOTHING, error=error)
        self._write(record, None)
        return record

    def load(self) -> SweepResults:
        """The results of the sweep that the manifest names; runs of earlier, other grids are left out.

        Raises:
            StoreError: when the store has no sweep yet, or one that this version cannot read.
        """
        with explained(self.path), self._transaction("DEFERRED"):
            sweep, manifest = self._manifest()
            plan = plan_runs(sweep, manifest["fingerprint"], manifest["version"])
            rows = {row["run_id"]: row for row in self._connection.execute("SELECT * FROM runs")}
            found = [(run, rows[run.run_id]) for run in plan if run.run_id in rows]
            environments = self._environments({row["environment_id"] for _, row in found})
        return SweepResults(
            sweep=sweep,
            data=json.loads(manifest["data"]),
            environment=environments[0] if environments else {},
            runs=tuple(_record(run, row) for run, row in found),
            missing=len(plan) - len(found),
            other_environments=tuple(environments[1:]),
            read_history=StoredHistories(self.path),
        )

    def history(self, run_id: str) -> dict[str, NDArray[Any]]:
        """The history of one run: column name to array of shape (records,); empty for a failed run.

        Raises:
            StoreError: when the store has no such run.
        """
        with explained(self.path), self._transaction("DEFERRED"):
            if not self._one("SELECT 1 FROM runs WHERE run_id = ?", run_id):
                raise StoreError(f"{self.path}: expected run {run_id}, found no run of this id")
            query = f"SELECT {', '.join(HISTORY_COLUMNS)} FROM curves WHERE run_id = ? ORDER BY record"
            rows = [tuple(row) for row in self._connection.execute(query, (run_id,))]
        columns = zip(*rows, strict=True) if rows else [() for _ in HISTORY_COLUMNS]
        return {
            name: np.array(values, dtype=np.int64 if name == "step" else np.float64)  # None becomes NaN
            for name, values in zip(HISTORY_COLUMNS, columns, strict=True)
        }

    def _manifest(self) -> tuple[SweepConfig, sqlite3.Row]:
        manifest = self._one("SELECT * FROM manifest")
        if manifest is None:
            raise StoreError(f"{self.path}: expected a sweep, found a store without one; run `fastfnn sweep` first")
        try:
            return SweepConfig.from_json(manifest["sweep"]), manifest
        except ConfigError as error:
            raise StoreError(
                f"{self.path}: expected a sweep that fastfnn {__version__} can read, found one of version "
                f"{manifest['version']} ({error}); read it with that version, or start a new store"
            ) from error

    def _environments(self, ids: set[int | None]) -> list[dict[str, Any]]:
        """Descriptions of the environments of these ids, latest first."""
        rows = self._connection.execute("SELECT * FROM environment ORDER BY id DESC")
        return [json.loads(row["description"]) for row in rows if row["id"] in ids]

    def _write(self, record: RunRecord, history: History | None) -> None:
        with explained(self.path), self._transaction():
            self._connection.execute(
                "DELETE FROM runs WHERE run_id = ? AND status NOT IN (?, ?, ?)", (record.run_id, *FINISHED)
            )
            if self._one("SELECT 1 FROM runs WHERE run_id = ?", record.run_id):
                return
            row = (*_row(record), self._environment_id)
            self._connection.execute(f"INSERT INTO runs VALUES ({_places(row)})", row)
            if history is not None:
                self._write_history(record.run_id, history)

    def _write_history(self, run_id: str, history: History) -> None:
        columns = [history[name].tolist() for name in HISTORY_COLUMNS]
        rows = [(run_id, i, *map(_storable, values)) for i, values in enumerate(zip(*columns, strict=True))]
        if rows:
            self._connection.executemany(f"INSERT INTO curves VALUES ({_places(rows[0])})", rows)

    def _one(self, query: str, *values: Any) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._connection.execute(query, values).fetchone()
        return row

    @contextmanager
    def _transaction(self, kind: str = "IMMEDIATE") -> Iterator[None]:
        with transaction(self._connection, kind):
            yield


def _other_data(path: Path, data: Mapping[str, Any], found: sqlite3.Row) -> str:
    name = json.loads(found["data"]).get("name", "unnamed")
    return (
        f"{path}: expected runs on the data set {data.get('name', 'unnamed')!r} (fingerprint "
        f"{str(data['fingerprint'])[:12]}), found runs on {name!r} (fingerprint {found['fingerprint'][:12]}); "
        "give each data set, and each split of it, a store of its own"
    )


def _identity(run: PlannedRun, started_at: str, finished_at: str) -> dict[str, Any]:
    """The fields of a record that do not depend on how the run went."""
    return {
        "run_id": run.run_id,
        "settings": run.settings,
        "seed": run.config.seed,
        "config": run.config,
        "started_at": started_at,
        "finished_at": finished_at,
    }


def _row(record: RunRecord) -> tuple[Any, ...]:
    """Values in the order of RUN_COLUMNS."""
    evaluations = (*astuple(record.train), *astuple(record.validation), *astuple(record.test))
    names = [column for column in RUN_COLUMNS if column.endswith(("_cost", "_loss", "_accuracy"))]
    values: dict[str, Any] = dict(zip(names, evaluations, strict=True))
    values["config"] = record.config.to_json()
    values["shared_machine"] = int(record.shared_machine)
    return tuple(_storable(values[name] if name in values else getattr(record, name)) for name in RUN_COLUMNS)


def _record(run: PlannedRun, row: sqlite3.Row) -> RunRecord:
    """The inverse of `_row`; settings and configuration are the plan's, equal by the meaning of the id."""

    def number(column: str) -> float:
        return math.nan if row[column] is None else float(row[column])

    def evaluation(split: str) -> Evaluation:
        return Evaluation(number(f"{split}_cost"), number(f"{split}_loss"), number(f"{split}_accuracy"))

    values: dict[str, Any] = {name: row[name] for name in ("status", "error", "steps", "best_step")}
    values.update({split: evaluation(split) for split in ("train", "validation", "test")})
    values.update({name: number(name) for name in ("epochs", *_SECONDS)})
    times = row["started_at"], row["finished_at"]
    return RunRecord(**_identity(run, *times), **values, shared_machine=bool(row["shared_machine"]))


def _places(values: tuple[Any, ...]) -> str:
    return ", ".join("?" * len(values))


def _storable(value: Any) -> Any:
    """A NumPy scalar as Python's own, and NaN as NULL."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and math.isnan(value) else value


def _to_json(value: Mapping[str, Any]) -> str:
    return json.dumps(_plain(value), allow_nan=False)


def _plain(value: Any) -> Any:
    """The value as JSON can hold it: NaN and infinity become null, NumPy's scalars and arrays Python's own."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
