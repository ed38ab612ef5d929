"""How kernels are compiled, and where the compiled code is kept.

Numba's own cache knows the file of the function that it stores, but not the files of the functions that it calls, nor
the options of their decorators, so an edit in another file would go on giving the old numbers. Here the folder of the
cache is named by a digest of everything that the machine code follows from (the processor is in Numba's own key), every
file carries a checksum, and a cache that cannot be written or read back is done without.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import platform
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy
import platformdirs
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.ccallback import CFunc
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

# Without the runtime that counts references to arrays: kernels allocate nothing, and counting costs atomic operations.
# No fastmath: sums have the order that is written, NaN is seen. NumPy's error model: x / 0 is infinite, no exception.
OPTIONS = {"nogil": True, "error_model": "numpy", "_nrt": False}
# Kernels are called by kernels; the code by which Python would call them takes longer to compile than they do.
WITHOUT_WRAPPERS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
OPTIMISATION_LEVEL = 2
INTERPRETED = bool(numba.config.DISABLE_JIT)
DIGEST_BYTES = hashlib.sha256().digest_size


def sources_digest(folder: Path) -> str:
    """A digest of every kernel source, the options and the versions that compiled code follows from."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    versions = (numba.__version__, llvmlite.__version__, numpy.__version__, platform.python_version())
    environment = (numba.config.OPT, numba.config.BOUNDSCHECK, numba.config.DEBUGINFO_DEFAULT)
    digest.update(repr((sorted(OPTIONS.items()), versions, environment)).encode())
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


def steps_are_not_compiled() -> bool:
    """Whether there is a cache, and no steps of training in it: the next run compiles them for some seconds."""
    folder = cache_folder()
    return not INTERPRETED and folder is not None and not any(folder.rglob("*run_steps*.nbc"))


class CheckedCacheFile(IndexDataCacheFile):
    """Data files that hold their own key and end with a checksum of what precedes it.

    The index alone must not be trusted: two processes that store at the same time may give one name to two keys.
    """

    def save(self, key: Any, data: Any) -> None:
        """Stores data under a key."""
        super().save(key, (key, data))

    def load(self, key: Any) -> Any:
        """The data of a key, or None where there is none, or another key's."""
        found = super().load(key)
        return found[1] if found is not None and found[0] == key else None

    def _dump(self, obj: object) -> bytes:
        data: bytes = super()._dump(obj)
        return data + hashlib.sha256(data).digest()

    def _load_data(self, name: str) -> Any:
        content = Path(self._data_path(name)).read_bytes()
        data, checksum = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
        if hashlib.sha256(data).digest() != checksum:
            raise pickle.UnpicklingError(f"{name}: checksum differs")
        return pickle.loads(data)


class KernelCache(FunctionCache):
    """Numba's cache in a folder of our own, in which a damaged file counts as a missing one."""

    _cache_file: Any

    def __init__(self, function: Callable[..., Any], folder: Path) -> None:
        previous = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = str(folder)
        try:
            super().__init__(function)
        finally:
            numba.config.CACHE_DIR = previous
        plain = self._cache_file
        self._cache_file = CheckedCacheFile(self._cache_path, self._impl.filename_base, plain._source_stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled code for a signature, or None where there is none or it is damaged."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # whatever a damaged file makes pickle or LLVM raise
            self._discard()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Stores compiled code, unless the disk refuses."""
        try:
            super().save_overload(sig, data)
        except Exception:  # a damaged index, a full disk, a folder that has become read-only
            self._discard()

    def _discard(self) -> None:
        """Empties the index, so that the next process writes it anew."""
        try:
            self.flush()
        except OSError:
            self.disable()


class KernelLibrary(JITCodeLibrary):
    """The code of a function that is called from outside.

    Numba would optimise it twice, to find references that need no counting in between; kernels count none. Kernels are
    vectors by their own account, so that the level at which LLVM makes vectors of loops gains nothing but time.
    """

    def _optimize_final_module(self) -> None:
        passes, builder = self._codegen._module_pass_manager(opt=OPTIMISATION_LEVEL)
        passes.run(self._final_module, builder)


class PartLibrary(JITCodeLibrary):
    """The code of a function that only other compiled functions call: linked into theirs, and optimised there.

    Numba would optimise it, with all that it calls, and make machine code of it that nobody runs, at every level of
    calls anew.
    """

    @property
    def codegen(self) -> Any:
        """Takes the environment of a function that has an address, and does nothing with it."""
        return NoEnvironments

    def get_pointer_to_function(self, name: str) -> int:
        """Nothing that could be called."""
        return 0

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


class NoEnvironments:
    """Where Numba puts the constants that a function needs to make Python objects; kernels make none."""

    @staticmethod
    def set_env(name: str, environment: Any) -> None:
        """Nothing is kept."""


class KernelCompiler(Compiler):
    """Numba's compiler, with a library of another class for the code."""

    library_class: type[JITCodeLibrary] = KernelLibrary

    def __init__(self, typingctx: Any, targetctx: Any, library: Any, *rest: Any) -> None:
        code = self.library_class(targetctx.codegen(), "kernel")
        code.enable_object_caching()  # so that it can be stored
        super().__init__(typingctx, targetctx, code if library is None else library, *rest)


class PartCompiler(KernelCompiler):
    """The same for a `PartLibrary`."""

    library_class = PartLibrary


def kernel(function: Callable[..., Any]) -> Any:
    """Compiles a function that other kernels call; it is part of their compiled code."""
    return numba.njit(**OPTIONS, **WITHOUT_WRAPPERS, pipeline_class=PartCompiler)(function)


def inlined_kernel(function: Callable[..., Any]) -> Any:
    """The same for a function so short, and called so often, that a call would cost more than it does."""
    return numba.njit(**OPTIONS, **WITHOUT_WRAPPERS, forceinline=True, pipeline_class=PartCompiler)(function)


def entry_point(function: Callable[..., Any]) -> Any:
    """Compiles a function that Python calls, and keeps its compiled code on the disk."""
    dispatcher = numba.njit(**OPTIONS, pipeline_class=KernelCompiler)(function)
    folder = cache_folder()
    if folder is not None and not INTERPRETED:
        dispatcher._cache = KernelCache(function, folder)
    return dispatcher


def compile_callback(function: Callable[..., Any], signature: Any) -> Any:
    """Compiles a function for one signature, to be called through its `address`, and keeps it on the disk likewise."""
    types = (signature.args, signature.return_type)
    callback: Any = CFunc(function, types, locals={}, options=OPTIONS, pipeline_class=KernelCompiler)
    folder = cache_folder()
    if folder is not None:
        callback._cache = KernelCache(function, folder)
    callback.compile()
    return callback
