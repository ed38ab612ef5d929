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
and unsigned ones also ^ and &. Arrays are one-dimensional and contiguous, or pointers; offsets count elements, must
not be negative and are not checked.

Matrix registers, where the processor has some, are in `matrices`, and products of bytes in `fixed_point`.

Every operation has a NumPy twin, which is its specification and takes its place when compilation is disabled
(NUMBA_DISABLE_JIT=1), where a vector is an array of its lanes.
"""

from fastfnn.kernels.processor import REGISTER_BYTES, REGISTERS, ROOMY, SIDE, VECTOR_BYTES
from fastfnn.kernels.simd.arithmetic import (
    equal,
    exp,
    first_lane,
    fma,
    greater,
    lane_numbers,
    maximum,
    not_below,
    quotient,
    sqrt,
    total,
    where,
)
from fastfnn.kernels.simd.columns import (
    COLUMNS_TOGETHER,
    PACKED,
    as_words,
    columns_of_vectors,
    fma_columns,
    long_words,
    put_in_column,
    size_of_columns,
    transpose_long_rows,
    transpose_pairs,
    transpose_rows,
)
from fastfnn.kernels.simd.fixed_point import (
    LARGEST,
    add_sums,
    bytes_together,
    dot_grid,
    fixed_point,
    four_rows,
    largest,
    store_four_rows,
)
from fastfnn.kernels.simd.grids import (
    add_grid,
    add_loads,
    fma_grid,
    load_grid,
    rectify_grid,
    repeat,
    splat_grid,
    store_grid,
)
from fastfnn.kernels.simd.loops import not_unrolled
from fastfnn.kernels.simd.matrices import (
    PAIRS_OF_SQUARE,
    SQUARE,
    add_product,
    add_products,
    clear_register,
    clear_sums,
    leading_half,
    leave_matrix_registers,
    load_factors,
    load_register,
    load_sums,
    nearest_half,
    paired,
    store_register,
    store_sums,
    take_matrix_registers,
)
from fastfnn.kernels.simd.memory import (
    address,
    at,
    by_pointers,
    call_address,
    call_kernel,
    itemsize,
    load,
    load_converted,
    narrow,
    prefetch,
    prefetch_near,
    splat,
    splat_lane,
    store,
    zeros,
    zeros_of,
)
from fastfnn.kernels.simd.tiles import backward_tile, forward_tile, gradient_tile, rows_of_tile
from fastfnn.kernels.simd.transposes import outer_fma, store_totals, transpose
from fastfnn.kernels.simd.vectors import (
    INT32,
    VectorType,
    data_of,
    operation,
)

__all__ = [
    "COLUMNS_TOGETHER",
    "INT32",
    "LARGEST",
    "PACKED",
    "PAIRS_OF_SQUARE",
    "REGISTERS",
    "REGISTER_BYTES",
    "ROOMY",
    "SIDE",
    "SQUARE",
    "VECTOR_BYTES",
    "VectorType",
    "add_grid",
    "add_loads",
    "add_product",
    "add_products",
    "add_sums",
    "address",
    "as_words",
    "at",
    "backward_tile",
    "by_pointers",
    "bytes_together",
    "call_address",
    "call_kernel",
    "clear_register",
    "clear_sums",
    "columns_of_vectors",
    "data_of",
    "dot_grid",
    "equal",
    "exp",
    "first_lane",
    "fixed_point",
    "fma",
    "fma_columns",
    "fma_grid",
    "forward_tile",
    "four_rows",
    "gradient_tile",
    "greater",
    "itemsize",
    "lane_numbers",
    "largest",
    "leading_half",
    "leave_matrix_registers",
    "load",
    "load_converted",
    "load_factors",
    "load_grid",
    "load_register",
    "load_sums",
    "long_words",
    "maximum",
    "narrow",
    "nearest_half",
    "not_below",
    "not_unrolled",
    "operation",
    "outer_fma",
    "paired",
    "prefetch",
    "prefetch_near",
    "put_in_column",
    "quotient",
    "rectify_grid",
    "repeat",
    "rows_of_tile",
    "size_of_columns",
    "splat",
    "splat_grid",
    "splat_lane",
    "sqrt",
    "store",
    "store_four_rows",
    "store_grid",
    "store_register",
    "store_sums",
    "store_totals",
    "take_matrix_registers",
    "total",
    "transpose",
    "transpose_long_rows",
    "transpose_pairs",
    "transpose_rows",
    "where",
    "zeros",
    "zeros_of",
]
