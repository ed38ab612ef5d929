"""What is done to each example or each unit of a matrix whose columns are examples.

Rows of the matrices are contiguous, but for those of the cost and of the parameters, which may lie in any way.
Shapes: m examples, H units, C classes.
"""

from __future__ import annotations

import math

from numba import types

from fastfnn.kernels.columns.access import MATRIX, RESULT, TARGET, compiled_for, flat, row_stride
from fastfnn.kernels.compilation import kernel
from fastfnn.kernels.simd import exp, greater, load, maximum, splat, store, where, zeros, zeros_of

SMALLEST = 5e-324  # what a probability that has become 0 counts as


@kernel
def rectify_gradient(dA, Z, dZ, example, shape, like):
    """dZ = dA where Z > 0, else 0, for a vector of examples."""
    for unit in range(shape[0]):
        gradient = load(dA[0], unit * dA[1] + example, like)
        z = load(Z[0], unit * Z[1] + example, like)
        store(where(greater(z, like), gradient, like), dZ, unit * shape[1] + example)


@kernel
def gradient_before_relu(dA, Z, dZ):
    """dZ = dA where Z > 0, else 0; all of one shape."""
    like, shape = zeros(dZ, 64), dZ.shape
    da, z, dz = (flat(dA), row_stride(dA)), (flat(Z), row_stride(Z)), flat(dZ)
    whole = shape[1] - shape[1] % len(like)
    for example in range(0, whole, len(like)):
        rectify_gradient(da, z, dz, example, shape, like)
    for example in range(whole, shape[1]):
        rectify_gradient(da, z, dz, example, shape, zeros_of(like, 1))


@compiled_for(types.void, MATRIX, MATRIX, RESULT)
def relu_backward(dA, Z, dZ):
    """`gradient_before_relu`."""
    gradient_before_relu(dA, Z, dZ)


@kernel
def softmax_of_examples(z, stride, out, example, shape, like):
    """The softmax of a vector of examples, shifted by the largest value of each."""
    classes, examples = shape
    best = load(z, example, like)
    for c in range(1, classes):
        best = maximum(best, load(z, c * stride + example, like))
    sums = like
    for c in range(classes):
        power = exp(load(z, c * stride + example, like) - best)
        store(power, out, c * examples + example)
        sums = sums + power
    for c in range(classes):
        to = c * examples + example
        store(load(out, to, like) / sums, out, to)


@compiled_for(types.void, MATRIX, RESULT)
def softmax(Z, A):
    """A = the softmax of each column of Z."""
    like, shape = zeros(A, 64), A.shape
    whole = shape[1] - shape[1] % len(like)
    for example in range(0, whole, len(like)):
        softmax_of_examples(flat(Z), row_stride(Z), flat(A), example, shape, like)
    for example in range(whole, shape[1]):
        softmax_of_examples(flat(Z), row_stride(Z), flat(A), example, shape, zeros_of(like, 1))


@compiled_for(types.float64, MATRIX, MATRIX, types.float64, types.float64, types.float64)
def cross_entropy(AL, Y, eps, low, high):
    """The sum of -Y * log(AL + eps) where Y is not 0, with AL + eps clipped to low..high; of one shape.

    A probability that has become 0 counts as the smallest number that is not.
    """
    result = 0.0
    for c in range(Y.shape[0]):
        for example in range(Y.shape[1]):
            y = Y[c, example]
            if y != 0.0:
                p = AL[c, example] + eps
                p = low if p < low else high if p > high else p  # NaN stays NaN
                result -= y * math.log(SMALLEST if p == 0.0 else p)
    return result


@kernel
def step_of_range(parameter, gradient, begin, end, rate, like):
    """parameter -= rate * gradient, for a range of whole vectors."""
    for i in range(begin, end, len(like)):
        store(load(parameter, i, like) - splat(rate, like) * load(gradient, i, like), parameter, i)


@kernel
def step(parameter, gradient, rate):
    """parameter -= rate * gradient."""
    rows, columns = parameter.shape
    if parameter.strides == gradient.strides and parameter.strides[0] == columns * 8 and parameter.strides[1] == 8:
        like = zeros(parameter, 64)
        count = rows * columns
        whole = count - count % len(like)
        step_of_range(flat(parameter), flat(gradient), 0, whole, rate, like)
        step_of_range(flat(parameter), flat(gradient), whole, count, rate, zeros_of(like, 1))
        return
    for i in range(rows):
        for j in range(columns):
            parameter[i, j] -= rate * gradient[i, j]


@compiled_for(types.void, TARGET, MATRIX, TARGET, MATRIX, types.float64)
def gradient_step(W, dW, b, db, rate):
    """W -= rate * dW and b -= rate * db; of one shape each."""
    step(W, dW, rate)
    step(b, db, rate)
