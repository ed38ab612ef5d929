"""A layer's linear map and its gradients, of matrices whose columns are examples.

What is small is multiplied in registers, what is mostly zeros number by number, and the rest is left to the caller's
matrix library.

Shapes: A (K, m), W (H, K), b (H, 1), Z and dZ (H, m).
"""

from __future__ import annotations

from numba import types

from fastfnn.kernels.columns import listed
from fastfnn.kernels.columns.access import (
    MATRIX,
    MEMORY,
    NUMBER,
    RESULT,
    compiled_for,
    flat,
    has_rows,
    is_regular,
    row_stride,
)
from fastfnn.kernels.columns.listed import Job, Lines
from fastfnn.kernels.columns.products import Product, WeightGradient, multiply, weight_gradient
from fastfnn.kernels.columns.rows import sum_of_row
from fastfnn.kernels.columns.tables import Finish, Units
from fastfnn.kernels.compilation import kernel
from fastfnn.kernels.simd import zeros

DONE, MISMATCH, LEFT = range(3)  # shapes do not fit; the product is left to the caller
SMALL = 2**20  # multiply-adds of a product that is computed in registers
FEWEST_LISTED = 64  # features of a matrix of which zeros are skipped


@kernel
def lines_of(A):
    """A matrix of examples as columns, as lines: of examples if these are contiguous, else of features."""
    features, examples = A.shape
    if A.strides[0] == NUMBER:
        return Lines(flat(A), A.strides[1] // NUMBER, examples, features, listed.ALONG)
    return Lines(flat(A), row_stride(A), features, examples, 4 * row_stride(A))


@kernel
def job_of(A, scratch):
    """What products with A skip."""
    features, examples = A.shape
    return Job(lines_of(A), A.strides[0] == NUMBER, features, examples, flat(scratch))


@kernel
def may_be_listed(A, units):
    """Whether it is worth looking for zeros."""
    features, examples = A.shape
    lines = is_regular(A) and (A.strides[0] == NUMBER or A.strides[1] == NUMBER)
    return lines and features >= FEWEST_LISTED and examples > 0 and units > 0


@compiled_for(types.intp, MATRIX, MATRIX, MATRIX, RESULT, RESULT, types.boolean, MEMORY)
def linear(W, A, b, Z, rectified, rectify, scratch):
    """Z = W @ A + b, and max(Z, 0) in `rectified` if that is wanted."""
    units, features = W.shape
    examples = A.shape[1]
    if A.shape[0] != features or b.shape[0] != units or b.shape[1] != 1:
        return MISMATCH
    like = zeros(scratch, 64)
    biases = (flat(b), row_stride(b))
    if not is_regular(W) or not is_regular(b):
        return LEFT
    if may_be_listed(A, units) and has_rows(W):
        job = job_of(A, scratch)
        if listed.is_mostly_zeros(job.x, like):
            finish = Finish(1.0, biases[0], biases[1], True, flat(rectified), rectify)
            weights = Units(flat(W), 0, units, row_stride(W))
            if listed.multiply(job, weights, Units(flat(Z), 0, units, examples), finish, True, like):
                return DONE
            return LEFT
    if units * features * examples > SMALL or not has_rows(A):
        return LEFT
    product = Product(
        flat(W),
        row_stride(W),
        W.strides[1] // NUMBER,
        flat(A),
        row_stride(A),
        biases[0],
        biases[1],
        flat(Z),
        flat(rectified),
        units,
        features,
        examples,
        True,
        rectify,
    )
    multiply(product, like)
    return DONE


@compiled_for(types.intp, MATRIX, MATRIX, RESULT, RESULT, MEMORY)
def parameter_gradients(dZ, A, dW, db, scratch):
    """dW = dZ @ A.T / m and db = the sum over the examples of dZ / m; db is done also where dW is left."""
    units, examples = dZ.shape
    features = A.shape[0]
    if A.shape[1] != examples or dW.shape[0] != units or dW.shape[1] != features:
        return MISMATCH
    if not has_rows(dZ) or not is_regular(A) or examples == 0:
        return LEFT
    like = zeros(scratch, 64)
    values, stride = flat(dZ), row_stride(dZ)
    for u in range(units):
        db[u, 0] = sum_of_row(values, u * stride, examples, like) / examples
    if may_be_listed(A, units):
        job = job_of(A, scratch)
        if listed.is_mostly_zeros(job.x, like):
            finish = Finish(1.0 / examples, values, 0, False, values, False)
            gradients, factors = Units(flat(dW), 0, units, features), Units(values, 0, units, stride)
            return DONE if listed.multiply(job, factors, gradients, finish, False, like) else LEFT
    if units * features * examples > SMALL or not has_rows(A):
        return LEFT
    product = WeightGradient(
        values, stride, flat(A), row_stride(A), flat(dW), units, features, examples, 1.0 / examples
    )
    weight_gradient(product, scratch, like)
    return DONE


@compiled_for(types.intp, MATRIX, MATRIX, RESULT)
def input_gradient(W, dZ, dA):
    """dA = W.T @ dZ."""
    units, features = W.shape
    examples = dZ.shape[1]
    if dZ.shape[0] != units:
        return MISMATCH
    if not is_regular(W) or not has_rows(dZ) or units * features * examples > 4 * SMALL:
        return LEFT
    product = Product(
        flat(W),
        W.strides[1] // NUMBER,
        row_stride(W),
        flat(dZ),
        row_stride(dZ),
        flat(W),
        0,
        flat(dA),
        flat(dA),
        features,
        units,
        examples,
        False,
        False,
    )
    multiply(product, zeros(dA, 64))
    return DONE
