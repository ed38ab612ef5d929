"""The type of vectors, how operations are made of it, and what their code is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

from fastfnn.kernels.processor import INTERPRETED

INT32 = ir.IntType(32)


class VectorType(types.Type):
    """Numba's type of a vector: `dtype` is a Numba scalar type, boolean for masks."""

    def __init__(self, dtype: types.Type, lanes: int) -> None:
        self.dtype, self.lanes = dtype, lanes
        super().__init__(name=f"vector({dtype}, {lanes})")

    def of(self, dtype: types.Type) -> VectorType:
        """As many lanes of another dtype."""
        return VectorType(dtype, self.lanes)


LLVM_SCALARS = {
    types.float32: ir.FloatType(),
    types.float64: ir.DoubleType(),
    types.uint8: ir.IntType(8),
    types.uint32: ir.IntType(32),
    types.boolean: ir.IntType(1),
}


def llvm_type(vector: VectorType) -> ir.VectorType:
    """LLVM's type of a vector."""
    return ir.VectorType(LLVM_SCALARS[vector.dtype], vector.lanes)


@register_model(VectorType)
class VectorModel(models.PrimitiveModel):
    """A vector is an LLVM vector value, never a pointer."""

    def __init__(self, manager: Any, frontend_type: VectorType) -> None:
        super().__init__(manager, frontend_type, llvm_type(frontend_type))


def operation(twin: Callable[..., Any], **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Makes an intrinsic of a typing function, or its NumPy twin when compilation is disabled."""

    def decorate(typing_function: Callable[..., Any]) -> Any:
        make = intrinsic(**options) if options else intrinsic
        compiled = twin if INTERPRETED else make(typing_function)
        compiled.__doc__ = typing_function.__doc__
        return compiled

    return decorate


def data_of(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    """Where an array begins, given as Numba's array or as a pointer."""
    return array if isinstance(kind, types.CPointer) else context.make_array(kind)(context, builder, array).data


def pointer_to(context: Any, builder: Any, array_type: Any, array: Any, offset: Any, element: ir.Type) -> Any:
    """A pointer to `element` at an offset of an array, in numbers of the array."""
    address = builder.gep(data_of(context, builder, array_type, array), [offset])
    return builder.bitcast(address, element.as_pointer())


def size_of(dtype: types.Type) -> int:
    """Bytes of a number of Numba's type."""
    return int(np.dtype(str(dtype)).itemsize)


def constant_vector(vector: ir.VectorType, values: Any) -> ir.Constant:
    """A vector of one value, or of a list of values."""
    values = values if isinstance(values, list) else [values] * vector.count
    return ir.Constant(vector, values)


def shuffled(builder: Any, x: Any, y: Any, lanes: list[int]) -> Any:
    """The given lanes of two vectors, of which the second one's are counted on."""
    return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(INT32, len(lanes)), lanes))


def filled(builder: Any, scalar: Any, lanes: int) -> Any:
    """A vector whose lanes are all a scalar."""
    undefined = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
    return shuffled(builder, builder.insert_element(undefined, scalar, INT32(0)), undefined, [0] * lanes)


def call_intrinsic(builder: Any, name: str, result: ir.Type, arguments: list[Any]) -> Any:
    """Calls an LLVM intrinsic by its mangled name; llvmlite's own declaration refuses vector types."""
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(result, [a.type for a in arguments]), name)
    return builder.call(function, arguments)


def mangled(vector: ir.VectorType) -> str:
    """How LLVM calls a type in the names of its intrinsics."""
    return f"v{vector.count}{'f64' if vector.element == ir.DoubleType() else 'f32'}"


def multiply_add(builder: Any, x: Any, y: Any, z: Any) -> Any:
    """x * y + z with one rounding."""
    return call_intrinsic(builder, f"llvm.fma.{mangled(x.type)}", x.type, [x, y, z])
