"""The four IDX files that make a set of labelled images, in the way of MNIST.

Shapes: N examples; images are (N, height, width).
"""

from __future__ import annotations

import re
from pathlib import Path

from fastfnn.data.arrays import Contents, Table, image_shape_of
from fastfnn.data.idx import read_images_and_labels
from fastfnn.data.opening import unexpected

FILE_NAME = re.compile(r"(train|t10k)-(images|labels)[-.].*(ubyte|idx)(\.gz)?")


def read_images(paths: list[Path], *, n_classes: int | None = None) -> Contents:
    """Reads train images and train labels and, if given, test images and test labels.

    Raises:
        DataError: as `fastfnn.data.idx.read_images_and_labels`.
    """
    pairs = [read_images_and_labels(*paths[i : i + 2], n_classes=n_classes) for i in range(0, len(paths), 2)]
    names = [(str(paths[i]), str(paths[i + 1])) for i in range(0, len(paths), 2)]
    tables = [Table.of(*pair, *pair_names) for pair, pair_names in zip(pairs, names, strict=True)]
    return Contents(tables[0], tables[1] if len(tables) > 1 else None, image_shape_of(pairs[0][0].shape))


def find_images(folder: Path) -> list[Path]:
    """The IDX files of a folder in the order of `read_images`: two of training and, unless none is there, two of test.

    Raises:
        DataError: when one is missing, naming what the folder has.
    """
    members = {}
    # Sorted backwards, so that of a file and its gzip the plain one, which is faster to read, is kept.
    for path in sorted(folder.iterdir(), reverse=True):
        if match := FILE_NAME.fullmatch(path.name):
            members[match[1], match[2]] = path
    parts = ("train", "t10k") if any(part == "t10k" for part, _ in members) else ("train",)
    return [_member(folder, members, part, kind) for part in parts for kind in ("images", "labels")]


def _member(folder: Path, members: dict[tuple[str, str], Path], part: str, kind: str) -> Path:
    if (part, kind) not in members:
        found = ", ".join(sorted(path.name for path in members.values())) or "no such file"
        expected = f"an IDX file named {part}-{kind}-idx{3 if kind == 'images' else 1}-ubyte or ....gz"
        raise unexpected(folder, expected, found)
    return members[part, kind]
