"""Access to `Rows`: where an example's values lie, asking for them early, converting them to the network's dtype."""

from __future__ import annotations

import numpy as np

from fastfnn.kernels.compilation import inlined_kernel, kernel
from fastfnn.kernels.simd import at, itemsize, load_converted, prefetch, prefetch_near, store
from fastfnn.kernels.structures import BYTES_PER_LINE, RECORDS_BY_KIND, ROWS_AHEAD, ROWS_AT_ONCE, WORDS_OF_ROW

LINES_TOGETHER = 4  # that are asked for at a time: a number of lines that differs from row to row is mispredicted
MANY_EXAMPLES = 1024  # of which the rows leave the second-level cache


@kernel
def row_start(rows, example):
    """Where the values of an example begin."""
    if rows.records:
        return np.intp(at(rows.entries, 2 * example)) * (BYTES_PER_LINE // itemsize(rows.values))
    return example * rows.dense


@kernel
def row_count(rows, example):
    """How many values behind the dense ones a record has."""
    return np.intp(at(rows.entries, 2 * example + 1))


@kernel
def columns_start(rows, start, count):
    """Where the columns of a record begin whose listed values begin at `start`."""
    return (start + count) * itemsize(rows.values) // itemsize(rows.columns)


@inlined_kernel
def prefetch_first_lines(rows, order, position, end, every):
    """Asks for the first lines of rows that come soon, and for where those begin that come after as many again.

    Rows in random order are in pages of which the core does not know the address, and it goes no further than what asks
    for such a page before the page tables have been read. They are read for several rows at the same time.
    """
    if rows.records:
        prefetch_entries(rows, order, position + ROWS_AHEAD, min(position + ROWS_AHEAD + ROWS_AT_ONCE, end), every)
    skipped = rows.dense if rows.records == RECORDS_BY_KIND else 0
    for coming in range(position, min(position + ROWS_AT_ONCE, end), every):
        prefetch(rows.values, row_start(rows, at(order, coming)) + skipped)


@inlined_kernel
def prefetch_entries(rows, order, position, behind, every):
    """Asks where records begin that come soon."""
    for coming in range(position, behind, every):
        prefetch(rows.entries, 2 * at(order, coming))


@inlined_kernel
def prefetch_lines(rows, start, length):
    """Asks for so many values of a row, and what follows."""
    line, last = BYTES_PER_LINE // itemsize(rows.values), start + length - 1
    for first in range(start, start + length, LINES_TOGETHER * line):
        for k in range(first, first + LINES_TOGETHER * line, line):
            prefetch(rows.values, min(k, last))


@inlined_kernel
def prefetch_row(rows, order, position, end):
    """Asks for the row at a position that comes soon, but for dense values that another thread reads."""
    if position < end:
        example = at(order, position)
        start, length = row_start(rows, example), rows.dense
        if rows.records:
            count = row_count(rows, example)
            listed = count + count * itemsize(rows.columns) // itemsize(rows.values)
            if rows.records == RECORDS_BY_KIND:
                start, length = start + length, listed
            else:
                length += listed
        prefetch_lines(rows, start, length)


@inlined_kernel
def prefetch_dense(rows, order, position, end):
    """Asks for the dense values of the row at a position that comes soon."""
    if position < end:
        prefetch_lines(rows, row_start(rows, at(order, position)), rows.dense)


@inlined_kernel
def listed_values(rows, cuts, example):
    """Of an example: where its listed values of a share begin, and their columns, and how many there are."""
    start, count = row_start(rows, example) + rows.dense, row_count(rows, example)
    columns_at = columns_start(rows, start, count)
    if cuts.stride > 0:
        cut_at = example * cuts.stride
        first, behind = np.intp(at(cuts.numbers, cut_at)), np.intp(at(cuts.numbers, cut_at + 1))
        return start + first, columns_at + first, behind - first
    return start, columns_at, count


@inlined_kernel
def prefetch_cuts(cuts, examples, begin, count):
    """Asks where the rows are cut that come later than some examples: that comes from farther away."""
    if cuts.stride > 0:
        for position in range(begin + ROWS_AHEAD, min(begin + ROWS_AHEAD + count, examples.end)):
            prefetch(cuts.numbers, at(examples.order, position) * cuts.stride)


@inlined_kernel
def find_listed(rows, cuts, examples, begin, count, found):
    """Writes where the listed values of the examples from a position on are, and asks for them and their columns.

    How many a row has is mispredicted mostly; then nothing of the next ones has been read ahead.
    """
    for i in range(count):
        start, columns_at, n = listed_values(rows, cuts, at(examples.order, begin + i))
        prefetch_near(rows.values, start)
        prefetch_near(rows.columns, columns_at)
        prefetch_near(rows.columns, columns_at + n)
        found[WORDS_OF_ROW * i] = start
        found[WORDS_OF_ROW * i + 1] = columns_at
        found[WORDS_OF_ROW * i + 2] = n


@inlined_kernel
def found_values(found, i):
    """What `find_listed` has written for an example, as `listed_values`."""
    return at(found, WORDS_OF_ROW * i), at(found, WORDS_OF_ROW * i + 1), at(found, WORDS_OF_ROW * i + 2)


@kernel
def coming_columns(rows, cuts, examples, position, ahead):
    """Of the example that comes `ahead` later: where its listed columns begin, and how many there are.

    There are none where `ahead` is 0, and behind the last example. If it is None, so is what is returned.
    """
    if ahead is None:
        return None
    if ahead == 0 or position + ahead >= examples.end:
        return 0, 0
    _, columns_at, count = listed_values(rows, cuts, at(examples.order, position + ahead))
    return columns_at, count


@inlined_kernel
def convert_dense(rows, example, begin, end, scratch, to, like):
    """The dense values begin..end-1 of an example, to scratch[to]: whole vectors, with zeros behind the last value."""
    start, last = row_start(rows, example), max(begin, min(end, rows.dense))
    whole = begin + (last - begin) // len(like) * len(like)
    for k in range(begin, whole, len(like)):
        store(load_converted(rows.values, start + k, like), scratch, to + k - begin)
    for k in range(whole, last):
        scratch[to + k - begin] = at(rows.values, start + k)
    for k in range(last, end):
        scratch[to + k - begin] = 0
