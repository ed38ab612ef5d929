"""Arithmetic on vectors, lane by lane and over the lanes."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature

from fastfnn.kernels.processor import HAS_RECIPROCALS
from fastfnn.kernels.simd.vectors import (
    INT32,
    VectorType,
    call_intrinsic,
    constant_vector,
    llvm_type,
    mangled,
    multiply_add,
    operation,
    shuffled,
    size_of,
)

LANES_OF_RECIPROCALS = 16

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


def fma_twin(x: Any, y: Any, z: Any) -> Any:
    """One rounding for float32; float64 has two here, which tests allow for."""
    if x.dtype == np.float32:  # exact in float64 but for the last rounding
        return (x.astype(np.float64) * y + z).astype(np.float32)
    return x * y + z


@operation(fma_twin)
def fma(typing_context: Any, x: Any, y: Any, z: Any) -> Any:
    """x * y + z with one rounding."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return multiply_add(builder, *arguments)

    return x(x, y, z), codegen


@operation(np.divide)
def quotient(typing_context: Any, x: Any, y: Any) -> Any:
    """x / y for finite x, and for y that is NaN, infinite, or as normal a number as its reciprocal.

    The divider takes more time for 16 float32 than their approximate reciprocals, a step of Newton's method and the
    correction of the quotient by its remainder. The result is rounded the same, unless the remainder is subnormal.
    (Markstein 1990, Computation of elementary functions on the IBM RISC System/6000 processor.)
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        dividend, divisor = arguments
        vector = llvm_type(x)
        if x.dtype != types.float32 or x.lanes != LANES_OF_RECIPROCALS or not HAS_RECIPROCALS:
            return builder.fdiv(dividend, divisor)
        every = ir.Constant(ir.IntType(x.lanes), -1)
        rough = [divisor, constant_vector(vector, 0), every]
        reciprocal = call_intrinsic(builder, "llvm.x86.avx512.rcp14.ps.512", vector, rough)
        negative = builder.fneg(divisor)
        error = multiply_add(builder, negative, reciprocal, constant_vector(vector, 1))
        refined = multiply_add(builder, reciprocal, error, reciprocal)
        first = builder.fmul(dividend, refined)
        remainder = multiply_add(builder, negative, first, dividend)
        result = multiply_add(builder, remainder, refined, first)
        infinite = builder.fcmp_ordered("==", builder.fadd(divisor, divisor), divisor)
        return builder.select(infinite, builder.fmul(dividend, reciprocal), result)

    return x(x, y), codegen


@operation(np.sqrt)
def sqrt(typing_context: Any, x: Any) -> Any:
    """The square root, correctly rounded."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return call_intrinsic(builder, f"llvm.sqrt.{mangled(llvm_type(x))}", llvm_type(x), arguments)

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
    vector = llvm_type(x)
    integer = ir.VectorType(ir.IntType(size_of(x.dtype) * 8), x.lanes)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def constant(value: float) -> Any:
            return constant_vector(vector, float(np.float32(value)) if x.dtype == types.float32 else value)

        (argument,) = arguments
        # Adding 1.5 * 2**bits rounds to an integer and leaves it in the low bits of the sum.
        magic = constant(1.5 * 2.0**bits)
        shifted = multiply_add(builder, argument, constant(1 / math.log(2)), magic)
        k = builder.fsub(shifted, magic)
        r = multiply_add(builder, k, constant(-high_part), argument)
        r = multiply_add(builder, k, constant(-low_part), r)
        polynomial = constant(1 / math.factorial(degree))
        for power in reversed(range(degree)):
            polynomial = multiply_add(builder, polynomial, r, constant(1 / math.factorial(power)))
        exponent = builder.add(builder.bitcast(shifted, integer), constant_vector(integer, bias))
        power_of_two = builder.bitcast(builder.shl(exponent, constant_vector(integer, bits)), vector)
        result = builder.fmul(polynomial, power_of_two)
        too_low = builder.fcmp_ordered("<", argument, constant(low))
        too_high = builder.fcmp_ordered(">", argument, constant(high))
        result = builder.select(too_high, constant(math.inf), result)
        result = builder.select(too_low, constant(0.0), result)
        return builder.select(builder.fcmp_unordered("uno", argument, argument), argument, result)

    return x(x), codegen


def _folded(builder: Any, value: Any, lanes: int) -> Any:
    """A vector folded to `lanes` lanes: the upper half is added to the lower one, and again."""
    count = value.type.count
    while count > lanes:
        count //= 2
        low, high = list(range(count)), list(range(count, 2 * count))
        value = builder.fadd(shuffled(builder, value, value, low), shuffled(builder, value, value, high))
    return value


def _folded_twin(x: Any, lanes: int) -> Any:
    while len(x) > lanes:
        x = x[: len(x) // 2] + x[len(x) // 2 :]
    return x


def pairwise(x: Any) -> Any:
    """The sum of the lanes, in the order of `total`."""
    return _folded_twin(x, 1)[0]


@operation(pairwise)
def total(typing_context: Any, x: Any) -> Any:
    """The sum of the lanes, halves first: lane i is added to lane i + n/2, then of these n/2 lanes the same."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.extract_element(_folded(builder, arguments[0], 1), INT32(0))

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
        return constant_vector(llvm_type(result), list(range(like.lanes)))

    return result(like), codegen
