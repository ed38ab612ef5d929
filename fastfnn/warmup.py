"""The first start on a machine: compiling with two processes, since the compiler uses one core of each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fastfnn.kernels.machine_code import Key, is_stored
from fastfnn.kernels.processor import INTERPRETED
from fastfnn.kernels.routines import load


def load_all(keys: Iterable[Key | None]) -> None:
    """Loads compiled functions, or compiles them, for which the one that takes longest should come first.

    Where several are not in the cache, another process compiles all but the first one meanwhile. When this one has
    compiled that, it goes on with the last one that is still missing. Should the other process fail, all are compiled
    here.
    """
    wanted = list(dict.fromkeys(key for key in keys if key))
    if INTERPRETED:
        return
    missing = [key for key in wanted if not is_stored(key)]
    with compiled_beside(missing[1:]):
        for key in [*missing[:1], *reversed(missing[1:])]:
            load(key)
    for key in wanted:
        load(key)


@contextmanager
def compiled_beside(keys: Sequence[Key]) -> Iterator[None]:
    """While the body runs, another process compiles these and leaves them in the cache."""
    if not keys:
        yield
        return
    code = f"from fastfnn import warmup; warmup.compile_missing({[tuple(key) for key in keys]!r})"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield
        finally:
            process.kill()


def compile_missing(keys: Iterable[tuple[Any, ...]]) -> None:
    """Compiles functions, whose keys are given as plain tuples, as far as they are not in the cache."""
    for key in (Key(*fields) for fields in keys):
        if not is_stored(key):
            load(key)
