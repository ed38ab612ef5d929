"""Matrix registers, which Intel calls tiles (AMX): products of small matrices of 16-bit floats, summed in float32.

A register holds up to 16 rows of 16 words of 32 bits, in memory as rows so many elements apart. Two registers are
multiplied as matrices whose words are pairs of bfloat16 numbers, float32 without its last 16 bits:

    sums[i, j] += sum over k of low(x[i, k]) * low(y[k, j]) + high(x[i, k]) * high(y[k, j])

A float32 is the sum of three bfloat16, of which the first has its first eight bits, and so on. Products of two of them
are exact in float32; so a product of float32 matrices is the sum of six or more products of such parts, and is as
precise as if it were computed in float32. (Henry, Tang and Heinecke 2019, Leveraging the bfloat16 Artificial
Intelligence Datatype For Higher-Precision Computations.)

Sums of two by two registers, or fewer, are a grid; what is given as `grid` is an example of one, a tuple of blocks. A
thread must be given its registers before it uses them, and gives them back.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastfnn.kernels.processor import SIDE
from fastfnn.kernels.simd.grids import strided
from fastfnn.kernels.simd.vectors import (
    INT32,
    VectorType,
    call_intrinsic,
    constant_vector,
    llvm_type,
    operation,
    pointer_to,
)

SQUARE = SIDE * SIDE  # elements of a full register
PAIRS_OF_SQUARE = 2 * SIDE  # terms of a product of two registers
HALF = 0xFFFF0000
ROUND = 0x8000
INT8, INT64 = ir.IntType(8), ir.IntType(64)

FIRST_SUMS, FIRST_X, FIRST_Y = 0, 4, 6  # numbers of registers: four of sums, two of each factor
_state: dict[int, Any] = {}  # what the twins have in registers


def _rows_of(number: int, rows: tuple[int, int]) -> int:
    """How many rows a register has: sums and x as many as there are rows of sums, y always all."""
    if number >= FIRST_Y:
        return SIDE
    return rows[(number - FIRST_X) % 2] if number >= FIRST_X else rows[number // 2]


def _take_twin(first: int, second: int) -> None:
    for number in range(8):
        _state[number] = np.zeros((_rows_of(number, (first, second)), SIDE), np.float32)


@operation(_take_twin)
def take_matrix_registers(typing_context: Any, first: Any, second: Any) -> Any:
    """Gives this thread matrix registers, with so many rows, at most 16, for the first and second row of grids."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows = [builder.trunc(value, INT8) for value in arguments]
        place = cgutils.alloca_once(builder, ir.ArrayType(INT8, 64))
        builder.store(ir.Constant(ir.ArrayType(INT8, 64), [1] + [0] * 15 + [64, 0] * 8 + [0] * 32), place)
        for number in range(8):
            of_row = _rows_of(number, (0, 1))
            count = INT8(SIDE) if of_row == SIDE else rows[of_row]
            builder.store(count, builder.gep(place, [INT32(0), INT32(48 + number)]))
        pointer = builder.bitcast(place, INT8.as_pointer())
        call_intrinsic(builder, "llvm.x86.ldtilecfg", ir.VoidType(), [pointer])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), codegen


def _leave_twin() -> None:
    _state.clear()


@operation(_leave_twin)
def leave_matrix_registers(typing_context: Any) -> Any:
    """Gives the registers back: what has them is slower to be interrupted, and the processor to sleep."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        call_intrinsic(builder, "llvm.x86.tilerelease", ir.VoidType(), [])
        return context.get_dummy_value()

    return types.void(), codegen


def _shape(grid: Any) -> tuple[int, int]:
    return grid.count, grid.dtype.count


def _move(
    context: Any, builder: Any, name: str, number: int, array_type: Any, array: Any, offset: Any, stride: Any
) -> None:
    """Loads or stores a register whose rows are `stride` elements apart."""
    pointer = pointer_to(context, builder, array_type, array, offset, INT8)
    arguments = [INT8(number), pointer, builder.mul(stride, ir.Constant(stride.type, 4))]
    call_intrinsic(builder, name, ir.VoidType(), arguments)


def _numbers(grid: Any) -> list[tuple[int, int, int]]:
    """Row, column and register of each of a grid's sums."""
    return [(i, j, FIRST_SUMS + 2 * i + j) for i in range(len(grid)) for j in range(len(grid[0]))]


def _square(array: Any, offset: int, rows: int, stride: int) -> Any:
    return np.stack([array[offset + i * stride : offset + i * stride + SIDE] for i in range(rows)])


def _load_sums_twin(array: Any, offset: int, row_step: int, column_step: int, stride: int, grid: Any) -> None:
    for i, j, number in _numbers(grid):
        _state[number] = _square(array, offset + i * row_step + j * column_step, len(_state[number]), stride)


def _moved_sums(name: str) -> Any:
    def typed(
        typing_context: Any, array: Any, offset: Any, row_step: Any, column_step: Any, stride: Any, grid: Any
    ) -> Any:
        rows, columns = _shape(grid)

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            data, offset, row_step, column_step, stride, _ = arguments
            for i, row in enumerate(strided(builder, offset, row_step, rows)):
                for j, at in enumerate(strided(builder, row, column_step, columns)):
                    _move(context, builder, name, FIRST_SUMS + 2 * i + j, array, data, at, stride)
            return context.get_dummy_value()

        return types.void(array, types.intp, types.intp, types.intp, types.intp, grid), codegen

    return typed


def _store_sums_twin(array: Any, offset: int, row_step: int, column_step: int, stride: int, grid: Any) -> None:
    for i, j, number in _numbers(grid):
        for k, row in enumerate(_state[number]):
            at = offset + i * row_step + j * column_step + k * stride
            array[at : at + SIDE] = row


#: Loads the sums of a grid: (i, j) from array[offset + i * row_step + j * column_step] on, rows `stride` apart.
load_sums = operation(_load_sums_twin)(_moved_sums("llvm.x86.tileloadd64"))
#: Stores them.
store_sums = operation(_store_sums_twin)(_moved_sums("llvm.x86.tilestored64"))


def _load_factors_twin(array: Any, offset: int, step: int, row: Any) -> None:
    for j in range(len(row)):
        _state[FIRST_Y + j] = _square(array, offset + j * step, SIDE, SIDE)


@operation(_load_factors_twin)
def load_factors(typing_context: Any, array: Any, offset: Any, step: Any, row: Any) -> Any:
    """Loads the second factors of a grid's columns, `row` being one of its rows: j from array[offset + j * step] on."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        stride = ir.Constant(INT64, SIDE)
        for j, at in enumerate(strided(builder, arguments[1], arguments[2], row.count)):
            _move(context, builder, "llvm.x86.tileloadd64", FIRST_Y + j, array, arguments[0], at, stride)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, row), codegen


def _halves(words: Any) -> tuple[Any, Any]:
    bits = np.ascontiguousarray(words).view(np.uint32)
    low, high = (bits << np.uint32(16)).view(np.float32), (bits & np.uint32(HALF)).view(np.float32)
    return low.astype(np.float64), high.astype(np.float64)


def _add_products_twin(array: Any, offset: int, step: int, grid: Any) -> None:
    for i, j, number in _numbers(grid):
        _load_register_twin(FIRST_X + i, array, offset + i * step, SIDE)
        _add_product_twin(number, FIRST_X + i, FIRST_Y + j)


@operation(_add_products_twin)
def add_products(typing_context: Any, array: Any, offset: Any, step: Any, grid: Any) -> Any:
    """Adds products to a grid: sums (i, j) get that of the words from array[offset + i * step] on and of factor j."""
    rows, columns = _shape(grid)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        stride = ir.Constant(INT64, SIDE)
        for i, at in enumerate(strided(builder, arguments[1], arguments[2], rows)):
            _move(context, builder, "llvm.x86.tileloadd64", FIRST_X + i, array, arguments[0], at, stride)
        for i in range(rows):
            for j in range(columns):
                numbers = [INT8(FIRST_SUMS + 2 * i + j), INT8(FIRST_X + i), INT8(FIRST_Y + j)]
                call_intrinsic(builder, "llvm.x86.tdpbf16ps", ir.VoidType(), numbers)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, grid), codegen


def _is_literal(*numbers: Any) -> bool:
    return all(isinstance(number, types.IntegerLiteral) for number in numbers)


def _load_register_twin(number: int, array: Any, offset: int, stride: int) -> None:
    _state[number] = _square(array, offset, len(_state[number]), stride)


def _moved_register(name: str) -> Any:
    def typed(typing_context: Any, number: Any, array: Any, offset: Any, stride: Any) -> Any:
        if not _is_literal(number):
            return None

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _, data, at, step = arguments
            _move(context, builder, name, number.literal_value, array, data, at, step)
            return context.get_dummy_value()

        return types.void(number, array, types.intp, types.intp), codegen

    return typed


def _store_register_twin(number: int, array: Any, offset: int, stride: int) -> None:
    for i, row in enumerate(_state[number]):
        array[offset + i * stride : offset + i * stride + SIDE] = row


#: Loads the register of this number, a literal, from array[offset] on, rows `stride` apart.
load_register = operation(_load_register_twin, prefer_literal=True)(_moved_register("llvm.x86.tileloadd64"))
#: Stores it.
store_register = operation(_store_register_twin, prefer_literal=True)(_moved_register("llvm.x86.tilestored64"))


def _clear_register_twin(number: int) -> None:
    _state[number] = np.zeros_like(_state[number])


@operation(_clear_register_twin, prefer_literal=True)
def clear_register(typing_context: Any, number: Any) -> Any:
    """Fills the register of this number, a literal, with zeros."""
    if not _is_literal(number):
        return None

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        call_intrinsic(builder, "llvm.x86.tilezero", ir.VoidType(), [INT8(number.literal_value)])
        return context.get_dummy_value()

    return types.void(number), codegen


def _clear_sums_twin(grid: Any) -> None:
    for _, _, number in _numbers(grid):
        _clear_register_twin(number)


@operation(_clear_sums_twin)
def clear_sums(typing_context: Any, grid: Any) -> Any:
    """Fills the sums of a grid with zeros."""
    rows, columns = _shape(grid)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        for i in range(rows):
            for j in range(columns):
                call_intrinsic(builder, "llvm.x86.tilezero", ir.VoidType(), [INT8(FIRST_SUMS + 2 * i + j)])
        return context.get_dummy_value()

    return types.void(grid), codegen


def _add_product_twin(sums: int, x: int, y: int) -> None:
    (low, high), (y_low, y_high) = _halves(_state[x]), _halves(_state[y])
    _state[sums] = (_state[sums] + low @ y_low + high @ y_high).astype(np.float32)


@operation(_add_product_twin, prefer_literal=True)
def add_product(typing_context: Any, sums: Any, x: Any, y: Any) -> Any:
    """Adds the product of two registers to a third one, all by their numbers, which are literals."""
    if not _is_literal(sums, x, y):
        return None

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        numbers = [INT8(number.literal_value) for number in (sums, x, y)]
        call_intrinsic(builder, "llvm.x86.tdpbf16ps", ir.VoidType(), numbers)
        return context.get_dummy_value()

    return types.void(sums, x, y), codegen


def _bfloat16(added: int) -> Any:
    """The bfloat16 that is left of each float32 lane when something has been added to its bits."""

    def twin(x: Any) -> Any:
        return ((x.view(np.uint32) + np.uint32(added)) & np.uint32(HALF)).view(np.float32)

    @operation(twin)
    def apply(typing_context: Any, x: Any) -> Any:
        if not isinstance(x, VectorType) or x.dtype != types.float32:
            return None

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            words = ir.VectorType(INT32, x.lanes)
            bits = builder.add(builder.bitcast(arguments[0], words), constant_vector(words, added))
            return builder.bitcast(builder.and_(bits, constant_vector(words, HALF)), llvm_type(x))

        return x(x), codegen

    return apply


#: The nearest bfloat16 of each float32 lane, as a float32; of two, the one that is farther from zero.
nearest_half = _bfloat16(ROUND)
#: The first sixteen bits of each float32 lane: the next bfloat16 towards zero.
leading_half = _bfloat16(0)


def paired_twin(x: Any, y: Any) -> Any:
    """Twin of `paired`."""
    return ((x.view(np.uint32) >> np.uint32(16)) | y.view(np.uint32)).view(np.float32)


def pair_of(builder: Any, x: Any, y: Any) -> Any:
    """The code of `paired`."""
    words = ir.VectorType(INT32, x.type.count)
    low = builder.lshr(builder.bitcast(x, words), constant_vector(words, 16))
    return builder.bitcast(builder.or_(low, builder.bitcast(y, words)), x.type)


@operation(paired_twin)
def paired(typing_context: Any, x: Any, y: Any) -> Any:
    """Words whose low half is the bfloat16 of x and whose high half that of y, which are nothing but that."""
    if not isinstance(x, VectorType) or x != y or x.dtype != types.float32:
        return None

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return pair_of(builder, *arguments)

    return x(x, y), codegen
