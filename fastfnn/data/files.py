"""Datasets, and features to predict on, from files: IDX, NPZ, CSV and SVMlight.

Shapes: N examples, K features.
"""

from __future__ import annotations

import inspect
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from fastfnn.data.arrays import Contents, Features, Table, as_features, image_shape_of
from fastfnn.data.csv_files import read_csv, read_csv_features
from fastfnn.data.dataset import Dataset, SplitOptions, assemble
from fastfnn.data.idx import read_idx
from fastfnn.data.image_files import FILE_NAME, find_images, read_images
from fastfnn.data.opening import unexpected, unreadable
from fastfnn.data.svmlight import read_svmlight
from fastfnn.errors import suggestion

FORMATS = "a folder of IDX files (train-images..., train-labels..., t10k-...), .npz, .csv, .svm, .svmlight or .libsvm"
FEATURE_FORMATS = "IDX images, .npy, .npz, .csv, .svm, .svmlight or .libsvm"


def load_file(
    path: Path,
    *,
    scale: float | None = None,
    format_options: dict[str, Any] | None = None,
    **options: Unpack[SplitOptions],
) -> Dataset:
    """A dataset from a file or folder; it is called like the file.

    Args:
        path: a folder of IDX files or one of those files, or a file of one of the formats.
        scale: what stored features are multiplied by; None means 1/255 for uint8 and 1 for floats.
        format_options: CSV: `label_column`, `header`, `test` (path of a second file); SVMlight: `zero_based`, `test`.

    Raises:
        DataError: naming the file, the place in it, what was expected and what was found.
    """
    read = _reader(path)
    chosen = format_options or {}
    known = [name for name in inspect.signature(read).parameters if name != "path"]
    for option in chosen:
        if option not in known:
            found = f"{option!r}{suggestion(option, known)}"
            raise unexpected(path, f"options of its format ({', '.join(known) or 'none'})", found)
    return assemble(path.name, read(path, **chosen), scale=scale, **options)


def _reader(path: Path) -> Callable[..., Contents]:
    if path.is_dir() or FILE_NAME.fullmatch(path.name):
        return _read_idx_files
    kind = _kind(path)
    if kind not in READERS:
        raise unexpected(path, FORMATS, f"a file of type {kind!r}")
    return READERS[kind]


def _kind(path: Path) -> str:
    """The suffix that tells the format: that of `data.csv.gz` is `.csv`."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in (".gz", ".bz2") else suffix


def _read_idx_files(path: Path) -> Contents:
    return read_images(find_images(path if path.is_dir() else path.parent))


def _read_csv(
    path: Path, *, label_column: str | int | None = None, header: bool | None = None, test: str | Path | None = None
) -> Contents:
    paths = [path] if test is None else [path, Path(test)]
    return _contents(paths, [read_csv(p, label_column=label_column, header=header) for p in paths])


def _read_svmlight(path: Path, *, zero_based: bool | str = "auto", test: str | Path | None = None) -> Contents:
    paths = [path] if test is None else [path, Path(test)]
    return _contents(paths, read_svmlight(paths, zero_based=zero_based))


def _contents(paths: list[Path], pairs: Sequence[tuple[Features, NDArray[Any]]]) -> Contents:
    """One file for training and perhaps a second for test."""
    tables = [Table.of(*pair, str(path), f"{path}: labels") for path, pair in zip(paths, pairs, strict=True)]
    return Contents(tables[0], tables[1] if len(tables) > 1 else None)


def _read_npz(path: Path) -> Contents:
    """Keys x_train and y_train (or X and y) and, if there, x_test and y_test, in any case."""
    arrays = _load_npz(path)
    suffix = "_train" if "x_train" in arrays else ""
    train = _npz_table(path, arrays, suffix)
    if train is None:
        raise unexpected(path, "arrays x_train and y_train, or X and y", _names(arrays))
    return Contents(train, _npz_table(path, arrays, "_test"), image_shape_of(arrays["x" + suffix].shape))


def _npz_table(path: Path, arrays: dict[str, NDArray[Any]], suffix: str) -> Table | None:
    x_key, y_key = "x" + suffix, "y" + suffix
    if x_key not in arrays and y_key not in arrays:
        return None
    for key in (x_key, y_key):
        if key not in arrays:
            raise unexpected(path, f"an array {key}", _names(arrays))
    return Table.of(arrays[x_key], arrays[y_key], f"{path}: {x_key}", f"{path}: {y_key}")


def _names(arrays: dict[str, NDArray[Any]]) -> str:
    return ", ".join(sorted(arrays)) or "no array"


def _load_npz(path: Path) -> dict[str, NDArray[Any]]:
    loaded = _load_numpy(path)
    if not isinstance(loaded, dict):
        raise unexpected(path, "an NPZ archive", "a single array")
    return {name.lower(): array for name, array in loaded.items()}


def _load_numpy(path: Path) -> Any:
    """The array of an NPY file, or the dictionary of an NPZ file; never unpickles."""
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            return loaded if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except (ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise unexpected(path, "NumPy arrays without Python objects", error) from None
    except OSError as error:
        raise unreadable(path, error) from None


def read_features(path: str | Path, *, n_features: int | None = None) -> Features:
    """Reads rows to predict on, without labels.

    Args:
        path: IDX images (N, height, width) or rows (N, K), `.npy`, `.npz` with a key X, `.csv` (a column that is named
            like a label column is left out) or SVMlight (labels are ignored).
        n_features: K, which SVMlight files do not tell; checked for all formats when given.

    Returns:
        (N, K) features as in `fastfnn.data.arrays.as_features`: unscaled, uint8, float32 or float64.

    Raises:
        DataError: naming the file, the place in it, what was expected and what was found.
    """
    path = Path(path)
    if path.is_dir() or not path.exists():
        raise unexpected(path, FEATURE_FORMATS, "a folder" if path.is_dir() else "no such file")
    features = as_features(_raw_features(path, n_features), str(path))
    if n_features is not None and features.shape[1] != n_features:
        raise unexpected(path, f"{n_features} features", features.shape[1])
    return features


def _raw_features(path: Path, n_features: int | None) -> Any:
    kind = _kind(path)
    if kind == ".csv":
        return read_csv_features(path)
    if kind == ".npy":
        return _load_numpy(path)
    if kind == ".npz":
        return _npz_features(path)
    if READERS.get(kind) is _read_svmlight:
        return read_svmlight([path], n_features=n_features)[0][0]
    return read_idx(path)


def _npz_features(path: Path) -> NDArray[Any]:
    arrays = _load_npz(path)
    if "x" not in arrays:
        raise unexpected(path, "an array X", _names(arrays))
    return arrays["x"]


READERS: dict[str, Callable[..., Contents]] = {
    ".npz": _read_npz,
    ".csv": _read_csv,
    ".svm": _read_svmlight,
    ".svmlight": _read_svmlight,
    ".libsvm": _read_svmlight,
}
