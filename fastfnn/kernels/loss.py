"""Softmax and cross-entropy from logits, on one tile."""

from __future__ import annotations

import math

import numpy as np

from fastfnn.kernels.compilation import kernel
from fastfnn.kernels.simd import at, equal, exp, greater, load, prefetch, splat, store, total, where

EXAMPLES_AHEAD = 128  # whose labels, in random order, are in other cache lines
EXAMPLES_OF_LINE = 8  # of the order


@kernel
def load_labels(labels, order, end, position, count, scratch, like):
    """The labels of `count` examples as lanes, -1 in the lanes behind them; those of later ones are prefetched.

    And so is the order, of which small batches see nothing so far ahead but here.
    """
    lanes = len(like)
    for lane in range(0, lanes, EXAMPLES_OF_LINE):
        prefetch(order, position + lane + 2 * EXAMPLES_AHEAD)
    ahead = min(position + EXAMPLES_AHEAD, end - lanes)
    if ahead > position:
        for lane in range(lanes):
            prefetch(labels, at(order, ahead + lane))
    if count == lanes:  # without a branch for each lane
        for lane in range(lanes):
            scratch[lane] = at(labels, at(order, position + lane))
    else:
        for lane in range(lanes):
            scratch[lane] = at(labels, at(order, position + lane)) if lane < count else -1
    return load(scratch, 0, like)


@kernel
def load_weights(weights, order, position, count, scratch, like):
    """The weights of `count` examples as lanes, 0 in the lanes behind them."""
    for lane in range(len(like)):
        scratch[lane] = weights[order[position + lane]] if lane < count else 0.0
    return load(scratch, 0, like)


@kernel
def softmax_cross_entropy(workspace, logits_at, classes, targets, order, end, position, count, factor, scratch, like):
    """Turns the logits (C, V) of a tile into the gradient of factor * cross-entropy, 0 in lanes without an example.

    Returns the weighted sum of the examples' cross-entropies, by log-sum-exp about the largest logit, and the number of
    examples whose largest logit is their label's (the first of equal ones counts).

    One unit alone is the logit of the second of two classes; that of the first one is 0.
    """
    lanes = len(like)
    label = load_labels(targets.labels, order, end, position, count, scratch, like)
    first = 1 if classes == 1 else 0  # the class of the first unit
    best = like
    if first == 0:
        best = load(workspace, logits_at, like)
    best_class = like
    of_label = best
    for c in range(1 - first, classes):
        z = load(workspace, logits_at + c * lanes, like)
        better = greater(z, best)
        best = where(better, z, best)
        best_class = where(better, splat(c + first, like), best_class)
        of_label = where(equal(label, splat(c + first, like)), z, of_label)
    sums = like
    if first == 1:
        sums = exp(like - best)
    for c in range(classes):
        e = exp(load(workspace, logits_at + c * lanes, like) - best)
        store(e, workspace, logits_at + c * lanes)
        sums = sums + e
    is_example = greater(label, splat(-0.5, like))
    weights = where(is_example, splat(factor, like), like)
    if targets.weighted:
        weights = weights * load_weights(targets.weights, order, position, count, scratch, like)
    scale = weights / sums
    for c in range(classes):
        softmax = load(workspace, logits_at + c * lanes, like) * scale
        target = where(equal(label, splat(c + first, like)), weights, like)
        store(where(is_example, softmax - target, like), workspace, logits_at + c * lanes)
    correct = total(where(equal(label, best_class), splat(1, like), like))
    losses = sum_of_losses(where(is_example, sums, splat(1, like)), where(is_example, of_label - best, like), scratch)
    if targets.weighted:
        losses = weighted_sum_of_losses(sums, of_label - best, targets.weights, order, position, count, scratch)
    return losses, np.int64(correct)


@kernel
def sum_of_losses(sums, shifted, scratch):
    """log(sums) - shifted, added over all lanes in float64.

    The logarithm is taken of the product: every factor is between 1 and the number of classes. Two lanes at a time, of
    which the product waits for no other one.
    """
    lanes, half = len(sums), len(sums) // 2
    store(sums, scratch, 0)
    store(shifted, scratch, lanes)
    product, loss = 1.0, 0.0
    for lane in range(half):
        product *= np.float64(at(scratch, lane)) * np.float64(at(scratch, half + lane))
        loss -= np.float64(at(scratch, lanes + lane)) + np.float64(at(scratch, lanes + half + lane))
    return math.log(product) + loss


@kernel
def weighted_sum_of_losses(sums, shifted, weights, order, position, count, scratch):
    """The same with a weight for each lane; those of weight 0 are left out, whatever their loss."""
    lanes = len(sums)
    store(sums, scratch, 0)
    store(shifted, scratch, lanes)
    loss = 0.0
    for lane in range(count):
        weight = weights[order[position + lane]]
        if weight > 0:
            loss += weight * (math.log(np.float64(at(scratch, lane))) - np.float64(at(scratch, lanes + lane)))
    return loss
