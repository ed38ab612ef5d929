"""Calling compiled functions without Numba: from Python, and from compiled code by their addresses.

A routine takes any arguments, as one array of 64-bit words. What their words mean is their kind:

    "int64", "float64", "bool"            numbers: a word each
    ("array", dtype, dimensions, layout)  arrays: address and shape; without the layout "C", also the strides in bytes
    ("structure", name, kinds)            named tuples of `structures`: their fields one after the other
    "own"                                 the address of these very words
    ("words", kinds)                      such an address, and what the first arguments behind it are
    "*float32" and the like               addresses of numbers

The last two are for functions that compiled code calls: those of a routine that is given the address of its own words
can hand its first arguments on by it.

For every combination of kinds there is a function of its own, which is compiled when it is first needed.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from importlib import import_module
from threading import Lock
from typing import Any

import numpy as np

from fastfnn.kernels.machine_code import Key, Loaded, store, stored
from fastfnn.kernels.processor import INTERPRETED

INTEGER, REAL, TRUTH, OWN = "int64", "float64", "bool", "own"
FORMATS = {INTEGER: "q", REAL: "d", TRUTH: "q"}
WORD_BYTES = 8
_functions: dict[Key, Loaded] = {}
_loading = Lock()


class Words:
    """Arguments as words; they live as long as this does."""

    def __init__(self, *arguments: Any) -> None:
        """Takes numbers, arrays, named tuples of these, and the words of other arguments, in whose place they stand.

        Raises:
            TypeError: for an array that compiled code could not read, and for anything else.
        """
        self.arguments: list[Any] = []
        self.values: list[int | float] = []
        self.formats: list[str] = []
        self.kinds: tuple[Any, ...] = ()
        for argument in arguments:
            if isinstance(argument, Words):
                self.arguments += argument.arguments
                self.values += argument.values
                self.formats += argument.formats
                self.kinds += argument.kinds
            else:
                self.arguments.append(argument)
                self.kinds += (self._add(argument),)

    def _add(self, value: Any) -> Any:
        """Appends the words of a value; returns its kind."""
        if isinstance(value, np.ndarray):
            return self._add_array(value)
        if isinstance(value, tuple):
            return "structure", type(value).__name__, tuple(map(self._add, value))
        if INTERPRETED and (callable(value) or isinstance(value, list)):  # in place of addresses
            value, kind = 0, INTEGER
        elif isinstance(value, bool | np.bool_):
            value, kind = int(value), TRUTH
        elif isinstance(value, int | np.integer):
            kind = INTEGER
        elif isinstance(value, float | np.floating):
            kind = REAL
        else:
            raise TypeError(f"expected numbers, arrays and named tuples, found {type(value).__name__}")
        self.values.append(value)
        self.formats.append(FORMATS[kind])
        return kind

    def _add_array(self, array: Any) -> Any:
        flags, dtype = array.flags, array.dtype.str
        if not (flags.aligned and array.dtype.isnative):
            raise TypeError(f"expected an aligned array in the byte order of this machine, found {dtype}")
        self.values.append(array.ctypes.data)
        self.values += array.shape
        words = 1 + array.ndim
        if not flags.c_contiguous:
            self.values += array.strides
            words += array.ndim
        self.formats.append("q" * words)
        return "array", dtype, array.ndim, "C" if flags.c_contiguous else "A"

    def packed(self) -> bytes:
        """All words, one after the other."""
        return struct.pack("".join(self.formats), *self.values)


class Routine:
    """A compiled function that Python calls, with arguments of any kinds."""

    def __init__(self, function: str, *, own: bool = False) -> None:
        """`function` is a module of the kernels and a name, with a dot between.

        With `own`, it takes the address of the words before all that these are.
        """
        self.function, self.leading = function, (OWN,) if own else ()

    def key(self, *arguments: Any) -> Key:
        """What is compiled, or loaded, for such arguments."""
        return Key(self.function, None, self.leading + Words(*arguments).kinds)

    def __call__(self, *arguments: Any) -> Any:
        """What the function returns, a number or a tuple of numbers; arguments are those of `Words`.

        Raises:
            TypeError: when an argument is none that can be passed on.
            RuntimeError: when the compiled code reports an error: an index out of bounds, where these are checked.
        """
        words = Words(*arguments)
        if INTERPRETED:
            return python_function(self.function)(*[words.arguments for _ in self.leading], *words.arguments)
        loaded = load(Key(self.function, None, self.leading + words.kinds))
        places, results = (ctypes.c_void_p * 2)(), ctypes.create_string_buffer(struct.calcsize(loaded.results))
        status = loaded.call(ctypes.addressof(places), ctypes.addressof(places) + WORD_BYTES, words.packed(), results)
        if status:
            raise RuntimeError(f"{self.function} failed with status {status}")
        numbers = struct.unpack(loaded.results, results)
        return numbers if len(numbers) > 1 else numbers[0] if numbers else None


def by_words(*arguments: Any) -> Any:
    """The kind of the address of a routine's words, of which these are the first arguments."""
    return "words", Words(*arguments).kinds


def python_function(name: str) -> Callable[..., Any]:
    """The function of a module of the kernels."""
    module, _, function = name.rpartition(".")
    found: Callable[..., Any] = getattr(import_module(f"fastfnn.kernels.{module}"), function)
    return found


def load(key: Key) -> Loaded:
    """The compiled function for a key; it stays in memory, since others may hold its address."""
    found = _functions.get(key)
    if found is None:
        with _loading:
            found = _functions.get(key)
            if found is None:
                found = _functions[key] = Loaded(stored(key) or compile_and_store(key))
    return found


def compile_and_store(key: Key) -> Any:
    """The machine code for a key, by Numba, and for later processes."""
    from fastfnn.kernels.compilation import machine_code

    code = machine_code(key)
    store(key, code)
    return code


def addresses(keys: Sequence[Key | None]) -> Any:
    """Where compiled functions begin, 0 for None; where nothing is compiled, the Python functions."""
    if INTERPRETED:
        return [interpreted(key) if key else 0 for key in keys]
    return np.array([load(key).address if key else 0 for key in keys], np.int64)


def interpreted(key: Key) -> Callable[..., Any]:
    """The Python function for a key; what is an address of words elsewhere is a tuple of arguments here."""
    function: Callable[..., Any] = python_function(key.function)(*(key.constants or ()))
    kind = key.kinds[0]
    if isinstance(kind, str):
        return function
    return lambda own, *rest: function(*own[: len(kind[1])], *rest)
