"""Which rows train and which validate: drawn from the split's own seed.

Shapes: N examples, C classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastfnn.data.opening import unexpected

Rows = NDArray[np.int64]


def validation_count(validation: float | int | None, n_rows: int) -> int:
    """How many of `n_rows` rows a fraction (a float in 0..1) or a count (an int) asks for; 0 for None or zero.

    Raises:
        DataError: out of range, or one of the two sides would be empty.
    """
    if validation is None or validation == 0:
        return 0
    if isinstance(validation, int | np.integer):
        count = int(validation)
    elif 0.0 < validation < 1.0:
        count = round(validation * n_rows)
    else:
        raise unexpected("validation", "a fraction between 0 and 1, a number of rows, arrays or None", validation)
    if not 0 < count < n_rows:
        split = f"{validation!r}, which puts {count} of {n_rows} rows into validation"
        raise unexpected("validation", f"at least one row on each side of a split of {n_rows} rows", split)
    return count


def draw_split(labels: NDArray[np.int64], n_validation: int, seed: int, stratify: bool) -> tuple[Rows, Rows]:
    """Draws the rows of training and validation, each ascending.

    Args:
        labels: class numbers (N,).
        n_validation: 1 to N - 1 rows.
        seed: of the split alone; training seeds do not move it.
        stratify: give each class its share of the validation rows (largest remainder, so that counts are exact).

    Raises:
        DataError: negative seed, or a class too small to be stratified.
    """
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise unexpected("split_seed", "an integer, 0 or more", repr(seed))
    rng = np.random.default_rng(np.random.SeedSequence(int(seed)))
    order = rng.permutation(len(labels))
    if stratify:
        order = _front_load(order, labels, n_validation)
    return np.sort(order[n_validation:]), np.sort(order[:n_validation])


def _front_load(order: Rows, labels: NDArray[np.int64], n_validation: int) -> Rows:
    """The same rows, with each class's share of the validation rows moved to the front."""
    shares = _shares(np.bincount(labels), n_validation)
    by_class = order[np.argsort(labels[order], kind="stable")]
    groups = np.split(by_class, np.cumsum(np.bincount(labels))[:-1])
    chosen = [group[:share] for group, share in zip(groups, shares, strict=True)]
    others = [group[share:] for group, share in zip(groups, shares, strict=True)]
    return np.concatenate(chosen + others)


def _shares(counts: NDArray[Any], n_validation: int) -> list[int]:
    """Rows of each class in the validation set, by largest remainder in exact integer arithmetic."""
    _check_stratifiable(counts, n_validation)
    total = int(counts.sum())
    shares, remainders = np.divmod(counts * n_validation, total)
    largest = np.argsort(-remainders, kind="stable")[: n_validation - int(shares.sum())]
    shares[largest] += 1
    if (shares == counts).any():
        number = int(np.argmax(shares == counts))
        raise unexpected("stratify", "training rows of every class", f"none of class number {number}")
    return [int(share) for share in shares]


def _check_stratifiable(counts: NDArray[Any], n_validation: int) -> None:
    if counts.min() < 2:
        found = f"{counts.min()} of class number {int(counts.argmin())}"
        raise unexpected("stratify", "at least two rows of every class", found)
    if min(n_validation, int(counts.sum()) - n_validation) < len(counts):
        found = f"{n_validation} for validation and {counts.sum() - n_validation} for training"
        raise unexpected("stratify", f"at least as many rows as classes ({len(counts)}) on each side", found)
