"""Which thread does what in one run, and how many threads pay."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastfnn import kernels
from fastfnn.cores import OwnCores
from fastfnn.kernels import Layout, Part, Ranges, Rows, Share
from fastfnn.kernels.memory import round_up
from fastfnn.kernels.processor import INTERPRETED
from fastfnn.kernels.structures import FLAG_STRIDE, MOST_GROUPS, RECORDS_BY_KIND

Array = NDArray[Any]

# Of a listed value in an update, in multiplications of a dense feature: more than in a whole step, since weights are
# read and written for every example, and half the rows come from another core's cache. A thread that has a few dense
# features too reads all rows twice.
COST_OF_NONZERO = 10.0
# Of adding an element of a step's gradients, likewise. An estimate: that a cache line of another core takes some ten
# nanoseconds. It only weighs the first layer against later ones; within the first, every element costs the same.
COST_OF_ADDITION = 100.0
WIDE = 64  # dense features that the update takes at a time
ROWS_TOGETHER = 20  # of later weights, likewise
FEATURES_TOGETHER = 4  # listed features whose narrow weights are whole vectors
WORK_PER_THREAD = 4 * 10**5  # multiply-adds of a step that are done forward
EXAMPLES_PER_THREAD = 128  # a block
# Likewise, where threads divide kinds of features; `bench/scaling.py --axis threads --threads-batch-size 32,64,128`.
WORK_BY_KIND = 15 * 10**4
EXAMPLES_BY_KIND = 32
Pairs = list[tuple[int, int]]
Result = TypeVar("Result")


class Bounds(NamedTuple):
    """What one thread updates, as the first one of each kind and the one behind the last."""

    dense: tuple[int, int]
    listed: tuple[int, int]
    rows: list[tuple[int, int, int]]


def give_way_address() -> Any:
    """The address of the system's function that offers the core to other threads; 0 where there is none."""
    if INTERPRETED:
        return lambda: time.sleep(0)
    if os.name != "posix":
        return 0
    function = getattr(ctypes.CDLL(None), "sched_yield", None)
    return ctypes.cast(function, ctypes.c_void_p).value if function else 0


def boundaries(costs: Array, threads: int) -> NDArray[np.int64]:
    """(threads + 1,) places that cut items of these costs into runs of about the same cost."""
    cumulated = np.concatenate(([0.0], np.cumsum(costs)))
    wanted = np.linspace(0, cumulated[-1], threads + 1)
    places: NDArray[np.int64] = np.searchsorted(cumulated, wanted - 1e-9 * cumulated[-1])
    places[-1] = len(costs)  # also where the last ones cost nothing
    return places


class Division:
    """The parameters, row by row, divided among the threads of a team so that each has about the same to do.

    Rows are, in this order, dense features, listed features and the rows of later weights, a few at a time; a thread
    has consecutive ones, so that most read one part of the records only.
    """

    def __init__(self, layout: Layout, densities: Array, threads: int, batch_size: int) -> None:
        units, depth = layout.units, len(layout.units) - 1
        of_addition = COST_OF_ADDITION / batch_size
        of_dense, of_listed = 1.0, COST_OF_NONZERO * densities
        if layout.first_layer_by_groups:
            of_dense, of_listed = of_addition, np.full(len(densities), of_addition)
        self.layout, self.threads = layout, threads
        dense, n_listed = int(layout.dense_features), len(densities)
        self.n_listed = round_up(n_listed + 1, FEATURES_TOGETHER)  # with the one that fills records up
        listed_costs = np.zeros(self.n_listed)
        listed_costs[:n_listed] = of_listed * units[1]
        items: list[tuple[str, int, int, int, float]] = []
        for k in range(0, dense, WIDE):
            last = min(k + WIDE, dense)
            items.append(("dense", 0, k, last, of_dense * float((last - k) * units[1])))
        for k in range(0, self.n_listed, FEATURES_TOGETHER):
            items.append(("listed", 0, k, k + FEATURES_TOGETHER, float(listed_costs[k : k + FEATURES_TOGETHER].sum())))
        later = () if layout.layers_together else range(2, depth + 1)  # together, they are the last thread's
        for layer in later:
            of_row = float(layout.row_widths[layer]) * (1.0 if layout.rows[layer] >= 0 else of_addition)
            for k in range(0, units[layer - 1], ROWS_TOGETHER):
                last = min(k + ROWS_TOGETHER, int(units[layer - 1]))
                items.append(("rows", layer, k, last, (last - k) * of_row))
        self.items = items
        costs = np.array([item[-1] for item in items])
        self.dense_threads, self.cuts = 0, boundaries(costs, threads)
        if threads > 1 and layout.first_layer_by_kinds:
            kinds = sum(kind == "dense" for kind, *_ in items)
            share = costs[:kinds].sum() / costs.sum()
            self.dense_threads = min(max(1, round(threads * share)), threads - 1)
            others = boundaries(costs[kinds:], threads - self.dense_threads)
            self.cuts = np.concatenate([boundaries(costs[:kinds], self.dense_threads), kinds + others[1:]])

    def bounds(self, thread: int) -> Bounds:
        """What a thread has."""
        own = self.items[self.cuts[thread] : self.cuts[thread + 1]]
        spans = {}
        for kind in ("dense", "listed"):
            of_kind = [item for item in own if item[0] == kind]
            spans[kind] = (of_kind[0][2], of_kind[-1][3]) if of_kind else (0, 0)
        layers = {item[1] for item in own if item[0] == "rows"}
        rows = []
        for layer in sorted(layers):
            pieces = [item for item in own if item[1] == layer]
            rows.append((layer, pieces[0][2], pieces[-1][3]))
        return Bounds(spans["dense"], spans["listed"], rows)

    def part(self, thread: int, flags: NDArray[np.int64], give_way: Any) -> Part:
        """What the kernels need to know of it."""
        bounds, layout = self.bounds(thread), self.layout
        is_last = thread == self.threads - 1
        others_at = layout.first_layer_size if layout.layers_together else layout.weights_end
        return Part(
            thread=thread,
            threads=self.threads,
            first_layer=_ranges([*self._dense(bounds), *self._listed(bounds)]),
            dense=_ranges(self._dense(bounds)),
            listed=_ranges(self._listed(bounds)),
            others=_ranges([(int(others_at), int(layout.parameters_end))] if is_last else []),
            rows=_ranges(bounds.rows),
            flags=flags,
            dense_threads=self.dense_threads,
            give_way=give_way,
        )

    def _dense(self, bounds: Bounds) -> Pairs:
        layout = self.layout
        begin, end = bounds.dense
        at, width = layout.dense_weights, layout.dense_stride if layout.dense_by_feature else layout.units[1]
        return [(int(at + begin * width), int(at + end * width))] if end > begin else []

    def _listed(self, bounds: Bounds) -> Pairs:
        layout = self.layout
        ranges: Pairs = []
        begin, end = bounds.listed
        for at, width in ((layout.weights[0], layout.main_width), (layout.tail_weights, layout.tail_width)):
            if end > begin and width:
                ranges.append((at + begin * width, at + end * width))
        return ranges

    def rows(self, rows: Rows) -> Rows:
        """The rows as the threads are given them."""
        return rows._replace(records=RECORDS_BY_KIND) if self.dense_threads else rows

    def shares(self, rows: Rows, whole: Share) -> list[Share]:
        """The features of which each thread sums the gradient: all, or a part of `whole`."""
        if self.threads == 1 or self.layout.first_layer_by_groups:
            return [whole] * self.threads
        every = [self.bounds(thread) for thread in range(self.threads)]
        listing = [bounds.listed[1] > bounds.listed[0] for bounds in every]
        if self.dense_threads == self.threads - 1:  # one has all listed features, and has read their rows forward
            stride, cuts = whole.cuts_stride, [whole.cuts] * self.threads
        else:
            ends = np.array([bounds.listed[1] for bounds in every], np.int64)
            cut, stride = cut_rows(rows, np.maximum.accumulate(ends)).reshape(-1), len(ends) + 1
            cuts = [cut[thread:] for thread in range(self.threads)]
        return [
            Share(*bounds.dense, own_cuts, stride if lists else -1, whole.weights_ahead)
            for bounds, own_cuts, lists in zip(every, cuts, listing, strict=True)
        ]


def cut_rows(rows: Rows, ends: NDArray[np.int64]) -> NDArray[np.int32]:
    """(N, shares + 1) where the listed values of each row are cut; the features of share t end before ends[t]."""
    cuts = np.zeros((len(rows.entries) // 2, len(ends) + 1), np.int32)
    if rows.records:
        kernels.cut_records(rows.entries, rows.columns, rows.values, rows.dense, ends, cuts)
    return cuts


def _ranges(numbers: Sequence[tuple[int, ...]]) -> Ranges:
    return Ranges(len(numbers), np.array(numbers, np.int64).reshape(-1))


def make_parts(division: Division) -> list[Part]:
    """The parts of all threads of a team, which share the flags of their barrier."""
    flags = np.zeros((division.threads + 1) * FLAG_STRIDE, np.int64)
    give_way = give_way_address()
    return [division.part(thread, flags, give_way) for thread in range(division.threads)]


def dissolve(parts: Sequence[Part]) -> None:
    """Tells the threads of a team that one does not come; it cannot be used again."""
    parts[0].flags[-FLAG_STRIDE] = 1


def threads_that_pay(threads: int, layout: Layout, batch_size: int, multiplied: float) -> int:
    """How many of the threads asked for to use: one where a step is too short to be divided.

    Of a row, `multiplied` features are, on average.
    """
    work = int(batch_size * np.dot([multiplied, *layout.units[1:-1]], layout.units[1:]))
    groups = MOST_GROUPS if layout.first_layer_by_groups else threads
    least, examples = WORK_PER_THREAD, EXAMPLES_PER_THREAD
    if layout.first_layer_by_kinds:
        least, examples = WORK_BY_KIND, EXAMPLES_BY_KIND
    return max(1, min(threads, groups, work // least, batch_size // examples))


def run_together(calls: Sequence[Callable[[], Result]], dissolve: Callable[[], None]) -> Result:
    """Calls functions that begin by waiting for each other: the first one here, each other one in a thread of its own.

    Should one not be called, since the system has no thread to give or a signal raises an exception here, the others
    are told by `dissolve`. Returns the first one's result.
    """
    if len(calls) == 1:
        return calls[0]()
    cores = OwnCores()

    def begin(call: Callable[[], Result]) -> Result:
        cores.take()
        return call()

    threads = [threading.Thread(target=begin, args=(call,)) for call in calls[1:]]
    try:
        for thread in threads:
            thread.start()
        result = begin(calls[0])
    except BaseException:
        dissolve()
        raise
    for thread in threads:
        thread.join()
    return result
