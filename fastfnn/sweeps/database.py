"""Opening an SQLite file as a sweep's store: tables, transactions, and errors that say what to do."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastfnn.errors import StoreError
from fastfnn.sweeps.schema import APPLICATION_ID, SCHEMA_VERSION, TABLES

BUSY_SECONDS = 30.0
"""How long a write waits for another process's write to end."""


def connect(path: Path, *, create: bool = False) -> sqlite3.Connection:
    """A connection to the file, for reading only where it cannot be written; transactions are explicit."""
    with explained(path):
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?{_open_mode(path, create)}",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA foreign_keys = ON")
        return connection


def _open_mode(path: Path, create: bool) -> str:
    if create:
        return "mode=rwc"
    if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        return "mode=rw"
    # A write-ahead log needs a shared-memory file beside the database. Where none can be made, and no log is left
    # to be read, nobody can write either, and SQLite may take the file as it is.
    log = path.with_name(path.name + "-wal")
    return "mode=ro" if log.exists() and log.stat().st_size else "mode=ro&immutable=1"


def make_tables(path: Path, connection: sqlite3.Connection) -> None:
    """Makes an empty file a store, once, also when several processes try at the same time.

    Raises:
        StoreError: when the file is another program's database.
    """
    _refuse_foreign(path, connection)
    _use_write_ahead_log(connection)
    with transaction(connection, "IMMEDIATE"):
        if _pragma(connection, "user_version") == 0:
            for statement in TABLES:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Readers do not block the writer; a file system without shared memory keeps SQLite's default journal."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
            connection.execute("PRAGMA synchronous = NORMAL")
            return
        except sqlite3.OperationalError as error:
            # SQLite does not wait by itself when two processes change the mode of a new file at once.
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def check_schema(path: Path, connection: sqlite3.Connection) -> None:
    """Makes sure that the file is an intact store of this version's schema.

    Raises:
        StoreError: saying what the file is instead.
    """
    _refuse_foreign(path, connection)
    version = _pragma(connection, "user_version")
    if version == 0:
        raise StoreError(f"{path}: expected the store of a sweep, found an empty file; run `fastfnn sweep` first")
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"{path}: expected schema version {SCHEMA_VERSION}, found {version}, of a newer fastfnn; "
            "update fastfnn, or give another path for a new store"
        )
    problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise StoreError(_damaged(path, problem))


def _refuse_foreign(path: Path, connection: sqlite3.Connection) -> None:
    has_tables = connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None
    application = _pragma(connection, "application_id")
    if has_tables and application != APPLICATION_ID:
        raise StoreError(
            f"{path}: expected the store of a sweep, found an SQLite database of another program "
            f"(application id {application}); give another path"
        )


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


@contextmanager
def transaction(connection: sqlite3.Connection, kind: str) -> Iterator[None]:
    """All statements of the block or none; `kind` is "IMMEDIATE" for writing, "DEFERRED" for reading."""
    if connection.in_transaction:  # left by an interrupt between two lines of this function
        connection.execute("ROLLBACK")
    try:
        connection.execute(f"BEGIN {kind}")
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into a `StoreError` that names the file, what was found and what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(_explain(path, str(error))) from error


def _explain(path: Path, message: str) -> str:
    if "not a database" in message:
        return f"{path}: expected the store of a sweep (SQLite), found a file of another kind; give another path"
    if "malformed" in message:
        return _damaged(path, message)
    if "locked" in message:
        return (
            f"{path}: expected to write within {BUSY_SECONDS:.0f} s, found it locked by another process; "
            "end that process or try again"
        )
    if "unable to open" in message or "readonly" in message:
        return f"{path}: expected a file in a folder that can be written, found: {message}; choose another folder"
    if "full" in message:
        return f"{path}: expected room on the disk, found: {message}; make room and run the sweep again"
    return f"{path}: expected a readable store, found an SQLite error: {message}; restore a copy or give another path"


def _damaged(path: Path, message: str) -> str:
    return (
        f"{path}: expected an intact store, found a damaged one ({' '.join(message.split())}); "
        "restore a copy, or move it away and run the sweep again"
    )
