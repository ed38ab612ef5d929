"""Compiled functions: on the disk, where the next process finds them, and in memory, where they are called.

A file has a checksum, what it was compiled for, and an object file as LLVM writes it. The folder is named by a digest
of everything that the machine code follows from but the processor, which is in the name of the file. A damaged file
counts as a missing one, and a folder that cannot be written is done without.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import platform
import tempfile
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite
import numpy
import platformdirs
from llvmlite import binding

from fastfnn.atomic import write_atomically
from fastfnn.kernels.processor import INTERPRETED, target

# Numba's settings that change what it makes of a function.
SETTINGS = ("NUMBA_OPT", "NUMBA_BOUNDSCHECK", "NUMBA_DEBUGINFO", "NUMBA_ENABLE_AVX")
DIGEST_BYTES = hashlib.sha256().digest_size
SUFFIX = ".code"


def sources_digest(folder: Path) -> str:
    """A digest of every kernel source, the settings and the versions that compiled code follows from."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    versions = (metadata.version("numba"), llvmlite.__version__, numpy.__version__, platform.python_version())
    digest.update(repr((versions, [os.environ.get(name) for name in SETTINGS])).encode())
    return digest.hexdigest()[:24]


@lru_cache
def cache_folder() -> Path | None:
    """The writable folder for this version of the kernels, or None when there is none.

    It lies in the user's cache folder, or in FASTFNN_CACHE_DIR where that is set.
    """
    root = os.environ.get("FASTFNN_CACHE_DIR") or platformdirs.user_cache_dir("fastfnn")
    sources = Path(__file__).parent
    if not sources.is_dir():  # in a zip archive: no sources, no digest
        return None
    try:
        folder = Path(root) / "kernels" / sources_digest(sources)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return None


class Key(NamedTuple):
    """What a function is compiled for; of plain values, so that another process can be told."""

    function: str  # module of the kernels and name, with a dot between
    constants: tuple[int, ...] | None  # what it is called with to make the function; None where it is the function
    kinds: tuple[Any, ...]  # of the arguments; see `routines`

    def path(self) -> Path | None:
        """The file of the compiled function, whether or not it is there."""
        folder = cache_folder()
        if folder is None:
            return None
        digest = hashlib.sha256(repr((tuple(self), target())).encode()).hexdigest()[:24]
        return folder / f"{self.function}-{digest}{SUFFIX}"


class MachineCode(NamedTuple):
    """A compiled function."""

    symbol: str
    results: str  # format of `struct` for the numbers that it returns
    objects: bytes  # an object file


def is_stored(key: Key) -> bool:
    """Whether there is a file for a key, or nowhere to write one."""
    path = key.path()
    return path is None or path.exists()


def steps_are_not_compiled() -> bool:
    """Whether there is a cache, and no steps of training in it: the next run compiles them for some seconds."""
    folder = cache_folder()
    return not INTERPRETED and folder is not None and not any(folder.glob(f"steps.run_steps-*{SUFFIX}"))


def stored(key: Key) -> MachineCode | None:
    """The compiled function for a key, or None where there is none or it is damaged."""
    path = key.path()
    try:
        content = b"" if path is None else path.read_bytes()
    except OSError:
        return None
    checksum, payload = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    if hashlib.sha256(payload).digest() != checksum:
        return None
    header, _, objects = payload.partition(b"\n")
    about = json.loads(header)
    return MachineCode(about["symbol"], about["results"], objects) if about["key"] == repr(tuple(key)) else None


def store(key: Key, code: MachineCode) -> None:
    """Stores a compiled function, unless the disk refuses."""
    path = key.path()
    if path is None:
        return
    header = json.dumps({"key": repr(tuple(key)), "symbol": code.symbol, "results": code.results}).encode()
    payload = header + b"\n" + code.objects
    try:
        write_atomically(path, hashlib.sha256(payload).digest() + payload)
    except OSError:  # a full disk, a folder that has become read-only or is gone
        return


class Loaded:
    """A compiled function in memory, for as long as this object lives."""

    def __init__(self, code: MachineCode) -> None:
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        machine = binding.Target.from_triple(binding.get_process_triple()).create_target_machine(jit=True)
        self._engine = binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
        self._engine.add_object_file(binding.ObjectFileRef.from_data(code.objects))
        self._engine.finalize_object()
        self.address: int = self._engine.get_function_address(code.symbol)
        self.results = code.results
        # Numba's own convention: places for a result and for an exception come first, a status comes back.
        self.call = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 4)(self.address)
