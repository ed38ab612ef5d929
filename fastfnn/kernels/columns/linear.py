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
from fastfnn.kernels.columns.elementwise import gradient_before_relu
from fastfnn.kernels.columns.listed import Job, Lines
from fastfnn.kernels.columns.products import Product, WeightGradient, multiply, weight_gradient
from fastfnn.kernels.columns.rows import sum_of_row
from fastfnn.kernels.columns.tables import Finish, Units
from fastfnn.kernels.compilation import kernel
from fastfnn.kernels.simd import zeros

DONE, MISMATCH, LEFT = range(3)  # shapes do not fit; the product is left to the caller
SMALL, LARGE = 2**20, 2**22  # multiply-adds of products that are computed in registers: W @ A and dZ @ A.T, W.T @ dZ
NUMBERS_AHEAD, LINES_AHEAD = 512, 4  # what is prefetched where examples are contiguous, and where features are
FEWEST_LISTED = 64  # features of a matrix of which zeros are skipped


@kernel
def lines_of(A):
    """A matrix of examples as columns, as lines: of examples if these are contiguous, else of features."""
    features, examples = A.shape
    if A.strides[0] == NUMBER:
        return Lines(flat(A), A.strides[1] // NUMBER, examples, features, NUMBERS_AHEAD)
    return Lines(flat(A), row_stride(A), features, examples, LINES_AHEAD * row_stride(A))


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


@kernel
def gradients_of_parameters(dZ, A, dW, db, scratch):
    """dW = dZ @ A.T / m and db = the sum over the examples of dZ / m; db is done also where dW is left."""
    units, examples = dZ.shape
    features = A.shape[0]
    if A.shape[1] != examples or dW.shape[0] != units or dW.shape[1] != features:
        return MISMATCH
    if examples == 0:
        return MISMATCH
    like = zeros(scratch, 64)
    values, stride = flat(dZ), row_stride(dZ)
    for u in range(units):
        db[u, 0] = sum_of_row(values, u * stride, examples, like) / examples
    if not is_regular(A):
        return LEFT
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


@kernel
def gradient_of_inputs(W, dZ, dA):
    """dA = W.T @ dZ."""
    units, features = W.shape
    examples = dZ.shape[1]
    if dZ.shape[0] != units:
        return MISMATCH
    if not is_regular(W) or units * features * examples > LARGE:
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


@compiled_for(types.intp, MATRIX, MATRIX, RESULT, RESULT, MEMORY)
def parameter_gradients(dZ, A, dW, db, scratch):
    """`gradients_of_parameters`; rows of dZ are contiguous."""
    return gradients_of_parameters(dZ, A, dW, db, scratch)


@compiled_for(types.intp, MATRIX, MATRIX, RESULT)
def input_gradient(W, dZ, dA):
    """`gradient_of_inputs`; rows of dZ are contiguous."""
    return gradient_of_inputs(W, dZ, dA)


@compiled_for(types.intp, MATRIX, MATRIX, MATRIX, MATRIX, RESULT, RESULT, RESULT, RESULT, MEMORY)
def layer_backward(dZ, A, W, Z_before, dW, db, dA, dZ_before, scratch):
    """All gradients of a layer, and that of the linear outputs of the layer before, whose activation is the ReLU.

    Rows of dZ and Z_before are contiguous; db is done also where the rest is left.
    """
    outcome = gradients_of_parameters(dZ, A, dW, db, scratch)
    if outcome == DONE:
        outcome = gradient_of_inputs(W, dZ, dA)
    if outcome == DONE:
        if Z_before.shape[0] != dA.shape[0] or Z_before.shape[1] != dA.shape[1]:
            return MISMATCH
        gradient_before_relu(dA, Z_before, dZ_before)
    return outcome
