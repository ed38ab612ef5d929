"""An explicit SIMD vector type for Numba.

A vector lives in registers, holds a fixed number of lanes of one dtype, and is what the kernels compute with: its
width, the order of its sums and its fused multiply-adds are written in the source and do not depend on what an
optimiser can prove. LLVM splits or widens a vector to the registers that the processor has, so one source serves AVX2,
AVX-512 and NEON with the same results.

    like = zeros(weights, 64)                 # 64 bytes: 16 lanes of float32, 8 of float64
    total = like
    for k in range(n):
        total = fma(splat(at(x, k), like), load(weights, k * len(like), like), total)
    store(total, out, 0)

Operations that need a width take it from an example, `like`. Vectors support + - * / with vectors of their own type,
and unsigned ones also ^ and &. Arrays are one-dimensional and contiguous; offsets count elements, must not be negative
and are not checked.

Every operation has a NumPy twin, which is its specification and takes its place when compilation is disabled
(NUMBA_DISABLE_JIT=1), where a vector is an array of its lanes.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model
from numba.np.arrayobj import populate_array

from fastfnn.kernels.compilation import INTERPRETED

INT32 = ir.IntType(32)
VECTOR_BYTES = 64  # one cache line, and the widest registers there are


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
    types.uint32: ir.IntType(32),
    types.boolean: ir.IntType(1),
}


def _llvm(vector: VectorType) -> ir.VectorType:
    return ir.VectorType(LLVM_SCALARS[vector.dtype], vector.lanes)


@register_model(VectorType)
class VectorModel(models.PrimitiveModel):
    """A vector is an LLVM vector value, never a pointer."""

    def __init__(self, manager: Any, frontend_type: VectorType) -> None:
        super().__init__(manager, frontend_type, _llvm(frontend_type))


def operation(twin: Callable[..., Any], **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Makes an intrinsic of a typing function, or its NumPy twin when compilation is disabled."""

    def decorate(typing_function: Callable[..., Any]) -> Any:
        make = intrinsic(**options) if options else intrinsic
        compiled = twin if INTERPRETED else make(typing_function)
        compiled.__doc__ = typing_function.__doc__
        return compiled

    return decorate


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, offset: Any, element: ir.Type) -> Any:
    address = builder.gep(context.make_array(array_type)(context, builder, array).data, [offset])
    return builder.bitcast(address, element.as_pointer())


def _itemsize(dtype: types.Type) -> int:
    return int(np.dtype(str(dtype)).itemsize)


def _constant(vector: ir.VectorType, values: Any) -> ir.Constant:
    values = values if isinstance(values, list) else [values] * vector.count
    return ir.Constant(vector, values)


def _shuffle(builder: Any, x: Any, y: Any, lanes: list[int]) -> Any:
    return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(INT32, len(lanes)), lanes))


def _splat(builder: Any, scalar: Any, lanes: int) -> Any:
    undefined = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
    return _shuffle(builder, builder.insert_element(undefined, scalar, INT32(0)), undefined, [0] * lanes)


def _call(builder: Any, name: str, result: ir.Type, arguments: list[Any]) -> Any:
    """Calls an LLVM intrinsic by its mangled name; llvmlite's own declaration refuses vector types."""
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(result, [a.type for a in arguments]), name)
    return builder.call(function, arguments)


def _mangled(vector: ir.VectorType) -> str:
    return f"v{vector.count}{'f64' if vector.element == ir.DoubleType() else 'f32'}"


def _fma(builder: Any, x: Any, y: Any, z: Any) -> Any:
    return _call(builder, f"llvm.fma.{_mangled(x.type)}", x.type, [x, y, z])


# ---------------------------------------------------------------------------------------------- memory and conversion


def _zeros_twin(array: Any, size: int) -> Any:
    return np.zeros(size // array.itemsize, array.dtype) if size else None


@operation(_zeros_twin, prefer_literal=True)
def zeros(typing_context: Any, array: Any, size: Any) -> Any:
    """A vector of zeros of the array's dtype; `size` is a literal number of bytes, and None is returned for 0."""
    if not isinstance(size, types.IntegerLiteral):
        return None
    lanes = size.literal_value // _itemsize(array.dtype)
    result = VectorType(array.dtype, lanes) if lanes else types.none

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if not isinstance(result, VectorType):
            return context.get_dummy_value()
        return _constant(_llvm(result), 0)

    return result(array, size), codegen


@infer_global(len)
class _LengthTemplate(AbstractTemplate):
    """The number of lanes, a constant of the type."""

    def generic(self, arguments: Any, keywords: Any) -> Any:
        (vector,) = arguments
        return signature(types.intp, vector) if isinstance(vector, VectorType) else None


@lower_builtin(len, VectorType)
def _lower_length(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return context.get_constant(types.intp, signature.args[0].lanes)


def _load_twin(array: Any, offset: int, like: Any) -> Any:
    assert 0 <= offset <= len(array) - len(like)
    return array[offset : offset + len(like)].astype(like.dtype)


@operation(_load_twin)
def load(typing_context: Any, array: Any, offset: Any, like: Any) -> Any:
    """The vector at array[offset : offset + lanes]."""
    if array.dtype != like.dtype:
        return None

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, array, arguments[0], arguments[1], _llvm(like))
        return builder.load(pointer, align=_itemsize(array.dtype))

    return like(array, types.intp, like), codegen


def _store_twin(vector: Any, array: Any, offset: int) -> None:
    assert 0 <= offset <= len(array) - len(vector)
    array[offset : offset + len(vector)] = vector


@operation(_store_twin)
def store(typing_context: Any, vector: Any, array: Any, offset: Any) -> Any:
    """array[offset : offset + lanes] = vector."""
    if array.dtype != vector.dtype:
        return None

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, array, arguments[1], arguments[2], arguments[0].type)
        builder.store(arguments[0], pointer, align=_itemsize(array.dtype))
        return context.get_dummy_value()

    return types.void(vector, array, types.intp), codegen


def _at_twin(array: Any, offset: int) -> Any:
    assert 0 <= offset < len(array)
    return array[offset]


@operation(_at_twin)
def at(typing_context: Any, array: Any, offset: Any) -> Any:
    """array[offset] without the test for a negative index, which costs as much as the load."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.gep(context.make_array(array)(context, builder, arguments[0]).data, [arguments[1]])
        return context.unpack_value(builder, array.dtype, pointer)

    return array.dtype(array, types.intp), codegen


@operation(lambda scalar, like: np.full(len(like), scalar).astype(like.dtype))
def splat(typing_context: Any, scalar: Any, like: Any) -> Any:
    """A vector whose lanes are all `scalar`, converted to the dtype of `like`."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = context.cast(builder, arguments[0], scalar, like.dtype)
        return _splat(builder, value, like.lanes)

    return like(scalar, like), codegen


@operation(lambda vector, like: vector[: len(like)])
def narrow(typing_context: Any, vector: Any, like: Any) -> Any:
    """The first lanes of a vector, as many as `like` has."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _shuffle(builder, arguments[0], arguments[0], list(range(like.lanes)))

    return like(vector, like), codegen


@operation(lambda array, offset: None)
def prefetch(typing_context: Any, array: Any, offset: Any) -> Any:
    """Asks for the cache line of array[offset]; harmless outside the array."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, array, arguments[0], arguments[1], ir.IntType(8))
        arguments = [pointer, INT32(0), INT32(3), INT32(1)]  # to read, keep in all levels, data
        _call(builder, "llvm.prefetch.p0", ir.VoidType(), arguments)
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen


@operation(carray)
def array_at(typing_context: Any, pointer: Any, length: Any) -> Any:
    """The one-dimensional array of `length` elements at a pointer; `carray` without Numba's memory management."""
    array = types.Array(pointer.dtype, 1, "C")

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        itemsize = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(pointer.dtype)))
        result = context.make_array(array)(context, builder)
        data, length = arguments
        populate_array(result, data=data, shape=(length,), strides=(itemsize,), itemsize=itemsize, meminfo=None)
        return result._getvalue()

    return array(pointer, types.intp), codegen


@operation(lambda array: array)
def address(typing_context: Any, array: Any) -> Any:
    """Where the array's data begins, an integer for `call_address`."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(array)(context, builder, arguments[0]).data
        return builder.ptrtoint(data, ir.IntType(64))

    return types.int64(array), codegen


@operation(lambda function, arguments: function(*arguments))
def call_address(typing_context: Any, function: Any, arguments: Any) -> Any:
    """Calls compiled code at an address with a tuple of numbers: integers as 64-bit words, others as doubles."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        words = []
        for i, kind in enumerate(arguments.types):
            target = types.float64 if isinstance(kind, types.Float) else types.int64
            words.append(context.cast(builder, builder.extract_value(values[1], i), kind, target))
        called = ir.FunctionType(ir.VoidType(), [word.type for word in words])
        builder.call(builder.inttoptr(values[0], called.as_pointer()), words)
        return context.get_dummy_value()

    return types.void(types.int64, arguments), codegen


# --------------------------------------------------------------------------------------------------------- arithmetic

_FLOAT_OPERATORS = {operator.add: "fadd", operator.sub: "fsub", operator.mul: "fmul", operator.truediv: "fdiv"}
_INTEGER_OPERATORS = {
    operator.add: "add",
    operator.sub: "sub",
    operator.mul: "mul",
    operator.xor: "xor",
    operator.and_: "and_",
    operator.rshift: "lshr",
    operator.lshift: "shl",
}


def _register_operator(function: Any) -> None:
    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        table = _INTEGER_OPERATORS if signature.args[0].dtype == types.uint32 else _FLOAT_OPERATORS
        return getattr(builder, table[function])(*arguments)

    class Template(AbstractTemplate):
        def generic(self, arguments: Any, keywords: Any) -> Any:
            x, y = arguments
            if isinstance(x, VectorType) and x == y:
                table = _INTEGER_OPERATORS if x.dtype == types.uint32 else _FLOAT_OPERATORS
                return signature(x, x, y) if function in table else None
            return None

    infer_global(function)(Template)
    lower_builtin(function, VectorType, VectorType)(lower)


for _function in {*_FLOAT_OPERATORS, *_INTEGER_OPERATORS}:
    _register_operator(_function)


def _elementwise(twin: Callable[..., Any], build: Callable[..., Any], *, mask: bool = False) -> Any:
    """An operation of two vectors of one type, lane by lane; the result is a mask or another such vector."""

    @operation(twin)
    def apply(typing_context: Any, x: Any, y: Any) -> Any:
        if not isinstance(x, VectorType) or x != y:
            return None

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return build(builder, *arguments)

        return (x.of(types.boolean) if mask else x)(x, y), codegen

    return apply


#: The larger of each pair of lanes; NaN where `y` is NaN, and `y` where the two are equal.
maximum = _elementwise(lambda x, y: np.where(x > y, x, y), lambda b, x, y: b.select(b.fcmp_ordered(">", x, y), x, y))
#: The mask of the lanes where x > y, false for NaN.
greater = _elementwise(np.greater, lambda b, x, y: b.fcmp_ordered(">", x, y), mask=True)
#: The mask of the lanes where x == y, false for NaN.
equal = _elementwise(np.equal, lambda b, x, y: b.fcmp_ordered("==", x, y), mask=True)
#: The mask of the lanes where the unsigned x >= y.
not_below = _elementwise(np.greater_equal, lambda b, x, y: b.icmp_unsigned(">=", x, y), mask=True)


@operation(np.where)
def where(typing_context: Any, mask: Any, x: Any, y: Any) -> Any:
    """Lanes of `x` where the mask is true, of `y` elsewhere."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(*arguments)

    return x(mask, x, y), codegen


def _fma_twin(x: Any, y: Any, z: Any) -> Any:
    if x.dtype == np.float32:  # exact in float64 but for the last rounding
        return (x.astype(np.float64) * y + z).astype(np.float32)
    return x * y + z


@operation(_fma_twin)
def fma(typing_context: Any, x: Any, y: Any, z: Any) -> Any:
    """x * y + z with one rounding."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _fma(builder, *arguments)

    return x(x, y, z), codegen


@operation(np.sqrt)
def sqrt(typing_context: Any, x: Any) -> Any:
    """The square root, correctly rounded."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(builder, f"llvm.sqrt.{_mangled(_llvm(x))}", _llvm(x), arguments)

    return x(x), codegen


# Of each dtype: mantissa bits, exponent bias, degree of the Taylor polynomial whose truncation error on
# |r| <= log(2)/2 is below half an ulp, log(2) in two parts of which the first times any exponent is exact, and the
# range outside which the result is 0 or infinity.
_EXP_CONSTANTS = {
    types.float32: (23, 127, 7, 0.693359375, -2.12194440e-4, -87.33, 88.37),
    types.float64: (52, 1023, 13, 6.93145751953125e-1, 1.42860682030941723212e-6, -708.39, 709.43),
}


def _exp_twin(x: Any) -> Any:
    low, high = _EXP_CONSTANTS[types.float32 if x.dtype == np.float32 else types.float64][-2:]
    with np.errstate(over="ignore"):
        return np.where(x < low, 0, np.where(x > high, np.inf, np.exp(x))).astype(x.dtype)


@operation(_exp_twin)
def exp(typing_context: Any, x: Any) -> Any:
    """e**x to within 2 ulp.

    0 below the logarithm of the smallest normal number, infinity above that of the largest (rounded down a little), NaN
    for NaN. Method: x = k log(2) + r by Cody and Waite, Taylor polynomial in r, 2**k through the exponent bits.
    """
    bits, bias, degree, high_part, low_part, low, high = _EXP_CONSTANTS[x.dtype]
    vector = _llvm(x)
    integer = ir.VectorType(ir.IntType(_itemsize(x.dtype) * 8), x.lanes)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def constant(value: float) -> Any:
            return _constant(vector, float(np.float32(value)) if x.dtype == types.float32 else value)

        (argument,) = arguments
        # Adding 1.5 * 2**bits rounds to an integer and leaves it in the low bits of the sum.
        magic = constant(1.5 * 2.0**bits)
        shifted = _fma(builder, argument, constant(1 / math.log(2)), magic)
        k = builder.fsub(shifted, magic)
        r = _fma(builder, k, constant(-high_part), argument)
        r = _fma(builder, k, constant(-low_part), r)
        polynomial = constant(1 / math.factorial(degree))
        for power in reversed(range(degree)):
            polynomial = _fma(builder, polynomial, r, constant(1 / math.factorial(power)))
        exponent = builder.add(builder.bitcast(shifted, integer), _constant(integer, bias))
        power_of_two = builder.bitcast(builder.shl(exponent, _constant(integer, bits)), vector)
        result = builder.fmul(polynomial, power_of_two)
        too_low = builder.fcmp_ordered("<", argument, constant(low))
        too_high = builder.fcmp_ordered(">", argument, constant(high))
        result = builder.select(too_high, constant(math.inf), result)
        result = builder.select(too_low, constant(0.0), result)
        return builder.select(builder.fcmp_unordered("uno", argument, argument), argument, result)

    return x(x), codegen


def _pairwise(x: Any) -> Any:
    while len(x) > 1:
        x = x[: len(x) // 2] + x[len(x) // 2 :]
    return x[0]


@operation(_pairwise)
def total(typing_context: Any, x: Any) -> Any:
    """The sum of the lanes, halves first: lane i is added to lane i + n/2, then of these n/2 lanes the same."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (value,) = arguments
        lanes = x.lanes
        while lanes > 1:
            lanes //= 2
            low, high = list(range(lanes)), list(range(lanes, 2 * lanes))
            value = builder.fadd(_shuffle(builder, value, value, low), _shuffle(builder, value, value, high))
        return builder.extract_element(value, INT32(0))

    return x.dtype(x), codegen


@operation(lambda x: x[0])
def first_lane(typing_context: Any, x: Any) -> Any:
    """Lane 0, a scalar."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.extract_element(arguments[0], INT32(0))

    return x.dtype(x), codegen


@operation(lambda like: np.arange(len(like), dtype=np.uint32))
def lane_numbers(typing_context: Any, like: Any) -> Any:
    """The unsigned vector 0, 1, 2, ... of as many lanes as `like` has."""
    result = like.of(types.uint32)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _constant(_llvm(result), list(range(like.lanes)))

    return result(like), codegen


# ---------------------------------------------------------------------------------------------------- tuples of vectors
#
# A tuple of vectors of one type is a block of registers; its length is part of its type, so these are unrolled.


@operation(lambda vector, count: (vector,) * count, prefer_literal=True)
def repeat(typing_context: Any, vector: Any, count: Any) -> Any:
    """A block of `count`, a literal, copies of a vector."""
    if not isinstance(count, types.IntegerLiteral):
        return None
    copies = count.literal_value

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return cgutils.pack_array(builder, [arguments[0]] * copies)

    return types.UniTuple(vector, copies)(vector, count), codegen


def _parts(builder: Any, block: Any, count: int) -> list[Any]:
    return [builder.extract_value(block, i) for i in range(count)]


@operation(
    lambda array, offset, stride, like: tuple(np.full_like(v, array[offset + i * stride]) for i, v in enumerate(like))
)
def splat_each(typing_context: Any, array: Any, offset: Any, stride: Any, like: Any) -> Any:
    """Vector i of the block is filled with array[offset + i * stride]."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        scalars = _strided_scalars(context, builder, array, arguments, like.count)
        return cgutils.pack_array(builder, [_splat(builder, s, like.dtype.lanes) for s in scalars])

    return like(array, types.intp, types.intp, like), codegen


def _strided_scalars(context: Any, builder: Any, array: Any, arguments: Any, count: int) -> list[Any]:
    """array[offset + i * stride] for i < count, where the arguments begin with array, offset, stride."""
    data = context.make_array(array)(context, builder, arguments[0]).data
    offset, scalars = arguments[1], []
    for _ in range(count):
        scalars.append(builder.load(builder.gep(data, [offset])))
        offset = builder.add(offset, arguments[2])
    return scalars


def _fma_each_twin(x: Any, array: Any, offset: int, stride: int, block: Any) -> Any:
    return tuple(_fma_twin(x, np.full_like(x, array[offset + i * stride]), v) for i, v in enumerate(block))


@operation(_fma_each_twin)
def fma_each(typing_context: Any, x: Any, array: Any, offset: Any, stride: Any, block: Any) -> Any:
    """Adds x * array[offset + i * stride] to vector i of the block."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        scalars = _strided_scalars(context, builder, array, arguments[1:], block.count)
        parts = _parts(builder, arguments[4], block.count)
        sums = [
            _fma(builder, arguments[0], _splat(builder, scalar, x.lanes), part)
            for scalar, part in zip(scalars, parts, strict=True)
        ]
        return cgutils.pack_array(builder, sums)

    return block(x, array, types.intp, types.intp, block), codegen


def _store_each_twin(block: Any, array: Any, offset: int) -> None:
    for i, vector in enumerate(block):
        _store_twin(vector, array, offset + i * len(vector))


@operation(_store_each_twin)
def store_each(typing_context: Any, block: Any, array: Any, offset: Any) -> Any:
    """Stores the vectors of the block one after the other from array[offset]."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = _llvm(block.dtype)
        start = _pointer(context, builder, array, arguments[1], arguments[2], vector)
        for i, part in enumerate(_parts(builder, arguments[0], block.count)):
            builder.store(part, builder.gep(start, [INT32(i)]), align=_itemsize(array.dtype))
        return context.get_dummy_value()

    return types.void(block, array, types.intp), codegen


@operation(lambda block: tuple(np.where(v < 0, 0, v).astype(v.dtype) for v in block))
def rectify_each(typing_context: Any, block: Any) -> Any:
    """max(x, 0) of every lane; NaN stays NaN."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        zero = _constant(_llvm(block.dtype), 0)
        parts = _parts(builder, arguments[0], block.count)
        rectified = [builder.select(builder.fcmp_ordered("<", p, zero), zero, p) for p in parts]
        return cgutils.pack_array(builder, rectified)

    return block(block), codegen


def _outer_twin(x: Any, x_offsets: Any, y: Any, y_offsets: Any, block: Any) -> Any:
    lanes = len(block[0])
    pairs = [(i, j) for i in x_offsets for j in y_offsets]
    return tuple(_fma_twin(x[i : i + lanes], y[j : j + lanes], v) for (i, j), v in zip(pairs, block, strict=True))


@operation(_outer_twin)
def outer_fma(typing_context: Any, x: Any, x_offsets: Any, y: Any, y_offsets: Any, block: Any) -> Any:
    """Adds the product of the vectors at x_offsets[i] of `x` and y_offsets[j] of `y` to vector (i, j) of the block."""
    vector = block.dtype

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def loads(array_type: Any, array: Any, offsets: Any, count: int) -> list[Any]:
            pointers = [
                _pointer(context, builder, array_type, array, builder.extract_value(offsets, i), _llvm(vector))
                for i in range(count)
            ]
            return [builder.load(pointer, align=_itemsize(vector.dtype)) for pointer in pointers]

        xs = loads(x, arguments[0], arguments[1], x_offsets.count)
        ys = loads(y, arguments[2], arguments[3], y_offsets.count)
        parts = _parts(builder, arguments[4], block.count)
        products = [(a, b) for a in xs for b in ys]
        return cgutils.pack_array(
            builder, [_fma(builder, a, b, part) for (a, b), part in zip(products, parts, strict=True)]
        )

    return block(x, x_offsets, y, y_offsets, block), codegen


def _butterfly(builder: Any, x: Any, y: Any, width: int) -> tuple[Any, Any]:
    """Swaps the odd groups of `width` lanes of x with the even ones of y."""
    lanes = x.type.count
    low = [i if i // width % 2 == 0 else lanes + i - width for i in range(lanes)]
    high = [i + width if i // width % 2 == 0 else lanes + i for i in range(lanes)]
    return _shuffle(builder, x, y, low), _shuffle(builder, x, y, high)


def _transposed(builder: Any, vectors: list[Any]) -> list[Any]:
    """The transpose of a square block of registers, in log2(lanes) rounds of shuffles."""
    vectors = list(vectors)
    width = len(vectors) // 2
    while width:
        for i in range(len(vectors)):
            if i // width % 2 == 0:
                vectors[i], vectors[i + width] = _butterfly(builder, vectors[i], vectors[i + width], width)
        width //= 2
    return vectors


def _sums_twin(block: Any, array: Any, offset: int) -> None:
    for i, vector in enumerate(block):
        array[offset + i] = _pairwise(vector)


@operation(_sums_twin)
def store_totals(typing_context: Any, block: Any, array: Any, offset: Any) -> Any:
    """array[offset + i] = total(vector i), for a block whose length is a multiple of the lanes.

    Summed by transposing as far as needed: n vectors of n lanes cost n - 1 additions instead of n log2(n).
    """
    vector = _llvm(block.dtype)
    lanes = block.dtype.lanes

    def sums(builder: Any, vectors: list[Any]) -> Any:
        width = lanes // 2
        while width:
            half = len(vectors) // 2
            pairs = [_butterfly(builder, vectors[i], vectors[i + half], width) for i in range(half)]
            vectors = [builder.fadd(low, high) for low, high in pairs]
            width //= 2
        return vectors[0]

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        parts = _parts(builder, arguments[0], block.count)
        start = _pointer(context, builder, array, arguments[1], arguments[2], vector)
        for n, first in enumerate(range(0, block.count, lanes)):
            result = sums(builder, parts[first : first + lanes])
            builder.store(result, builder.gep(start, [INT32(n)]), align=_itemsize(array.dtype))
        return context.get_dummy_value()

    return types.void(block, array, types.intp), codegen


def _transpose_twin(source: Any, start: int, stride: int, target: Any, to: int, to_stride: int, like: Any) -> None:
    lanes = len(like)
    square = np.array([source[start + i * stride : start + i * stride + lanes] for i in range(lanes)])
    for i in range(lanes):
        target[to + i * to_stride : to + i * to_stride + lanes] = square[:, i]


@operation(_transpose_twin)
def transpose(
    typing_context: Any, source: Any, start: Any, stride: Any, target: Any, to: Any, to_stride: Any, like: Any
) -> Any:
    """Transposes a square of as many rows and columns as `like` has lanes, from `source` to `target`.

    Row i begins at source[start + i * stride], and column i is written from target[to + i * to_stride].
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def pointers(array_type: Any, array: Any, offset: Any, step: Any) -> list[Any]:
            result = []
            for _ in range(like.lanes):
                result.append(_pointer(context, builder, array_type, array, offset, _llvm(like)))
                offset = builder.add(offset, step)
            return result

        align = _itemsize(like.dtype)
        rows = [builder.load(p, align=align) for p in pointers(source, *arguments[:3])]
        columns = _transposed(builder, rows)
        for column, pointer in zip(columns, pointers(target, *arguments[3:6]), strict=True):
            builder.store(column, pointer, align=align)
        return context.get_dummy_value()

    intp = types.intp
    return types.void(source, intp, intp, target, intp, intp, like), codegen
