"""Where each tensor and each intermediate result of a network lies in the flat buffers of the kernels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastfnn.kernels import EVALUATION_BLOCK, Layout
from fastfnn.kernels.simd import VECTOR_BYTES

Array = NDArray[Any]
PANEL_VECTORS = (4, 2, 1)  # widths of panels: their sums stay in registers


def lanes_of(dtype: str) -> int:
    """Lanes of a vector: 16 float32, 8 float64."""
    return VECTOR_BYTES // np.dtype(dtype).itemsize


def round_up(count: int, multiple: int) -> int:
    """The smallest multiple that is at least `count`."""
    return -(-count // multiple) * multiple


def first_layer_widths(units: int, lanes: int) -> tuple[int, int]:
    """Units of the main part (whole vectors) and of the tail (nothing, a quarter or a half vector)."""
    main, rest = units // lanes * lanes, units % lanes
    for tail in (0, lanes // 4, lanes // 2):
        if rest <= tail:
            return main, tail
    return main + lanes, 0


def panels(main_width: int, tail_width: int, lanes: int) -> Array:
    """The panels of the first layer, (panels, 3), widest first; the tail joins the last panel if that has one vector.

    A panel is a number of units in whole vectors, a number of units in a narrower vector, and its first unit.
    """
    result: list[tuple[int, int, int]] = []
    unit = 0
    for vectors in PANEL_VECTORS:
        while main_width - unit >= vectors * lanes:
            result.append((vectors * lanes, 0, unit))
            unit += vectors * lanes
    if tail_width and result and result[-1][0] == lanes:
        result[-1] = (lanes, tail_width, result[-1][2])
    elif tail_width:
        result.append((0, tail_width, main_width))
    return np.array(result, dtype=np.int64)


class Allocator:
    """Hands out offsets that begin at whole vectors."""

    def __init__(self, lanes: int, start: int = 0) -> None:
        self.lanes, self.end = lanes, start

    def take(self, count: int) -> int:
        """The offset of `count` new elements."""
        offset, self.end = self.end, round_up(self.end + count, self.lanes)
        return offset


def make_layout(sizes: Sequence[int], *, batchnorm: bool, dtype: str, block: int) -> tuple[Layout, int, int]:
    """The layout of a network whose layers have `sizes` units, features first.

    `block` is the largest number of examples that go through the layers together in training. Returns the layout and
    the numbers of elements of the running statistics and of the workspace.
    """
    lanes, depth = lanes_of(dtype), len(sizes) - 1
    main_width, tail_width = first_layer_widths(sizes[1], lanes)
    row_width = round_up(sizes[1], lanes)
    memory = Allocator(lanes)
    weights = [memory.take(sizes[0] * main_width)]
    tail_weights = memory.take(sizes[0] * tail_width)
    weights += [memory.take(k * h) for k, h in pairwise(sizes[1:])]
    weights_end = memory.end
    biases = [memory.take(row_width), *(memory.take(h) for h in sizes[2:])]
    normalised_sizes = sizes[1:-1] if batchnorm else ()
    scale = [memory.take(h) for h in normalised_sizes]
    shift = [memory.take(h) for h in normalised_sizes]
    statistics = Allocator(lanes)
    running_mean = [statistics.take(h) for h in normalised_sizes]
    running_variance = [statistics.take(h) for h in normalised_sizes]

    examples = round_up(max(block, EVALUATION_BLOCK), lanes)
    allocated = [0, row_width, *sizes[2:]]
    workspace = Allocator(lanes)

    def per_layer(first: int, last: int) -> Array:
        return _integers(
            [workspace.take(examples * allocated[n]) if first <= n < last else 0 for n in range(depth + 1)]
        )

    layout = Layout(
        units=_integers(sizes),
        weights=_integers(weights),
        biases=_integers(biases),
        scale=_integers(scale),
        shift=_integers(shift),
        main_width=main_width,
        tail_width=tail_width,
        tail_weights=tail_weights,
        panels=panels(main_width, tail_width, lanes),
        row_width=row_width,
        weights_end=weights_end,
        parameters_end=memory.end,
        allocated_units=_integers(allocated),
        activations=per_layer(1, depth + 1),
        gradients=per_layer(1, depth),
        rectified=per_layer(1, depth if batchnorm else 0),
        normalised=per_layer(1, depth if batchnorm else 0),
        deviations=_integers([workspace.take(h) for h in allocated]),
        lane_mask=workspace.take(examples),
        running_mean=_integers(running_mean),
        running_variance=_integers(running_variance),
        block=block,
    )
    return layout, statistics.end, workspace.end


def _integers(values: Sequence[int]) -> Array:
    return np.array(values, dtype=np.int64)
