"""CSV files with one label column, or none: a fast path for files of numbers, a strict one that names line and column.

Shapes: N examples, K features.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from fastfnn.data.opening import opened, unexpected
from fastfnn.errors import suggestion

LABEL_NAMES = ("label", "class", "target", "y")
BLOCK_LINES = 4096


@dataclass(frozen=True)
class _Layout:
    """What the first line tells: the columns' names (if it is a header), how many there are, which one is the label."""

    path: Path
    names: list[str] | None
    n_columns: int
    label: int | None

    def column(self, index: int) -> str:
        name = f" ({self.names[index]!r})" if self.names else ""
        return f"column {index + 1}{name}"

    def features(self) -> list[int]:
        return [index for index in range(self.n_columns) if index != self.label]


def read_csv(
    path: Path, *, label_column: str | int | None = None, header: bool | None = None
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Reads features (N, K) and labels (N,), gzip or plain.

    Args:
        path: comma-separated UTF-8; quoted cells are fine, blank lines are skipped.
        label_column: name, or index from 0 (negative from the end). None: the column named label, class, target or y
            (in any case), or else the last one.
        header: whether the first line is a header. None: it is when it names the label column, or when none of its
            cells is a number.

    Returns:
        float32 features; int64 labels when all of them are whole numbers, strings otherwise.

    Raises:
        DataError: naming file, line (from 1) and column (from 1), when a cell is not a finite number, a label is empty
            or a line has the wrong number of cells; when there is no such label column, or no row.
    """
    layout = _read_layout(path, label_column, header, labelled=True)
    features, labels = _read_table(layout)
    return features, _label_values(labels)


def read_csv_features(path: Path) -> NDArray[np.float32]:
    """Reads features (N, K) of a file without labels; a column that is named like a label column is left out.

    Raises:
        DataError: as `read_csv`.
    """
    return _read_table(_read_layout(path, None, None, labelled=False))[0]


@contextmanager
def _text(path: Path) -> Iterator[TextIO]:
    with opened(path) as stream:
        try:
            yield io.TextIOWrapper(stream, "utf-8-sig", newline="")
        except UnicodeDecodeError as error:
            raise unexpected(path, "UTF-8 text", f"byte 0x{error.object[error.start]:02x}") from None


def _read_layout(path: Path, label: str | int | None, header: bool | None, labelled: bool) -> _Layout:
    with _text(path) as stream:
        first = next((row for row in csv.reader(stream) if row), None)
    if first is None:
        raise unexpected(path, "at least one row", "an empty file")
    cells = [cell.strip() for cell in first]
    if header is None:
        header = _looks_like_header(cells, label)
    column = _label_index(path, cells if header else None, len(cells), label, labelled)
    layout = _Layout(path, cells if header else None, len(cells), column)
    if not layout.features():
        raise unexpected(path, "at least one column of features", f"{len(cells)} column")
    return layout


def _looks_like_header(cells: list[str], label: str | int | None) -> bool:
    if isinstance(label, str) or any(cell.lower() in LABEL_NAMES for cell in cells):
        return True
    return not any(_is_number(cell) for cell in cells)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_finite(cell: str) -> bool:
    with np.errstate(over="ignore"):
        return _is_number(cell) and bool(np.isfinite(np.float32(float(cell))))


def _label_index(
    path: Path, names: list[str] | None, n_columns: int, label: str | int | None, labelled: bool
) -> int | None:
    if isinstance(label, str):
        if names is None or label not in names:
            found = f"{names}{suggestion(label, names)}" if names else "no header"
            raise unexpected(path, f"a label column {label!r}", found)
        return names.index(label)
    if label is not None:
        if not -n_columns <= label < n_columns:
            raise unexpected(path, f"a label column {label}", f"{n_columns} columns")
        return label % n_columns
    lowered = [name.lower() for name in names or []]
    named = next((lowered.index(name) for name in LABEL_NAMES if name in lowered), None)
    return n_columns - 1 if labelled and named is None else named


def _read_table(layout: _Layout) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Features, and labels as numbers or strings (empty without a label column)."""
    try:
        return _read_numbers(layout)
    except ValueError:
        return _read_strictly(layout)


def _read_numbers(layout: _Layout) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The fast path. Raises ValueError for anything but a table of finite numbers with exact labels."""
    features, labels = [], []
    with _text(layout.path) as stream:
        lines = (line for line in stream if line.strip())
        if layout.names:
            next(lines)
        while block := list(itertools.islice(lines, BLOCK_LINES)):
            table = np.loadtxt(block, np.float64, comments=None, delimiter=",", ndmin=2)
            if table.shape[1] != layout.n_columns or not (np.abs(table) < 2**53).all():
                raise ValueError
            features.append(table[:, layout.features()].astype(np.float32))
            labels.append(table[:, layout.label] if layout.label is not None else np.empty(0))
    return np.concatenate(features), np.concatenate(labels)


def _read_strictly(layout: _Layout) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    """The slow path: strings as labels, and errors that name the place."""
    features, labels = [], []
    with _text(layout.path) as stream:
        reader = csv.reader(stream)
        rows = (row for row in reader if row)
        if layout.names:
            next(rows)
        for row in rows:
            _check_cells(layout, row, reader.line_num)
            if layout.label is not None:
                labels.append(_pop_label(layout, row, reader.line_num))
            features.append(_numbers(layout, row, reader.line_num))
    if not features:
        raise unexpected(layout.path, "at least one row", "a header only")
    return np.stack(features), np.array(labels, dtype=np.str_)


def _check_cells(layout: _Layout, row: list[str], line: int) -> None:
    if len(row) != layout.n_columns:
        raise unexpected(f"{layout.path}: line {line}", f"{layout.n_columns} cells, as in the first line", len(row))


def _pop_label(layout: _Layout, row: list[str], line: int) -> str:
    assert layout.label is not None
    label = row.pop(layout.label).strip()
    if not label:
        raise unexpected(f"{layout.path}: line {line}, {layout.column(layout.label)}", "a label", "an empty cell")
    return label


def _numbers(layout: _Layout, cells: list[str], line: int) -> NDArray[np.float32]:
    with np.errstate(over="ignore"), suppress(ValueError):
        values = np.array(cells, dtype=np.float64).astype(np.float32)
        if np.isfinite(values).all():
            return values
    bad = next(index for index, cell in enumerate(cells) if not _is_finite(cell))
    where = f"{layout.path}: line {line}, {layout.column(layout.features()[bad])}"
    raise unexpected(where, "a finite number", repr(cells[bad]))


def _label_values(labels: NDArray[Any]) -> NDArray[Any]:
    """Numbers when every label is one (which `as_labels` then wants whole), strings otherwise."""
    for dtype in (np.int64, np.float64):
        try:
            return labels.astype(dtype) if labels.dtype.kind == "U" else labels
        except (ValueError, OverflowError):
            continue
    return labels
