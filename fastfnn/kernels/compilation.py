"""How kernels are compiled.

Functions that the training loop needs are compiled to object files, which are stored and loaded without Numba; see
`machine_code` and `routines`. Others, which are called a thousand times a second from Python, are left to Numba's
dispatcher and its cache. That cache knows the file of the function that it stores, but not the files of the functions
that it calls, nor the options of their decorators, so an edit in another file would go on giving the old numbers. Here
it is in a folder that is named by a digest of everything that the machine code follows from, every file carries a
checksum, and a cache that cannot be written or read back is done without.
"""

from __future__ import annotations

import hashlib
import itertools
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import from_dtype, types
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from fastfnn.kernels import structures
from fastfnn.kernels.machine_code import DIGEST_BYTES, Key, MachineCode, cache_folder
from fastfnn.kernels.processor import INTERPRETED
from fastfnn.kernels.routines import OWN, python_function
from fastfnn.kernels.simd import address

# Without the runtime that counts references to arrays: kernels allocate nothing, and counting costs atomic operations.
# No fastmath: sums have the order that is written, NaN is seen. NumPy's error model: x / 0 is infinite, no exception.
OPTIONS = {"nogil": True, "error_model": "numpy", "_nrt": False}
# Kernels are called by kernels; the code by which Python would call them takes longer to compile than they do.
WITHOUT_WRAPPERS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
OPTIMISATION_LEVEL = 2
WORD, WORDS = ir.IntType(64), types.CPointer(types.int64)


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
        optimise(self)


def optimise(library: JITCodeLibrary) -> None:
    """Optimises the code of a function together with that of all functions that it calls."""
    passes, builder = library._codegen._module_pass_manager(opt=OPTIMISATION_LEVEL)
    passes.run(library._final_module, builder)


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


def numba_type(kind: Any) -> Any:
    """Numba's type of a kind of argument; see `routines`."""
    if isinstance(kind, str):
        return types.CPointer(numba_type(kind[1:])) if kind.startswith("*") else from_dtype(np.dtype(kind))
    form, name, *rest = kind
    if form == "array":
        return types.Array(from_dtype(np.dtype(name)), *rest)
    return types.NamedTuple([numba_type(field) for field in rest[0]], getattr(structures, name))


def unpacking(arguments: types.Type) -> Any:
    """An operation that reads the arguments of a routine, a tuple of this type, from its words."""

    def value(context: Any, builder: Any, kind: Any, read: Callable[[], Any]) -> Any:
        if isinstance(kind, types.BaseTuple):
            return context.make_tuple(builder, kind, [value(context, builder, field, read) for field in kind])
        if isinstance(kind, types.Array):
            return array(context, builder, kind, read)
        word = read()
        if isinstance(kind, types.Float):
            return builder.bitcast(word, context.get_value_type(kind))
        return context.cast(builder, word, types.int64, kind)

    def array(context: Any, builder: Any, kind: Any, read: Callable[[], Any]) -> Any:
        item = context.get_abi_sizeof(context.get_data_type(kind.dtype))
        found = context.make_array(kind)(context, builder)
        address = builder.inttoptr(read(), context.get_data_type(kind.dtype).as_pointer())
        shape = [read() for _ in range(kind.ndim)]
        if kind.layout == "C":
            strides = [WORD(item)]
            for size in shape[:0:-1]:
                strides.insert(0, builder.mul(strides[0], size))
        else:
            strides = [read() for _ in range(kind.ndim)]
        populate_array(found, address, shape, strides, WORD(item), None)
        return found._getvalue()

    @intrinsic
    def unpack(typing_context: Any, words: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            places = itertools.count()
            return value(
                context, builder, arguments, lambda: builder.load(builder.gep(values[0], [WORD(next(places))]))
            )

        return arguments(words), codegen

    return unpack


@intrinsic
def pack(typing_context: Any, returned: Any, results: Any) -> Any:
    """Writes what a routine returns."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kinds = result_types(returned)
        for i, kind in enumerate(kinds):
            number = builder.extract_value(values[0], i) if isinstance(returned, types.BaseTuple) else values[0]
            place = builder.gep(values[1], [WORD(i)])
            if isinstance(kind, types.Float):
                place = builder.bitcast(place, number.type.as_pointer())
            else:
                number = context.cast(builder, number, kind, types.int64)
            builder.store(number, place)
        return context.get_dummy_value()

    return types.void(returned, results), codegen


def result_types(returned: types.Type) -> list[types.Type]:
    """The types of the numbers that a routine returns."""
    if isinstance(returned, types.BaseTuple):
        return list(returned)
    return [] if returned == types.none else [returned]


def result_format(returned: types.Type) -> str:
    """The same as a format of `struct`, a word each."""
    formats = {types.float64: "d", types.boolean: "?7x"}
    return "".join(formats.get(kind, "q") for kind in result_types(returned))


@global_compiler_lock
def compiled(function: Callable[..., Any], arguments: tuple[types.Type, ...]) -> Any:
    """Numba's result for a function of these arguments, with all that it calls, optimised but without machine code."""
    dispatcher = kernel(function)
    dispatcher.compile(arguments)
    result = dispatcher.overloads[arguments]
    result.library._ensure_finalized()  # links in what it calls
    for each in result.library._final_module.functions:
        if not each.is_declaration and each.name != result.fndesc.llvm_func_name:
            each.linkage = "internal"  # called from nowhere else: inlined where it is called once
    optimise(result.library)
    return result


def compiled_for(key: Key) -> tuple[Any, str]:
    """What `compiled` has for a key, and the format of the results."""
    function = python_function(key.function)
    if key.constants is None:
        return compiled_routine(function, key.kinds)
    made, (first, *rest) = function(*key.constants), key.kinds
    if isinstance(first, str):
        return compiled(made, tuple(map(numba_type, key.kinds))), ""
    inner, unpack = inlined_kernel(made), unpacking(types.Tuple(list(map(numba_type, first[1]))))

    def called_by_words(words, *others):
        inner(*(unpack(words) + others))

    return compiled(called_by_words, (WORDS, types.StarArgTuple(list(map(numba_type, rest))))), ""


def compiled_routine(function: Callable[..., Any], kinds: Sequence[Any]) -> tuple[Any, str]:
    """What `compiled` has for a function that Python calls, and the format of the results."""
    inner, takes_own = inlined_kernel(function), kinds[0] == OWN
    unpack = unpacking(types.Tuple([numba_type(kind) for kind in kinds if kind != OWN]))

    def routine(words, results):
        pack(inner(*unpack(words)), results)

    def routine_with_own(words, results):
        pack(inner(address(words), *unpack(words)), results)

    found = compiled(routine_with_own if takes_own else routine, (WORDS, WORDS))
    (overload,) = inner.overloads.values()
    return found, result_format(overload.signature.return_type)


def machine_code(key: Key) -> MachineCode:
    """The machine code for a key."""
    found, results = compiled_for(key)
    library = found.library
    return MachineCode(found.fndesc.llvm_func_name, results, library._codegen._tm.emit_object(library._final_module))
