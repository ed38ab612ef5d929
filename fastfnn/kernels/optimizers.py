"""One step of an optimiser on the parameters begin..end-1; ranges begin and end at whole vectors.

After it, the gradients of the range are zeros. Steps are counted from 1.
"""

from __future__ import annotations

from fastfnn.kernels.compilation import kernel
from fastfnn.kernels.simd import fma, load, quotient, splat, sqrt, store
from fastfnn.kernels.structures import ADAMW, NESTEROV


@kernel
def take(gradients, parameters, i, decay, like):
    """The gradient with that of the penalty, decay * w; leaves zeros, which the next step adds to."""
    gradient = load(gradients, i, like)
    store(like, gradients, i)
    return fma(splat(decay, like), load(parameters, i, like), gradient)


@kernel
def sgd(buffers, settings, begin, end, rate, decay, step, like):
    """w -= rate * dw."""
    parameters, gradients = buffers.parameters, buffers.gradients
    for i in range(begin, end, len(like)):
        dw = take(gradients, parameters, i, decay, like)
        store(fma(splat(-rate, like), dw, load(parameters, i, like)), parameters, i)


@kernel
def momentum(buffers, settings, begin, end, rate, decay, step, like):
    """Polyak's momentum, or Nesterov's with the look-ahead folded into the gradient (Sutskever et al. 2013)."""
    parameters, gradients, velocity = buffers.parameters, buffers.gradients, buffers.first_moment
    mu, nesterov = settings.momentum, settings.optimizer == NESTEROV
    for i in range(begin, end, len(like)):
        dw = take(gradients, parameters, i, decay, like)
        v = fma(splat(mu, like), load(velocity, i, like), dw)
        store(v, velocity, i)
        direction = fma(splat(mu, like), v, dw) if nesterov else v
        store(fma(splat(-rate, like), direction, load(parameters, i, like)), parameters, i)


@kernel
def adam(buffers, settings, begin, end, rate, decay, step, like):
    """Kingma and Ba (2015), algorithm 1; AdamW (Loshchilov and Hutter 2019) applies the penalty to the weights."""
    parameters, gradients = buffers.parameters, buffers.gradients
    first, second = buffers.first_moment, buffers.second_moment
    decoupled = settings.optimizer == ADAMW
    correction1 = 1 / (1 - settings.beta1**step)
    correction2 = 1 / (1 - settings.beta2**step)
    for i in range(begin, end, len(like)):
        w = load(parameters, i, like)
        dw = take(gradients, parameters, i, 0.0 if decoupled else decay, like)
        m = fma(splat(settings.beta1, like), load(first, i, like), splat(1 - settings.beta1, like) * dw)
        v = fma(splat(settings.beta2, like), load(second, i, like), splat(1 - settings.beta2, like) * dw * dw)
        store(m, first, i)
        store(v, second, i)
        deviation = sqrt(v * splat(correction2, like)) + splat(settings.epsilon, like)
        if decoupled:
            w = fma(splat(-rate * decay, like), w, w)
        store(w - quotient(splat(rate * correction1, like) * m, deviation), parameters, i)


@kernel
def add(target, groups, size, count, begin, end, clears, like):
    """target[begin:end] += the same range of so many groups, which follow each other `size` apart.

    These become zeros if `clears`.
    """
    for i in range(begin, end, len(like)):
        total = load(groups, i, like)
        for at in range(i + size, i + count * size, size):
            total = total + load(groups, at, like)
        if clears:
            for at in range(i, i + count * size, size):
                store(like, groups, at)
        store(load(target, i, like) + total, target, i)


@kernel
def clear(gradients, begin, end, like):
    """gradients[begin:end] = 0."""
    for i in range(begin, end, len(like)):
        store(like, gradients, i)


@kernel
def scale(parameters, begin, end, factor, like):
    """parameters[begin:end] *= factor."""
    for i in range(begin, end, len(like)):
        store(load(parameters, i, like) * splat(factor, like), parameters, i)
