"""IDX files, the format of MNIST: a strict reader and an atomic writer.

Layout: two zero bytes, a type code, the number of dimensions, each dimension as a big-endian uint32, the elements,
big-endian, last dimension fastest. Nothing may follow.

Shapes: N examples; images are (N, height, width), labels are (N,).
"""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fastfnn.atomic import write_atomically
from fastfnn.data.opening import is_gzip, opened, unexpected

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: "i2", 0x0C: "i4", 0x0D: "f4", 0x0E: "f8"}
CODES = {np.dtype(name): code for code, name in TYPES.items()}

# Deflate cannot shrink data by more than this factor, so a header that claims more is lying.
DEFLATE_LIMIT = 1032
READ_BYTES = 1 << 20


def read_idx(path: str | Path) -> NDArray[Any]:
    """Reads an IDX file, plain or gzip (recognised by its first bytes, not by its name).

    Returns:
        A writable array in the machine's byte order: uint8, int8, int16, int32, float32 or float64.

    Raises:
        DataError: naming file, byte offset, expected and found, when the file cannot be opened, its header or length
            is wrong, or its gzip is corrupt. Nothing larger than the file can hold is ever allocated.
    """
    path = Path(path)
    with opened(path) as stream:
        dtype, shape = _read_header(stream, path)
        array = np.empty(_checked_shape(path, dtype, shape), dtype.newbyteorder(">"))
        _fill(stream, array, _header_bytes(shape), path)
    return array.astype(dtype, copy=False)


def _read_header(stream: BinaryIO, path: Path) -> tuple[np.dtype[Any], tuple[int, ...]]:
    magic = _read_exactly(stream, 4, 0, path, "an IDX magic number")
    if magic[:2] != b"\0\0":
        raise unexpected(f"{path}: byte 0", "an IDX magic number that starts with 00 00", magic[:2].hex(" "))
    if magic[2] not in TYPES:
        known = ", ".join(f"0x{code:02x}" for code in TYPES)
        raise unexpected(f"{path}: byte 2", f"an IDX type code ({known})", f"0x{magic[2]:02x}")
    if magic[3] == 0:
        raise unexpected(f"{path}: byte 3", "at least one dimension", 0)
    sizes = _read_exactly(stream, 4 * magic[3], 4, path, f"the sizes of {magic[3]} dimensions")
    return np.dtype(TYPES[magic[2]]), tuple(np.frombuffer(sizes, ">u4").tolist())


def _read_exactly(stream: BinaryIO, count: int, offset: int, path: Path, what: str) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        where = f"{path}: byte {offset + len(data)}"
        raise unexpected(where, f"{what} ({count} bytes from byte {offset})", "the end of the file")
    return data


def _header_bytes(shape: tuple[int, ...]) -> int:
    return 4 + 4 * len(shape)


def _checked_shape(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape, after comparing what it promises with the size of the file."""
    for axis, size in enumerate(shape):
        if size == 0:
            raise unexpected(f"{path}: byte {4 + 4 * axis}", f"a positive size of dimension {axis}", 0)
    start = _header_bytes(shape)
    end = start + math.prod(shape) * dtype.itemsize
    size, promise = path.stat().st_size, f"{end} bytes for {dtype.name} elements of shape {shape}"
    if is_gzip(path):
        if end > DEFLATE_LIMIT * size:
            raise unexpected(f"{path}: byte 4", promise, f"implausible dimensions for {size} bytes of gzip")
    elif size < end:
        raise unexpected(f"{path}: byte {size}", promise, f"the end of the file after {size} bytes")
    elif size > end:
        raise _trailing(path, end, f"{size - end} trailing bytes")
    return shape


def _fill(stream: BinaryIO, array: NDArray[Any], start: int, path: Path) -> None:
    content = array.reshape(-1).view(np.uint8).data
    filled = 0
    while filled < len(content):
        block = stream.read(min(READ_BYTES, len(content) - filled))
        if not block:
            promise = f"{start + len(content)} bytes for {array.dtype.name} elements of shape {array.shape}"
            raise unexpected(f"{path}: byte {start + filled}", promise, "the end of the content")
        content[filled : filled + len(block)] = block
        filled += len(block)
    if stream.read(1):  # also makes gzip verify its checksum
        raise _trailing(path, start + len(content), "trailing bytes")


def _trailing(path: Path, end: int, found: str) -> Exception:
    return unexpected(f"{path}: byte {end}", "the end of the file", found)


def write_idx(path: str | Path, array: NDArray[Any]) -> None:
    """Writes an IDX file, compressed when the name ends with `.gz`; the same array always gives the same bytes.

    The file appears whole or not at all: it is written beside its place and then moved there.

    Args:
        path: where to write.
        array: uint8, int8, int16, int32, float32 or float64, any shape of at least one dimension and no zero size.

    Raises:
        DataError: when IDX cannot hold the array, or the file cannot be written.
    """
    path, array = Path(path), np.asarray(array)
    header = _encode_header(path, array)
    content = header + array.astype(array.dtype.newbyteorder(">"), copy=False).tobytes()
    if path.suffix == ".gz":
        content = gzip.compress(content, mtime=0)  # no time in the header: the bytes depend on the array alone
    try:
        write_atomically(path, content)
    except OSError as error:
        raise unexpected(path, "a file that can be written", error.strerror or error) from None


def _encode_header(path: Path, array: NDArray[Any]) -> bytes:
    code = CODES.get(array.dtype.newbyteorder("="))
    if code is None:
        raise unexpected(path, f"an array of {', '.join(t.name for t in CODES)}", array.dtype.name)
    if array.ndim == 0 or array.size == 0 or max(array.shape) >= 2**32:
        raise unexpected(path, "an array with at least one dimension, each from 1 to 2**32 - 1", f"shape {array.shape}")
    return bytes([0, 0, code, array.ndim]) + np.array(array.shape, ">u4").tobytes()


def read_images_and_labels(
    images_path: str | Path, labels_path: str | Path, *, n_classes: int | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Reads a pair of IDX files that belong together.

    Args:
        images_path: uint8 images (N, height, width).
        labels_path: uint8 labels (N,).
        n_classes: when given, labels must lie in 0..n_classes-1.

    Raises:
        DataError: as `read_idx`, or when a file is not of its kind, a label is out of range, or the counts differ.
    """
    images, labels = Path(images_path), Path(labels_path)
    pixels = _expect_kind(images, read_idx(images), 3, "images")
    numbers = _expect_kind(labels, read_idx(labels), 1, "labels")
    if len(pixels) != len(numbers):
        raise unexpected(images, f"as many images as {labels} has labels ({len(numbers)})", len(pixels))
    if n_classes is not None:
        _check_range(labels, numbers, n_classes)
    return pixels, numbers


def _expect_kind(path: Path, array: NDArray[Any], ndim: int, kind: str) -> NDArray[np.uint8]:
    if array.dtype != np.uint8 or array.ndim != ndim:
        found = f"{array.dtype.name} in {array.ndim} dimensions"
        raise unexpected(f"{path}: byte 2", f"{kind} (uint8 in {ndim} dimensions, magic 00 00 08 {ndim:02x})", found)
    return array


def _check_range(path: Path, labels: NDArray[np.uint8], n_classes: int) -> None:
    bad = np.flatnonzero(labels >= n_classes)
    if bad.size:
        where = f"{path}: byte {_header_bytes(labels.shape) + bad[0]}"
        raise unexpected(where, f"a label from 0 to {n_classes - 1}", labels[bad[0]])
