"""The tables of a sweep's store, and how a file is recognised as one."""

from __future__ import annotations

import sqlite3

from fastfnn.results import History

SCHEMA_VERSION = 1
"""Kept in `PRAGMA user_version`; 0 is a database without tables."""

APPLICATION_ID = 0x46464E4E
"""Kept in `PRAGMA application_id` ("FFNN"): tells a sweep's store from another program's database."""

HISTORY_COLUMNS = tuple(History.columns())

RUN_COLUMNS = (
    "run_id",
    "seed",
    "config",
    "status",
    "error",
    "steps",
    "epochs",
    "best_step",
    *(f"{split}_{measure}" for split in ("train", "validation", "test") for measure in ("cost", "loss", "accuracy")),
    "train_seconds",
    "evaluation_seconds",
    "compile_seconds",
    "load_seconds",
    "shared_machine",
    "started_at",
    "finished_at",
)

# Types are checked by SQLite itself where it can (since 3.37).
_STRICT = "STRICT" if sqlite3.sqlite_version_info >= (3, 37, 0) else ""
_STRICT_WITHOUT_ROWID = "STRICT, WITHOUT ROWID" if _STRICT else "WITHOUT ROWID"

_INTEGERS = {"seed", "steps", "best_step", "shared_machine", "step"}
_TEXTS = {"run_id", "config", "status", "error", "started_at", "finished_at"}
_REQUIRED = {"seed", "config", "status", "steps", "shared_machine", "started_at", "finished_at"}


def _declaration(column: str) -> str:
    kind = "INTEGER" if column in _INTEGERS else "TEXT" if column in _TEXTS else "REAL"
    return f"{column} {kind}" + (" NOT NULL" if column in _REQUIRED else "")


TABLES = (
    f"""CREATE TABLE manifest (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        sweep TEXT NOT NULL,
        data TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        version TEXT NOT NULL,
        created_at TEXT NOT NULL
    ) {_STRICT}""",
    f"""CREATE TABLE environment (
        id INTEGER PRIMARY KEY,
        description TEXT NOT NULL
    ) {_STRICT}""",
    f"""CREATE TABLE runs (
        {", ".join(_declaration(column) for column in RUN_COLUMNS)},
        environment_id INTEGER REFERENCES environment (id),
        PRIMARY KEY (run_id)
    ) {_STRICT_WITHOUT_ROWID}""",
    f"""CREATE TABLE curves (
        run_id TEXT NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,
        record INTEGER NOT NULL,
        {", ".join(_declaration(column) for column in HISTORY_COLUMNS)},
        PRIMARY KEY (run_id, record)
    ) {_STRICT_WITHOUT_ROWID}""",
)
