"""Momentum for weights of which a step changes few: those of listed features, where batches are small.

With momentum, every weight moves in every step, even where its gradient is zero; but then all move alike. A step takes
a weight, its velocity and its gradient (w, v, g) to (w, v) = M (w, v) + q g, with the same M and q for all weights. So
what is stored is (a, b) with (w, v) = P (a, b), where P is the product of all M since the last time that it was
multiplied out: of the stored numbers, only those with a gradient change, by P^-1 q g, and what the weights are
multiplied by is P00 a + P01 b. The same idea is behind the scaled weights of plain SGD (Bottou 2010, section 5.1) and
the lazy regularisation of sparse features (Carpenter 2008, "Lazy sparse stochastic gradient descent").

The determinant of P shrinks by that of M, the momentum, with every step. Before P^-1 becomes so large that sums lose
precision, P is multiplied out, which takes as long as a step of the optimiser on all weights; and when a call ends, so
that nobody else has to know.
"""

from __future__ import annotations

from fastfnn.kernels.compilation import inlined_kernel, kernel
from fastfnn.kernels.simd import fma, load, splat, store
from fastfnn.kernels.structures import NESTEROV, SMALLEST_DETERMINANT


@inlined_kernel
def is_possible(settings, rate, decay):
    """Whether the determinant of M is large enough: that of Nesterov's steps can be zero, with a strong penalty."""
    of_penalty = 1.0 - rate * decay if settings.optimizer == NESTEROV else 1.0
    return abs(settings.momentum * of_penalty) >= SMALLEST_DETERMINANT


@inlined_kernel
def is_pending(lazy):
    """Whether there are steps in P."""
    return lazy[4] > 0


@inlined_kernel
def forget(lazy):
    """P becomes the identity."""
    lazy[0], lazy[1], lazy[2], lazy[3], lazy[4] = 1.0, 0.0, 0.0, 1.0, 0.0


@inlined_kernel
def advance(lazy, settings, rate, decay):
    """P becomes M P, for one step; returns what the gradient is multiplied by for a and for b."""
    mu = settings.momentum
    # w -= rate * (of_velocity * v + of_gradient * (g + decay * w)), and v = mu * v + g + decay * w.
    of_velocity, of_gradient = mu, 1.0
    if settings.optimizer == NESTEROV:
        of_velocity, of_gradient = mu * mu, 1.0 + mu
    keep, pull, push = 1.0 - rate * of_gradient * decay, -rate * of_velocity, -rate * of_gradient
    p00, p01 = keep * lazy[0] + pull * lazy[2], keep * lazy[1] + pull * lazy[3]
    p10, p11 = decay * lazy[0] + mu * lazy[2], decay * lazy[1] + mu * lazy[3]
    lazy[0], lazy[1], lazy[2], lazy[3], lazy[4] = p00, p01, p10, p11, lazy[4] + 1.0
    determinant = p00 * p11 - p01 * p10
    return (p11 * push - p01) / determinant, (p00 - p10 * push) / determinant


@inlined_kernel
def is_due(lazy):
    """Whether P has to be multiplied out."""
    determinant = abs(lazy[0] * lazy[3] - lazy[1] * lazy[2])
    return not SMALLEST_DETERMINANT <= determinant <= 1 / SMALLEST_DETERMINANT


@kernel
def multiply_out(ranges, buffers, like):
    """(a, b) becomes (w, v) for ranges of the parameters; P is left to the caller."""
    parameters, velocity, lazy = buffers.parameters, buffers.first_moment, buffers.lazy
    p00, p01, p10, p11 = splat(lazy[0], like), splat(lazy[1], like), splat(lazy[2], like), splat(lazy[3], like)
    for k in range(ranges.size):
        for i in range(ranges.numbers[2 * k], ranges.numbers[2 * k + 1], len(like)):
            a, b = load(parameters, i, like), load(velocity, i, like)
            store(fma(p00, a, p01 * b), parameters, i)
            store(fma(p10, a, p11 * b), velocity, i)
