"""Activations of hidden layers and their derivatives, on vectors of a tile's units.

A derivative is a function of the activation's output alone, so that the input need not be kept.
"""

from __future__ import annotations

from fastfnn.kernels.compilation import kernel
from fastfnn.kernels.simd import exp, fma, greater, load, maximum, splat, store, where
from fastfnn.kernels.structures import LOGISTIC, TANH

SMALL_TANH = 0.625  # below, 1 - 2 / (exp(2x) + 1) would lose digits
# Below, tanh(x) = x (1 + x**2 p(x**2) / q(x**2)), highest powers first, where q begins with 1 (Moshier, Methods and
# Programs for Mathematical Functions, 1989).
TANH_P = (-9.64399179425052238628e-1, -9.92877231001918586564e1, -1.61468768441708447952e3)
TANH_Q = (1.12811678491632931402e2, 2.23548839060100448583e3, 4.84406305325125486048e3)


@kernel
def at_least(x, lowest):
    """max(x, lowest); NaN stays NaN."""
    return where(greater(lowest, x), lowest, x)


@kernel
def relu(x):
    """max(x, 0); NaN stays NaN."""
    return at_least(x, splat(0, x))


@kernel
def logistic(x):
    """1 / (1 + exp(-x)) to within 4 ulp; 0 where exp(-x) overflows."""
    one = splat(1, x)
    return one / (one + exp(splat(0, x) - x))


@kernel
def tanh(x):
    """The hyperbolic tangent to within 4 ulp; signed zeros, infinities and NaN as usual."""
    zero, one, two = splat(0, x), splat(1, x), splat(2, x)
    size = maximum(zero - x, x)
    square = x * x
    p = fma(fma(splat(TANH_P[0], x), square, splat(TANH_P[1], x)), square, splat(TANH_P[2], x))
    q = fma(fma(square + splat(TANH_Q[0], x), square, splat(TANH_Q[1], x)), square, splat(TANH_Q[2], x))
    of_small = x * fma(square, p / q, one)
    of_large = one - two / (exp(size + size) + one)
    of_large = where(greater(zero, x), zero - of_large, of_large)
    return where(greater(splat(SMALL_TANH, x), size), of_small, of_large)


@kernel
def rectify(workspace, x_at, count, like):
    """x becomes max(x, 0), for `count` vectors."""
    lanes = len(like)
    for i in range(count):
        store(relu(load(workspace, x_at + i * lanes, like)), workspace, x_at + i * lanes)


@kernel
def relu_backward(workspace, da_at, a_at, count, scale, like):
    """da becomes the gradient of the ReLU's input, for `count` vectors.

    `scale` is what dropout has multiplied the outputs by that it kept: a > 0 says that a unit was open, and kept.
    """
    zero = splat(0, like)
    factor = splat(scale, like)
    lanes = len(like)
    for i in range(count):
        da = load(workspace, da_at + i * lanes, like)
        a = load(workspace, a_at + i * lanes, like)
        store(where(greater(a, zero), da * factor, zero), workspace, da_at + i * lanes)


@kernel
def forward(workspace, x_at, count, activation, like):
    """x becomes its activation, which is another than ReLU, for `count` vectors."""
    lanes = len(like)
    for at in range(x_at, x_at + count * lanes, lanes):
        x = load(workspace, at, like)
        if activation == LOGISTIC:
            store(logistic(x), workspace, at)
        elif activation == TANH:
            store(tanh(x), workspace, at)


@kernel
def slope(a, activation):
    """The derivative at the input whose output is `a`."""
    one = splat(1, a)
    if activation == LOGISTIC:
        return a * (one - a)
    if activation == TANH:
        return one - a * a
    return one


@kernel
def backward(workspace, da_at, a_at, count, scale, activation, like):
    """`relu_backward` for other activations, but da is 0 already for what dropout has not kept."""
    lanes = len(like)
    unscaled = splat(1.0 / scale, like)
    for i in range(0, count * lanes, lanes):
        a = load(workspace, a_at + i, like) * unscaled
        store(load(workspace, da_at + i, like) * slope(a, activation), workspace, da_at + i)
