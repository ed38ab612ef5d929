"""SVMlight files, the text format of sparse data, read by scikit-learn into CSR.

Shapes: N examples, K features.
"""

from __future__ import annotations

import bz2
import gzip
import re
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from fastfnn.data.arrays import Features
from fastfnn.data.opening import unexpected, unreadable

NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
LINE = re.compile(rf"\s*({NUMBER}(\s+qid:\d+)?(\s+\d+:{NUMBER})*\s*)?(#.*)?")


def read_svmlight(
    paths: list[Path], *, zero_based: bool | str = "auto", n_features: int | None = None
) -> list[tuple[Features, NDArray[np.float64]]]:
    """Reads files that share their columns: for each, CSR features (N, K) in float32 and labels (N,).

    Args:
        paths: plain, or `.gz` or `.bz2`.
        zero_based: whether columns count from 0; "auto": they do if a 0 occurs.
        n_features: K; None: as many as occur.

    Raises:
        DataError: naming the file and the first line that is not SVMlight.
    """
    from sklearn import datasets

    for path in paths:
        _check_readable(path)
    try:
        flat = datasets.load_svmlight_files(
            [str(path) for path in paths], n_features=n_features, dtype=np.float32, zero_based=zero_based
        )
    except (ValueError, OverflowError) as error:
        raise _diagnosis(paths, error) from None
    return list(zip(flat[::2], flat[1::2], strict=True))


def _open(path: Path) -> gzip.GzipFile | bz2.BZ2File | BinaryIO:
    suffix = path.suffix.lower()
    if suffix == ".bz2":
        return bz2.open(path, "rb")
    return gzip.open(path, "rb") if suffix == ".gz" else path.open("rb")


def _check_readable(path: Path) -> None:
    """Reads the file once, so that whatever is wrong with it as a file is said here."""
    try:
        with _open(path) as stream:
            rows = sum(1 for line in stream if line.split(b"#")[0].strip())
    except EOFError as error:
        raise unexpected(path, "intact compressed data", error) from None
    except OSError as error:
        raise unreadable(path, error) from None
    if rows == 0:
        raise unexpected(path, "at least one row", "none")


def _diagnosis(paths: list[Path], error: Exception) -> Exception:
    for path in paths:
        with _open(path) as stream:
            for number, line in enumerate(stream, 1):
                text = line.decode("utf-8", "replace").strip()
                if not LINE.fullmatch(text):
                    return unexpected(f"{path}: line {number}", "a label and column:value pairs", repr(text[:60]))
    return unexpected(", ".join(map(str, paths)), "SVMlight data", f"an error of its reader ({error})")
