"""Products with a matrix of examples as columns that is mostly zeros: only what is not zero is multiplied.

Both passes of a layer are one operation with its roles exchanged: rows of a table `out` get rows of a table `factors`
times the numbers of the matrix,

    forward   z.T[example] += a[feature, example] * W.T[feature]
    backward  dW.T[feature] += a[feature, example] * dz.T[example]

where a row of a table has up to four vectors of units. The matrix is read along its contiguous direction, 64 numbers at
a time, of which a word says which ones count. If factors are numbered along it, rows of `out` are gathered in
registers, else rows of factors are scattered.

Zeros are skipped, but 0 * NaN is NaN: tables of factors with a number that is not finite are refused.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastfnn.kernels.columns.access import add_multiple, lowest, nonzeros, size, without_lowest
from fastfnn.kernels.columns.tables import SQUARE, Table, Units, clear, fill, spill
from fastfnn.kernels.compilation import kernel
from fastfnn.kernels.simd import add_grid, fma_grid, load_grid, prefetch, repeat, zeros_of

WORD = 64
PANEL = 32  # units that a row of a table has room for
ALONG = 1024  # features at a time: their rows of a table stay in the nearer caches
ACROSS = 128  # examples at a time
SCRATCH = ACROSS * PANEL + SQUARE + 8  # numbers of scratch memory, and PANEL a feature
SAMPLES = 16  # lines by which the density is judged
MOST_NONZEROS = 0.3  # above, a dense product takes less time


class Lines(NamedTuple):
    """A matrix as lines, whose numbers are contiguous."""

    values: Any
    stride: int  # from a line to the next one
    lines: int
    length: int
    ahead: int  # from a number to the one that is prefetched meanwhile


class Tables(NamedTuple):
    """Rows of vectors of units; a row of the one that is numbered across lines, and along them."""

    values: Any
    across_at: int
    along_at: int
    width: int


@kernel
def nonzeros_of(x, start, count, like):
    """The set of the numbers below `count`, at most 64, for which x[start + number] is not zero."""
    if count == WORD:
        return nonzeros(x, start, 0, zeros_of(like, 64))
    word = np.uint64(0)
    whole = count - count % len(like)
    for i in range(0, whole, len(like)):
        word |= nonzeros(x, start + i, i, like)
    for i in range(whole, count):
        word |= nonzeros(x, start + i, i, zeros_of(like, 1))
    return word


@kernel
def ask_for(x, start, count, like):
    """Prefetches what will be needed soon: so many numbers from x[start] on, which need not exist."""
    for i in range(start, start + count, len(like)):
        prefetch(x, i)


@kernel
def is_mostly_zeros(x, like):
    """Judged by lines spread evenly over the matrix."""
    step = max(1, x.lines // SAMPLES)
    found, seen = 0, 0
    for line in range(step // 2, x.lines, step):
        for start in range(0, x.length, WORD):
            word = nonzeros_of(x.values, line * x.stride + start, min(WORD, x.length - start), like)
            found += size(word)
        seen += x.length
    return found < MOST_NONZEROS * seen


@kernel
def gather(x, line, first, last, tables, row):
    """across[line] += the sum over the numbers i of a line, first..last-1, of x[line, i] * along[i].

    Two sums, so that no multiply-add waits for the one before it.
    """
    lanes, width, values = len(row[0][0]), tables.width, tables.values
    sums, more = row, row
    for start in range(first, last, WORD):
        word_at, factors_at = line * x.stride + start, tables.along_at + (start - first) * width
        count = min(WORD, last - start)
        ask_for(x.values, word_at + x.ahead, count, row[0][0])
        word = nonzeros_of(x.values, word_at, count, row[0][0])
        while word != 0:
            i = lowest(word)
            sums = fma_grid(values, factors_at + i * width, lanes, x.values, word_at + i, 0, sums)
            word = without_lowest(word)
            if word == 0:
                break
            i = lowest(word)
            more = fma_grid(values, factors_at + i * width, lanes, x.values, word_at + i, 0, more)
            word = without_lowest(word)
    to = tables.across_at + line * width
    add_grid(sums, values, to, lanes, 0)
    add_grid(more, values, to, lanes, 0)


@kernel
def scatter(x, line, first, last, tables, row):
    """along[i] += x[line, i] * across[line], for the numbers i of a line, first..last-1."""
    width, values = tables.width, tables.values
    factors = load_grid(values, tables.across_at + line * width, len(row[0][0]), 0, row)
    for start in range(first, last, WORD):
        word_at, out_at = line * x.stride + start, tables.along_at + (start - first) * width
        count = min(WORD, last - start)
        ask_for(x.values, word_at + x.ahead, count, row[0][0])
        word = nonzeros_of(x.values, word_at, count, row[0][0])
        while word != 0:
            i = lowest(word)
            add_multiple(factors, x.values, word_at + i, values, out_at + i * width)
            word = without_lowest(word)


class Job(NamedTuple):
    """A product with a matrix of features and examples, its lines being the one or the other."""

    x: Lines
    by_example: bool
    features: int
    examples: int
    scratch: Any


@kernel
def multiply_lines(x, first_line, last_line, first, last, tables, gathering, row):
    """Does the operation for the numbers first..last-1 of some lines."""
    for line in range(first_line, last_line):
        if gathering:
            gather(x, line, first, last, tables, row)
        else:
            scatter(x, line, first, last, tables, row)


@kernel
def multiply_chunk(job, begin, end, of_features, of_examples, forward, row):
    """The operation for all features and the examples begin..end-1, whose table begins with the first of them."""
    width, values = of_features.width, of_features.values
    if job.by_example:
        across_at = of_examples.at - begin * width
        for first in range(0, job.features, ALONG):
            last = min(first + ALONG, job.features)
            tables = Tables(values, across_at, of_features.at + first * width, width)
            multiply_lines(job.x, begin, end, first, last, tables, forward, row)
    else:
        tables = Tables(values, of_features.at, of_examples.at, width)
        multiply_lines(job.x, 0, job.features, begin, end, tables, not forward, row)


@kernel
def tables_of(job, width):
    """The tables of features and of a chunk of examples."""
    at_examples = job.features * width
    square = at_examples + ACROSS * width
    return Table(job.scratch, 0, width, square), Table(job.scratch, at_examples, width, square)


@kernel
def forward_panel(job, weights, outputs, finish, row):
    """outputs = weights @ x, finished, for a panel of units; returns whether the weights are finite."""
    like = row[0][0]
    of_features, of_examples = tables_of(job, len(row) * len(like))
    if not fill(weights, 0, job.features, of_features, like):
        return False
    for begin in range(0, job.examples, ACROSS):
        end = min(begin + ACROSS, job.examples)
        clear(of_examples, end - begin, like)
        multiply_chunk(job, begin, end, of_features, of_examples, True, row)
        spill(of_examples, begin, end, outputs, finish, like)
    return True


@kernel
def backward_panel(job, dz, gradients, finish, row):
    """gradients = dz @ x.T, finished, for a panel of units; returns whether dz is finite."""
    like = row[0][0]
    of_features, of_examples = tables_of(job, len(row) * len(like))
    clear(of_features, job.features, like)
    for begin in range(0, job.examples, ACROSS):
        end = min(begin + ACROSS, job.examples)
        if not fill(dz, begin, end, of_examples, like):
            return False
        multiply_chunk(job, begin, end, of_features, of_examples, False, row)
    spill(of_features, 0, job.features, gradients, finish, like)
    return True


@kernel
def panel(job, source, target, finish, forward, row):
    """Either pass for a panel of units."""
    if forward:
        return forward_panel(job, source, target, finish, row)
    return backward_panel(job, source, target, finish, row)


@kernel
def multiply(job, source, target, finish, forward, like):
    """Either pass for all units; returns whether what is skipped could not matter."""
    vector = repeat(like, 1)
    for unit in range(0, source.number, PANEL):
        count = min(PANEL, source.number - unit)
        vectors = (count + len(like) - 1) // len(like)
        of_panel = Units(source.values, unit, count, source.stride)
        to = Units(target.values, unit, count, target.stride)
        if vectors == 1:
            finite = panel(job, of_panel, to, finish, forward, repeat(vector, 1))
        elif vectors == 2:
            finite = panel(job, of_panel, to, finish, forward, repeat(vector, 2))
        elif vectors == 3:
            finite = panel(job, of_panel, to, finish, forward, repeat(vector, 3))
        else:
            finite = panel(job, of_panel, to, finish, forward, repeat(vector, 4))
        if not finite:
            return False
    return True
