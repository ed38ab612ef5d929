"""Opening files so that every failure is a `DataError` that names the file, what was expected and what was found."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

from fastfnn.errors import DataError

GZIP_MAGIC = b"\x1f\x8b"


def unexpected(where: object, expected: str, found: object) -> DataError:
    """The one form of every error of this package: file or array, what was expected, what was found."""
    return DataError(f"{where}: expected {expected}, found {found}")


def unreadable(path: Path, error: OSError) -> DataError:
    """The `DataError` for a file that the operating system refuses to open, read or write."""
    reasons = {FileNotFoundError: "no such file", IsADirectoryError: "a folder"}
    found = reasons.get(type(error)) or error.strerror or str(error)
    return unexpected(path, "a file that can be opened", found)


def is_gzip(path: Path) -> bool:
    """Whether the file starts like gzip, whatever its name says.

    Raises:
        DataError: when the file cannot be opened.
    """
    try:
        with path.open("rb") as stream:
            return stream.read(2) == GZIP_MAGIC
    except OSError as error:
        raise unreadable(path, error) from None


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, decompressed when it starts like gzip.

    Raises:
        DataError: when it cannot be opened, or, while it is read, when its gzip turns out corrupt or truncated.
    """
    packed = is_gzip(path)
    with cast(IO[bytes], gzip.open(path, "rb")) if packed else path.open("rb") as stream:
        try:
            yield cast(BinaryIO, stream)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            where = f"{path}: byte {stream.tell()} of the uncompressed content"
            raise unexpected(where, "intact gzip data", f"corrupt or truncated gzip ({error})") from None
        except OSError as error:
            raise unreadable(path, error) from None
