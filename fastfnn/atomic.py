"""Files that are either whole or not there."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_atomically(path: str | Path, content: bytes | str) -> None:
    """Writes to a temporary file beside `path`, flushes it to the disk and moves it into place.

    Raises:
        OSError: when the folder is missing or cannot be written; `path` is then as it was.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
