"""Two-dimensional arrays of any layout as the kernels see them, and sets of numbers below 64 as the bits of a word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from fastfnn.kernels.compilation import entry_point, kernel
from fastfnn.kernels.processor import INTERPRETED
from fastfnn.kernels.simd import INT32, VectorType, data_of, operation
from fastfnn.kernels.simd.arithmetic import fma_twin
from fastfnn.kernels.simd.vectors import (
    call_intrinsic,
    constant_vector,
    filled,
    llvm_type,
    multiply_add,
    pointer_to,
    size_of,
)

MATRIX = types.Array(types.float64, 2, "A", readonly=True, aligned=False)  # what every array can be taken for
TARGET = types.Array(types.float64, 2, "A", aligned=False)
RESULT = types.Array(types.float64, 2, "C")
MEMORY = types.Array(types.float64, 1, "C")
WORD = ir.IntType(64)
NUMBER = 8  # bytes of a float64


def compiled_for(result: Any, *arguments: Any) -> Callable[[Callable[..., Any]], Any]:
    """An entry point of one signature, to which its arguments are converted; compiled when it is first called.

    Left to itself, Numba would compile anew for each combination of layouts and of arrays that can be written to or
    not, which is one for nearly every place where a script calls a function.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = entry_point(function)
        if INTERPRETED:
            return dispatcher

        def compile_once(*_: Any) -> Any:
            compiled = dispatcher.compile(result(*arguments))
            dispatcher.disable_compile()
            return compiled

        # What the dispatcher calls for arguments that it has no code for: all of them, until there is any.
        dispatcher._compile_for_args = compile_once
        return dispatcher

    return decorate


def _flat_twin(array: Any) -> Any:
    span = sum((n - 1) * stride for n, stride in zip(array.shape, array.strides, strict=True)) // array.itemsize + 1
    writeable = array.flags.writeable
    return np.lib.stride_tricks.as_strided(array, (span,), (array.itemsize,), writeable=writeable)


@operation(_flat_twin)
def flat(typing_context: Any, array: Any) -> Any:
    """A pointer to the array's first element; strides must not be negative."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return data_of(context, builder, array, arguments[0])

    return types.CPointer(array.dtype)(array), codegen


def _nonzeros_twin(array: Any, offset: int, shift: int, like: Any) -> Any:
    lanes = array[offset : offset + len(like)]
    return np.uint64(sum(1 << i for i, x in enumerate(lanes, start=shift) if x != 0))


@operation(_nonzeros_twin)
def nonzeros(typing_context: Any, array: Any, offset: Any, shift: Any, like: Any) -> Any:
    """Which lanes of the vector at array[offset] are not zero, or NaN: the set of lane + shift, all below 64."""
    if not isinstance(like, VectorType):
        return None

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_type(like)
        pointer = pointer_to(context, builder, array, arguments[0], arguments[1], vector)
        values = builder.load(pointer, align=size_of(array.dtype))
        differs = builder.fcmp_unordered("!=", values, constant_vector(vector, 0))
        bits = builder.bitcast(differs, ir.IntType(like.lanes))
        if like.lanes < WORD.width:
            bits = builder.zext(bits, WORD)
        return builder.shl(bits, arguments[2])

    return types.uint64(array, types.intp, types.int64, like), codegen


@operation(lambda word: (int(word) & -int(word)).bit_length() - 1)
def lowest(typing_context: Any, word: Any) -> Any:
    """The smallest number in a set that is not empty."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return call_intrinsic(builder, "llvm.cttz.i64", WORD, [arguments[0], ir.IntType(1)(1)])

    return types.intp(types.uint64), codegen


@operation(lambda word: word & (word - np.uint64(1)))
def without_lowest(typing_context: Any, word: Any) -> Any:
    """A set that is not empty without its smallest number."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.and_(arguments[0], builder.sub(arguments[0], WORD(1)))

    return types.uint64(types.uint64), codegen


@operation(lambda word: int(word).bit_count())
def size(typing_context: Any, word: Any) -> Any:
    """How many numbers a set has."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return call_intrinsic(builder, "llvm.ctpop.i64", WORD, [arguments[0]])

    return types.intp(types.uint64), codegen


def _add_multiple_twin(row: Any, values: Any, offset: int, target: Any, to: int) -> None:
    for i, (vector,) in enumerate(row):
        lanes = slice(to + i * len(vector), to + (i + 1) * len(vector))
        target[lanes] = fma_twin(np.full_like(vector, values[offset]), vector, target[lanes])


@operation(_add_multiple_twin)
def add_multiple(typing_context: Any, row: Any, values: Any, offset: Any, target: Any, to: Any) -> Any:
    """Adds values[offset] times a grid of one column to what lies at target[to], vector behind vector."""
    kind = row.dtype.dtype
    vector = llvm_type(kind)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        grid, data, at, written, start = arguments
        scalar = builder.load(builder.gep(data_of(context, builder, values, data), [at]))
        factor = filled(builder, scalar, kind.lanes)
        first = pointer_to(context, builder, target, written, start, vector)
        for i in range(row.count):
            place = builder.gep(first, [INT32(i)])
            part = builder.extract_value(builder.extract_value(grid, i), 0)
            before = builder.load(place, align=size_of(kind.dtype))
            builder.store(multiply_add(builder, factor, part, before), place, align=size_of(kind.dtype))
        return context.get_dummy_value()

    return types.void(row, values, types.intp, target, types.intp), codegen


@kernel
def is_regular(x):
    """Whether the strides are whole numbers."""
    return x.strides[0] % NUMBER == 0 and x.strides[1] % NUMBER == 0


@kernel
def has_rows(x):
    """Whether rows are contiguous."""
    return is_regular(x) and (x.strides[1] == NUMBER or x.shape[1] <= 1)


@kernel
def row_stride(x):
    """From a row to the next one."""
    return x.strides[0] // NUMBER
