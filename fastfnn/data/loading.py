"""Datasets by name or path: the one function that users and the command line call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastfnn.data.dataset import Dataset, SplitOptions
from fastfnn.data.downloads import load_fashion_mnist
from fastfnn.data.embedded import load_digits, load_mnist
from fastfnn.data.files import load_file
from fastfnn.data.opening import unexpected
from fastfnn.errors import suggestion


@dataclass(frozen=True)
class DatasetInfo:
    """What there is to know about a dataset before it is loaded. `offline`: it needs no download."""

    description: str
    licence: str
    source: str
    offline: bool
    load: Callable[..., Dataset]


DATASETS: dict[str, DatasetInfo] = {
    "mnist": DatasetInfo(
        "70,000 handwritten digits, 28 x 28 pixels",
        "CC BY-SA 3.0",
        "Yann LeCun and Corinna Cortes; the four original IDX files, inside the package",
        True,
        load_mnist,
    ),
    "fashion-mnist": DatasetInfo(
        "70,000 pieces of clothing in ten classes, 28 x 28 pixels",
        "MIT",
        "Zalando Research, https://github.com/zalandoresearch/fashion-mnist; downloaded once (30 MB)",
        False,
        load_fashion_mnist,
    ),
    "digits": DatasetInfo(
        "1,797 handwritten digits, 8 x 8 pixels",
        "CC BY 4.0",
        "E. Alpaydin and C. Kaynak, UCI Machine Learning Repository; comes with scikit-learn",
        True,
        load_digits,
    ),
}


def load_dataset(
    name_or_path: str | Path | Dataset,
    *,
    validation: float | int | None = 0.2,
    split_seed: int = 0,
    stratify: bool = False,
    scale: float | None = None,
    **format_options: Any,
) -> Dataset:
    """Loads a dataset by its name (see `DATASETS`) or from a file or folder; a Dataset comes back as it is.

    Args:
        name_or_path: a name wins over a file; write `./mnist` for a folder of that name.
        validation: a fraction in (0, 1) or a number of rows to set apart; 0 or None for no validation set.
        split_seed: draws the validation rows.
        stratify: keep the proportions of the classes in the validation set.
        scale: files only: what features are multiplied by; None means 1/255 for uint8 and 1 for floats.
        format_options: files only. CSV: `label_column` (name or index), `header` (bool), `test` (path of a second
            file); SVMlight: `zero_based`, `test`.

    Raises:
        DataError: for an unknown name, with a suggestion, or for data that are not what they should be.
    """
    if isinstance(name_or_path, Dataset):
        return name_or_path
    options = SplitOptions(validation=validation, split_seed=split_seed, stratify=stratify)
    if str(name_or_path) in DATASETS and isinstance(name_or_path, str):
        if scale is not None or format_options:
            found = ", ".join((["scale"] if scale is not None else []) + list(format_options))
            raise unexpected(name_or_path, "no options of files for a dataset with a name", found)
        return DATASETS[name_or_path].load(**options)
    path = Path(name_or_path)
    if not path.exists():
        expected = f"a file, a folder or one of {', '.join(DATASETS)}"
        raise unexpected(path, expected, f"no such file{suggestion(str(name_or_path), list(DATASETS))}")
    return load_file(path, scale=scale, format_options=format_options, **options)
