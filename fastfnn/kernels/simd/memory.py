"""Between memory and vectors: loads and stores, conversions, addresses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature

from fastfnn.kernels.simd.vectors import (
    INT32,
    LLVM_SCALARS,
    VectorType,
    call_intrinsic,
    constant_vector,
    data_of,
    filled,
    llvm_type,
    operation,
    pointer_to,
    shuffled,
    size_of,
)


def _zeros_twin(array: Any, size: int) -> Any:
    return np.zeros(size // array.itemsize, array.dtype) if size else None


@operation(_zeros_twin, prefer_literal=True)
def zeros(typing_context: Any, array: Any, size: Any) -> Any:
    """A vector of zeros of the array's dtype; `size` is a literal number of bytes, and None is returned for 0."""
    if not isinstance(size, types.IntegerLiteral):
        return None
    lanes = size.literal_value // size_of(array.dtype)
    result = VectorType(array.dtype, lanes) if lanes else types.none

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if not isinstance(result, VectorType):
            return context.get_dummy_value()
        return constant_vector(llvm_type(result), 0)

    return result(array, size), codegen


@operation(lambda vector, lanes: np.zeros(lanes, vector.dtype), prefer_literal=True)
def zeros_of(typing_context: Any, vector: Any, lanes: Any) -> Any:
    """A vector of zeros of so many lanes, a literal, of the dtype of another vector."""
    if not isinstance(lanes, types.IntegerLiteral):
        return None
    result = VectorType(vector.dtype, lanes.literal_value)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return constant_vector(llvm_type(result), 0)

    return result(vector, lanes), codegen


@infer_global(len)
class _LengthTemplate(AbstractTemplate):
    """The number of lanes, a constant of the type."""

    def generic(self, arguments: Any, keywords: Any) -> Any:
        (vector,) = arguments
        return signature(types.intp, vector) if isinstance(vector, VectorType) else None


@lower_builtin(len, VectorType)
def _lower_length(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return context.get_constant(types.intp, signature.args[0].lanes)


def load_twin(array: Any, offset: int, like: Any) -> Any:
    """Twin of `load`."""
    assert 0 <= offset <= len(array) - len(like)
    return array[offset : offset + len(like)].astype(like.dtype)


@operation(load_twin)
def load(typing_context: Any, array: Any, offset: Any, like: Any) -> Any:
    """The vector at array[offset : offset + lanes]."""
    if array.dtype != like.dtype:
        return None

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = pointer_to(context, builder, array, arguments[0], arguments[1], llvm_type(like))
        return builder.load(pointer, align=size_of(array.dtype))

    return like(array, types.intp, like), codegen


def store_twin(vector: Any, array: Any, offset: int) -> None:
    """Twin of `store`."""
    assert 0 <= offset <= len(array) - len(vector)
    array[offset : offset + len(vector)] = vector


@operation(store_twin)
def store(typing_context: Any, vector: Any, array: Any, offset: Any) -> Any:
    """array[offset : offset + lanes] = vector."""
    if array.dtype != vector.dtype:
        return None

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = pointer_to(context, builder, array, arguments[1], arguments[2], arguments[0].type)
        builder.store(arguments[0], pointer, align=size_of(array.dtype))
        return context.get_dummy_value()

    return types.void(vector, array, types.intp), codegen


def _at_twin(array: Any, offset: int) -> Any:
    assert 0 <= offset < len(array)
    return array[offset]


@operation(_at_twin)
def at(typing_context: Any, array: Any, offset: Any) -> Any:
    """array[offset] without the test for a negative index, which costs as much as the load."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.gep(data_of(context, builder, array, arguments[0]), [arguments[1]])
        return context.unpack_value(builder, array.dtype, pointer)

    return array.dtype(array, types.intp), codegen


def vector_at(context: Any, builder: Any, array_type: Any, array: Any, offset: Any, like: VectorType) -> Any:
    """The LLVM value of `load_converted`."""
    stored = ir.VectorType(LLVM_SCALARS[array_type.dtype], like.lanes)
    values = builder.load(
        pointer_to(context, builder, array_type, array, offset, stored), align=size_of(array_type.dtype)
    )
    if isinstance(array_type.dtype, types.Integer):
        return builder.uitofp(values, llvm_type(like))
    if array_type.dtype == like.dtype:
        return values
    return (builder.fpext if array_type.dtype == types.float32 else builder.fptrunc)(values, llvm_type(like))


@operation(lambda array, offset, like: array[offset : offset + len(like)].astype(like.dtype))
def load_converted(typing_context: Any, array: Any, offset: Any, like: Any) -> Any:
    """The values array[offset : offset + lanes], of any unsigned integer or floating dtype, in the dtype of `like`."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return vector_at(context, builder, array, arguments[0], arguments[1], like)

    return like(array, types.intp, like), codegen


@operation(lambda array: array.itemsize)
def itemsize(typing_context: Any, array: Any) -> Any:
    """Bytes of an element: a constant, which an array's own `itemsize` is not for the compiler."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.get_constant(types.intp, size_of(array.dtype))

    return types.intp(array), codegen


@operation(lambda scalar, like: np.full(len(like), scalar).astype(like.dtype))
def splat(typing_context: Any, scalar: Any, like: Any) -> Any:
    """A vector whose lanes are all `scalar`, converted to the dtype of `like`."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = context.cast(builder, arguments[0], scalar, like.dtype)
        return filled(builder, value, like.lanes)

    return like(scalar, like), codegen


@operation(lambda vector, like: vector[: len(like)])
def narrow(typing_context: Any, vector: Any, like: Any) -> Any:
    """The first lanes of a vector, as many as `like` has."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return shuffled(builder, arguments[0], arguments[0], list(range(like.lanes)))

    return like(vector, like), codegen


@operation(lambda vector, number, like: np.full(len(like), vector[number]), prefer_literal=True)
def splat_lane(typing_context: Any, vector: Any, number: Any, like: Any) -> Any:
    """A vector whose lanes are all the lane of this number, a literal, of another vector."""
    if not isinstance(number, types.IntegerLiteral):
        return None

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return shuffled(builder, arguments[0], arguments[0], [number.literal_value] * like.lanes)

    return like(vector, number, like), codegen


def _prefetching(levels: int) -> Callable[..., Any]:
    """What asks for a cache line, for reading, into so many levels of caches of three."""

    def typed(typing_context: Any, array: Any, offset: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = pointer_to(context, builder, array, arguments[0], arguments[1], ir.IntType(8))
            arguments = [pointer, INT32(0), INT32(levels), INT32(1)]
            call_intrinsic(builder, "llvm.prefetch.p0", ir.VoidType(), arguments)
            return context.get_dummy_value()

        return types.void(array, types.intp), codegen

    return typed


#: Asks for the cache line of array[offset], as far as the second-level cache; harmless outside the array.
prefetch = operation(lambda array, offset: None)(_prefetching(2))
#: The same as far as the nearest cache, for what is needed at once.
prefetch_near = operation(lambda array, offset: None)(_prefetching(3))


@operation(lambda structure: structure)
def by_pointers(typing_context: Any, structure: Any) -> Any:
    """A named tuple with pointers in place of its arrays, also of those in named tuples within.

    An array is seven words to pass on, a pointer one. Pointers are indexed like arrays, but have no length and no
    strides: arrays must be contiguous.
    """

    def pointed(kind: Any) -> Any:
        if isinstance(kind, types.Array):
            if kind.layout != "C":
                raise TypingError(f"expected contiguous arrays, found {kind}")
            return types.CPointer(kind.dtype)
        if isinstance(kind, types.BaseNamedTuple):
            return types.NamedTuple([pointed(field) for field in kind.types], kind.instance_class)
        return kind

    def converted(context: Any, builder: Any, kind: Any, value: Any) -> Any:
        if isinstance(kind, types.Array):
            return data_of(context, builder, kind, value)
        if isinstance(kind, types.BaseNamedTuple):
            fields = [
                converted(context, builder, field, builder.extract_value(value, i))
                for i, field in enumerate(kind.types)
            ]
            return context.make_tuple(builder, pointed(kind), fields)
        return value

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return converted(context, builder, structure, arguments[0])

    return pointed(structure)(structure), codegen


@operation(lambda array: array)
def address(typing_context: Any, array: Any) -> Any:
    """Where the array's data begins, an integer for `call_kernel`."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = data_of(context, builder, array, arguments[0])
        return builder.ptrtoint(data, ir.IntType(64))

    return types.int64(array), codegen


def _call(context: Any, builder: Any, arguments: Any, values: Any, places: list[Any], result: ir.Type) -> Any:
    """Calls the code at the address values[0] with some places and the numbers of the tuple values[1]."""
    words = []
    for i, kind in enumerate(arguments.types):
        target = types.float64 if isinstance(kind, types.Float) else types.int64
        words.append(context.cast(builder, builder.extract_value(values[1], i), kind, target))
    given = [*places, *words]
    called = ir.FunctionType(result, [value.type for value in given])
    builder.call(builder.inttoptr(values[0], called.as_pointer()), given)
    return context.get_dummy_value()


@operation(lambda function, arguments: function(*arguments))
def call_address(typing_context: Any, function: Any, arguments: Any) -> Any:
    """Calls a function of the system with a tuple of numbers: integers as 64-bit words, others as doubles."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _call(context, builder, arguments, values, [], ir.VoidType())

    return types.void(types.int64, arguments), codegen


@operation(lambda function, arguments: function(*arguments))
def call_kernel(typing_context: Any, function: Any, arguments: Any) -> Any:
    """The same for a kernel that was compiled on its own: Numba's come with places for a result and an exception first.

    They use neither: what is called like this returns nothing, and what could fail has been checked before.
    """

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = ir.IntType(8).as_pointer()
        places = [cgutils.alloca_once(builder, pointer) for _ in range(2)]
        return _call(context, builder, arguments, values, places, INT32)

    return types.void(types.int64, arguments), codegen
